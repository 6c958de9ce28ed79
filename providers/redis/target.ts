/**
 * Which servers a URL names, and how to talk to them.
 *
 * @module
 */

import { readParameters } from "../kit/parameters.ts";
import { TLS_PARAMETERS, type TlsFiles } from "../kit/tls_files.ts";

/** The schemes, each with its colon. */
export const PROTOCOLS: readonly string[] = [
  ...["redis:", "redis+sentinel:", "redis+cluster:"],
  ...["rediss:", "rediss+sentinel:", "rediss+cluster:"],
];

/** Where a server listens. */
export interface Address {
  readonly host: string;
  readonly port: number;
}

/** Formats an address as `host:port`. */
export function format({ host, port }: Address): string {
  return host.includes(":") ? `[${host}]:${port}` : `${host}:${port}`;
}

/** As whom to log in. Without a password: as nobody. */
export interface Credentials {
  readonly username?: string | undefined;
  readonly password?: string | undefined;
}

/** The way to the primary that keeps a lease. */
export type Topology = "server" | "sentinel" | "cluster";

/** The content of a URL. */
export interface RedisTarget {
  readonly topology: Topology;
  /** The server, the sentinels, or some nodes of the cluster. */
  readonly addresses: readonly Address[];
  /** The name under which sentinels know the primary. */
  readonly primary: string;
  readonly credentials: Credentials;
  /** As whom to log in to sentinels that ask for a password. */
  readonly sentinelCredentials: Credentials;
  readonly database: number;
  /** Files for TLS; null without TLS. */
  readonly tls: TlsFiles | null;
  readonly prefix?: string | undefined;
  readonly socketTimeoutMs?: number | undefined;
}

const SETTINGS = {
  prefix: "text",
  socketTimeout: "duration",
  sentinelUsername: "text",
  sentinelPassword: "text",
} as const;

/**
 * No part may hold a character that ends another one. Then all before the one `@` is credentials, and nothing else is:
 * a password that should have been percent-encoded can neither be cut short nor show in an error.
 */
const SHAPE =
  /^(rediss?)(?:\+(sentinel|cluster))?:\/\/(?:([^@/?#\s]*)@)?([^@/?#\s]*)(?:\/([^@?#\s]*))?(?:\?([^@#\s]*))?$/i;

/**
 * Reads a URL. Not by `URL`, which knows one host only. No part of the text enters an error, but names of settings and
 * values of those that are no secret.
 *
 * @throws {TypeError} if it is not a URL of Redis, or has a setting that is unknown
 */
export function parseTarget(url: string | URL): RedisTarget {
  const [, scheme = "", topology = "server", login, hosts = "", path = "", query = ""] = SHAPE.exec(String(url)) ?? [];
  if (scheme === "") throw malformed();
  const kind = topology.toLowerCase() as Topology;
  // Two servers that know nothing of each other would be two elections.
  if (kind === "server" && hosts.includes(",")) {
    throw malformed("several hosts need redis+sentinel: or redis+cluster:");
  }
  const isTls = scheme.toLowerCase() === "rediss";
  const { prefix, socketTimeout, ca, cert, key, servername, sentinelUsername, sentinelPassword } = readParameters(
    "redis",
    new URLSearchParams(query),
    { ...SETTINGS, ...TLS_PARAMETERS },
  );
  if (kind !== "sentinel" && (sentinelUsername ?? sentinelPassword) !== undefined) {
    throw new TypeError("Cannot use redis settings of sentinels: they need a URL that begins with redis+sentinel:");
  }
  const tls = { ca, cert, key, servername };
  const given = Object.entries(tls).filter(([, value]) => value !== undefined);
  if (!isTls && given[0]) {
    throw new TypeError(`Cannot use redis setting "${given[0][0]}": it needs TLS, as rediss: does`);
  }
  if ((cert === undefined) !== (key === undefined)) {
    throw new TypeError("Cannot use a client certificate: cert and key must be given together");
  }
  return {
    topology: kind,
    addresses: hosts.split(",").map((host) => parseAddress(host, kind === "sentinel" ? 26_379 : 6_379)),
    ...parsePath(kind, path),
    credentials: parseLogin(login),
    sentinelCredentials: loginOf(sentinelUsername, sentinelPassword),
    tls: isTls ? Object.fromEntries(given) : null,
    prefix,
    socketTimeoutMs: socketTimeout,
  };
}

function malformed(why = "it must look like redis://user:password@host:6379/0"): TypeError {
  return new TypeError(
    `Cannot open redis: its URL is malformed: ${why}. In a user name or password, : / ? # @ % and blanks must be ` +
      "percent-encoded (%3A %2F %3F %23 %40 %25 %20)",
  );
}

function parseAddress(text: string, defaultPort: number): Address {
  const [matched, host = "", port] = /^(\[[0-9A-Fa-f:.]+\]|[A-Za-z0-9._-]*)(?::(\d{1,5}))?$/.exec(text) ?? [];
  if (matched === undefined) throw malformed("a host is no host name or address");
  const number = port === undefined ? defaultPort : Number(port);
  if (number < 1 || number > 65_535) throw malformed("a port is not between 1 and 65535");
  return { host: host.replace(/^\[|\]$/g, "") || "127.0.0.1", port: number };
}

function parseLogin(login: string | undefined): Credentials {
  const [username = "", password = "", ...more] = (login ?? "").split(":");
  if (more.length > 0) throw malformed("there is more than one colon before the host");
  return loginOf(decode(username), decode(password));
}

/** A user name without a password is a user who needs none; the command takes an empty one then. */
function loginOf(username = "", password = ""): Credentials {
  return username === "" && password === "" ? {} : { ...(username && { username }), password };
}

/** Reads what follows the hosts: a database, or with sentinels the primary's name and perhaps a database. */
function parsePath(topology: Topology, path: string): Pick<RedisTarget, "primary" | "database"> {
  const parts = path === "" ? [] : path.split("/");
  const primary = topology === "sentinel" ? decode(parts.shift() ?? "") : "";
  if (topology === "sentinel" && primary === "") {
    throw malformed("it must name the primary: redis+sentinel://host1,host2/NAME");
  }
  const [database = "0", ...more] = parts;
  if (!/^\d{0,5}$/.test(database) || more.length > 0) throw malformed("its database must be a number");
  if (topology === "cluster" && Number(database) !== 0) throw malformed("a cluster has database 0 alone");
  return { primary, database: Number(database) };
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw malformed("a % is not followed by two hexadecimal digits");
  }
}
