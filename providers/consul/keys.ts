/**
 * The names of keys, and the URL that says where they are.
 *
 * @module
 */

import { redact } from "../../src/redact.ts";
import { readParameters } from "../kit/parameters.ts";
import { checkTlsSettings, TLS_PARAMETERS, type TlsFiles } from "../kit/tls_files.ts";

/** Names the key of each group: `PREFIX/GROUP/.lock`, as `consul lock PREFIX/GROUP` does. */
export class Keys {
  /** The beginning of all keys, with a slash at its end. */
  readonly prefix: string;

  constructor(prefix: string) {
    this.prefix = prefix;
  }

  /** Returns the key. As a part of a URL, `.` and `..` would mean something else; no other name holds a `%`. */
  of(electionGroup: string): string {
    const name = /^\.\.?$/.test(electionGroup) ? electionGroup.replaceAll(".", "%2E") : electionGroup;
    return `${this.prefix}${name}/.lock`;
  }

  /** Returns the group of a key; null if it is none of ours. */
  groupOf(key: string): string | null {
    const name = key.slice(this.prefix.length).match(/^([^/]+)\/\.lock$/)?.[1];
    return name === undefined ? null : name.replaceAll("%2E", ".");
  }
}

/** Returns a key, or the beginning of some, as a part of a URL behind `/v1/`. */
export function kvPath(key: string): string {
  return `kv/${key.split("/").map(encodeURIComponent).join("/")}`;
}

/** The parts of a URL. */
export interface ConsulUrl {
  readonly origin: string;
  readonly prefix: string;
  readonly token: string | undefined;
  readonly dc: string | undefined;
  /** Where to find certificates; null for HTTP. */
  readonly tls: TlsFiles | null;
}

/**
 * Reads `consul://:token@host:port/prefix?token=TOKEN&dc=NAME`, or `consul+https:` with `ca`, `cert`, `key` and
 * `servername` too.
 *
 * @throws {TypeError} if it is malformed, has a setting that is unknown, or says two things about one
 */
export function parseConsulUrl(text: string): ConsulUrl {
  const refuse = (why: string) => new TypeError(`Cannot open provider "${redact(text)}": ${why}`);
  const [scheme, rest] = /^(consul|consul\+https):\/\/(.*)$/is.exec(text)?.slice(1) ?? [];
  if (scheme === undefined || rest === undefined) throw refuse("it must begin with consul:// or consul+https://");
  const isSecure = scheme.toLowerCase() === "consul+https";
  // Parsed with a scheme that has no port of its own, a port of 80 or 443 stays.
  const url = URL.canParse(`consul://${rest}`) ? new URL(`consul://${rest}`) : null;
  if (url === null || url.hostname === "") throw refuse("it must name a host");
  const settings = readParameters("consul", url.searchParams, { token: "text", dc: "text", ...TLS_PARAMETERS });
  const { token, dc, ...tls } = settings;
  checkTlsSettings(tls, isSecure ? null : "consul+https://", refuse);
  if (url.hash !== "") throw refuse('a "#" in it must be written as %23');
  const password = decodeURIComponent(url.password) || undefined;
  if (token !== undefined && password !== undefined) throw refuse("it gives a token twice");
  return {
    origin: `${isSecure ? "https" : "http"}://${url.hostname}:${url.port || (isSecure ? 8501 : 8500)}`,
    prefix: `${decodeURIComponent(url.pathname).replace(/^\/+|\/+$/g, "") || "multilock"}/`,
    token: token ?? password,
    dc,
    tls: isSecure ? tls : null,
  };
}
