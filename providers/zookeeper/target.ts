/**
 * Reads the URL of an ensemble, which names several servers and so is no URL that `URL` could parse.
 *
 * @module
 */

import { redact } from "../../src/redact.ts";
import { readParameters } from "../kit/parameters.ts";
import { checkTlsSettings, TLS_PARAMETERS, type TlsFiles } from "../kit/tls_files.ts";
import type { Server } from "./endpoints.ts";

/** The parts of a URL. */
export interface ZooKeeperTarget {
  /** The servers, as they are named. */
  readonly servers: readonly Server[];
  /** The path under which groups are kept; without a slash at its end. */
  readonly root: string;
  /** `user:password`. */
  readonly credentials?: string;
  /** In milliseconds. */
  readonly sessionTimeout?: number;
  /** The files for TLS; without it, connections are not encrypted. */
  readonly tls?: TlsFiles;
}

const DEFAULT_PORT = 2181;
/** The `secureClientPort` in ZooKeeper's documentation. */
const DEFAULT_TLS_PORT = 2281;
const DEFAULT_ROOT = "/multilock";

/**
 * Parses `zookeeper://[user:password@]host[:port][,host[:port]...][/root][?sessionTimeout=20s]`, or the same with
 * `zookeeper+tls:` in front and `ca`, `cert`, `key` and `servername` among its settings.
 *
 * @throws {TypeError | RangeError} that says what is wrong with it
 */
export function parseTarget(url: string): ZooKeeperTarget {
  const refuse = (why: string) => new TypeError(`Cannot open zookeeper "${redact(url)}": ${why}`);
  const match = /^zookeeper(\+tls)?:\/\/(?:([^/?#]*)@)?([^/?#@]*)([^?#]*)(?:\?([^#]*))?$/i.exec(url);
  if (match === null) throw refuse('it must look like "zookeeper://host:2181,host:2181/root"');
  const [, secure, user, hosts = "", path = "", query = ""] = match;
  // Most likely a password that was not encoded: what follows would name a part of it.
  if (`${path}${query}`.includes("@")) throw refuse("a slash, ? or @ in a password or root must be percent-encoded");
  const settings = new URLSearchParams(query);
  const { sessionTimeout, ...tls } = readParameters("zookeeper", settings, {
    sessionTimeout: "duration",
    ...TLS_PARAMETERS,
  });
  checkTlsSettings(tls, secure === undefined ? "zookeeper+tls:" : null, refuse);
  if (user !== undefined && !/^[^:]+:./.test(user)) throw refuse("credentials must be user:password");
  const port = secure === undefined ? DEFAULT_PORT : DEFAULT_TLS_PORT;
  return {
    servers: hosts.split(",").map((text) => parseServer(text, port, refuse)),
    root: parseRoot(decode(path, refuse), refuse),
    ...(user !== undefined && { credentials: decode(user, refuse) }),
    ...(sessionTimeout !== undefined && { sessionTimeout }),
    ...(secure !== undefined && { tls }),
  };
}

function parseServer(text: string, defaultPort: number, refuse: (why: string) => Error): Server {
  const match = /^(?:\[([0-9a-f:.]+)\]|([^:[\]\s]+))(?::(\d+))?$/i.exec(text);
  const host = match?.[1] ?? match?.[2];
  const port = Number(match?.[3] ?? defaultPort);
  if (host === undefined) throw refuse(`"${text}" is no host:port`);
  if (port < 1 || port > 65_535) throw refuse(`a port must be between 1 and 65535, got ${port}`);
  return { host, port };
}

function parseRoot(path: string, refuse: (why: string) => Error): string {
  const root = path.replace(/\/+$/, "");
  if (root === "") return DEFAULT_ROOT;
  const parts = root.split("/").slice(1);
  // deno-lint-ignore no-control-regex -- what ZooKeeper forbids in a path
  if (parts.some((part) => part === "" || part === "." || part === ".." || /[\u0000-\u001f\u007f-\u009f]/.test(part))) {
    throw refuse(`"${root}" is no path of ZooKeeper`);
  }
  if (parts[0] === "zookeeper") throw refuse('"/zookeeper" is reserved by ZooKeeper');
  return root;
}

function decode(text: string, refuse: (why: string) => Error): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw refuse("a percent sign must be followed by two hexadecimal digits");
  }
}
