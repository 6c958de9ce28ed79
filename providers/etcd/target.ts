/**
 * Reads the URL of a cluster, which names several members and so is no URL that `URL` could parse.
 *
 * @module
 */

import { redact } from "../../src/redact.ts";
import { readParameters } from "../kit/parameters.ts";
import { checkTlsSettings, TLS_PARAMETERS, type TlsFiles } from "../kit/tls_files.ts";

/** A user and the password. */
export interface Credentials {
  readonly name: string;
  readonly password: string;
}

/** The parts of a URL. */
export interface EtcdTarget {
  /** Of each member, such as `http://127.0.0.1:2379`. */
  readonly origins: readonly string[];
  /** The beginning of all keys, with a slash at its end. */
  readonly prefix: string;
  readonly credentials: Credentials | null;
  /** Where to find certificates; null for HTTP. */
  readonly tls: TlsFiles | null;
}

const DEFAULT_PORT = 2379;
const DEFAULT_PREFIX = "multilock";

/**
 * Parses `etcd://[user:password@]host[:port][,host[:port]...][/prefix]`, or the same with `etcd+https:` in front and
 * `ca`, `cert`, `key` and `servername` among its settings.
 *
 * @throws {TypeError} that says what is wrong with it
 */
export function parseTarget(url: string): EtcdTarget {
  const refuse = (why: string) => new TypeError(`Cannot open etcd "${redact(url)}": ${why}`);
  const match = /^etcd(\+https)?:\/\/(?:([^/?#]*)@)?([^/?#@]*)([^?#]*)(?:\?([^#]*))?$/i.exec(url);
  if (match === null) throw refuse('it must look like "etcd://host:2379,host:2379/prefix"');
  const [, secure, user, hosts = "", path = "", query = ""] = match;
  // Most likely a password that was not encoded: what follows would name a part of it.
  if (`${path}${query}`.includes("@")) throw refuse("a slash, ? or @ in a password or prefix must be percent-encoded");
  const tls = readParameters("etcd", new URLSearchParams(query), TLS_PARAMETERS);
  checkTlsSettings(tls, secure === undefined ? "etcd+https:" : null, refuse);
  const origins = hosts.split(",").map((host) => originOf(secure === undefined ? "http" : "https", host, refuse));
  return {
    origins,
    prefix: `${decode(path, refuse).replace(/^\//, "").replace(/\/+$/, "") || DEFAULT_PREFIX}/`,
    credentials: user === undefined ? null : credentialsOf(user, refuse),
    tls: secure === undefined ? null : tls,
  };
}

type Refuse = (why: string) => Error;

function originOf(scheme: string, text: string, refuse: Refuse): string {
  const match = /^(\[[0-9a-f:.]+\]|[^:[\]\s]+)(?::(\d+))?$/i.exec(text);
  if (match?.[1] === undefined) throw refuse(`"${text}" is no host:port`);
  const port = Number(match[2] ?? DEFAULT_PORT);
  if (port < 1 || port > 65_535) throw refuse(`a port must be between 1 and 65535, got ${port}`);
  return `${scheme}://${match[1]}:${port}`;
}

function credentialsOf(user: string, refuse: Refuse): Credentials {
  const match = /^([^:]+):(.+)$/.exec(user);
  if (match?.[1] === undefined || match[2] === undefined) throw refuse("credentials must be user:password");
  return { name: decode(match[1], refuse), password: decode(match[2], refuse) };
}

function decode(text: string, refuse: Refuse): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw refuse("a percent sign must be followed by two hexadecimal digits");
  }
}
