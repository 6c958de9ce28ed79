/**
 * Where the server is, and what is set: from a URL, or from a connection string of Npgsql or libpq.
 *
 * @module
 */

import { type Parameters, readParameters } from "../kit/parameters.ts";
import { type KeyValues, readKeyValues } from "./key_values.ts";
import { type TlsTarget, tlsTarget } from "./tls.ts";

/** One of the servers. What is undefined, the `PG*` variables say. */
export interface Host {
  /** A name, an address, or the directory of a socket. */
  readonly host: string | undefined;
  readonly port: number | undefined;
}

/** Where to connect, and as whom. What is undefined, the `PG*` variables say. */
export interface Target {
  /** At least one. */
  readonly hosts: readonly Host[];
  readonly user: string | undefined;
  readonly password: string | undefined;
  readonly database: string | undefined;
  readonly tls: TlsTarget;
  /** Which servers will do. */
  readonly sessionAttrs: "any" | "read-write";
  /** The settings that are for `pg`. */
  readonly driver: Readonly<Record<string, string | number | boolean>>;
}

/** The provider's own settings, as a URL has them. */
const OWN = {
  schema: "text",
  table: "text",
  statementTimeout: "duration",
  autoCreate: "flag",
  prepare: "flag",
  listen: "flag",
  poolSize: "count",
} as const;

/** The settings of a target that are for the provider. */
export type OwnParameters = Parameters<typeof OWN>;

/** Settings that say where the server is and as whom to use it. */
const PLACE = ["host", "port", "user", "password", "dbname", "target_session_attrs", "connect_timeout"] as const;
/** Settings about encryption. */
const TLS = [
  ...["ssl", "sslmode", "sslrootcert", "sslcert", "sslkey", "uselibpqcompat"],
  ...["ca", "cert", "key", "servername"],
];
/** Settings that go to `pg` as they are. */
const DRIVER = [
  ...["application_name", "fallback_application_name", "options", "client_encoding", "sslnegotiation"],
  ...["statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "query_timeout"],
] as const;
/** Settings of libpq that are understood, and change nothing here. */
const WITHOUT_EFFECT = ["keepalives", "keepalives_idle", "keepalives_interval", "keepalives_count", "encoding"];

/** A target, taken apart. */
export interface ParsedTarget {
  readonly target: Target;
  readonly parameters: OwnParameters;
  /** The time that a connection may take to be made, in milliseconds, where it is said. */
  readonly connectTimeout: number | undefined;
}

/**
 * Takes `text` apart. No error shows any of it but the name of a setting, or the value of one that is no secret.
 *
 * @throws {TypeError | RangeError} if it is malformed, or sets what nobody knows
 */
export function parseTarget(text: string): ParsedTarget {
  return /^[a-z][a-z0-9+.-]*:\/\//i.test(text) ? fromUrl(text) : fromKeyValues(readKeyValues(text));
}

function fromUrl(url: string): ParsedTarget {
  const [, authority = "", path = "", query = ""] = /^[^:]+:\/\/([^/?#]*)([^?#]*)\??(.*)$/s.exec(url) ?? [];
  const at = authority.indexOf("@");
  const [userinfo, hosts] = at < 0 ? ["", authority] : [authority.slice(0, at), authority.slice(at + 1)];
  // A password that was not encoded ends the part that it stands in. What follows is then no host and no setting, but a
  // part of the password: it is neither looked up nor shown.
  if (hosts.includes("@") || path.includes("@") || query.includes("@") || url.includes("#")) {
    throw malformed("an @ or #");
  }
  const [user = "", password] = userinfo.split(/:(.*)/s, 2);
  const settings = new Map<string, string>();
  const search = new URLSearchParams(query);
  const parameters = readParameters("postgres", search, OWN, [
    ...PLACE,
    ...TLS,
    ...DRIVER,
    ...WITHOUT_EFFECT,
    "channel_binding",
  ]);
  for (const [name, value] of search) settings.set(name, value);
  return build(settings, parameters, {
    hosts: splitHosts(hosts),
    user: decode(user),
    password: password === undefined ? undefined : decode(password),
    database: decode(path.slice(1)),
  });
}

function fromKeyValues({ settings, own }: KeyValues): ParsedTarget {
  const known = [...PLACE, ...TLS, ...DRIVER, ...WITHOUT_EFFECT, "channel_binding"];
  const search = new URLSearchParams([...settings, ...own]);
  const parameters = readParameters("postgres", search, OWN, known);
  return build(settings, parameters, { hosts: [], user: "", password: undefined, database: "" });
}

interface Place {
  readonly hosts: readonly Host[];
  readonly user: string;
  readonly password: string | undefined;
  readonly database: string;
}

/** Puts together what stands in the URL and what its settings say; those win, as with `pg`. */
function build(settings: ReadonlyMap<string, string>, parameters: OwnParameters, place: Place): ParsedTarget {
  const driver: Record<string, string | boolean> = {};
  for (const name of DRIVER) {
    const value = settings.get(name);
    if (value !== undefined) driver[name] = value;
  }
  if (settings.get("channel_binding") === "require") driver.enableChannelBinding = true;
  const hosts = settings.has("host") ? listHosts(settings.get("host"), settings.get("port")) : place.hosts;
  return {
    target: {
      hosts: hosts.length > 0 ? hosts : [{ host: undefined, port: portOf(settings.get("port")) }],
      user: settings.get("user") ?? (place.user || undefined),
      password: settings.get("password") ?? place.password,
      database: settings.get("dbname") ?? (place.database || undefined),
      tls: tlsTarget(settings),
      sessionAttrs: sessionAttrs(settings.get("target_session_attrs"), hosts.length),
      driver,
    },
    parameters,
    connectTimeout: seconds("connect_timeout", settings.get("connect_timeout")),
  };
}

/** Leases need a server that writes. Of several hosts, that one is looked for without being told. */
function sessionAttrs(text: string | undefined, hosts: number): "any" | "read-write" {
  if (text === undefined) return hosts > 1 ? "read-write" : "any";
  if (text === "any") return "any";
  if (text === "read-write" || text === "primary") return "read-write";
  throw new TypeError(
    `Cannot use postgres setting "target_session_attrs": leases need read-write, primary or any, not "${text}"`,
  );
}

/** `h1:5432,[::1]:5433,h3`. */
function splitHosts(text: string): Host[] {
  if (text === "") return [];
  return text.split(",").map((each) => {
    const [, bracketed, plain, port] = /^(?:\[([0-9A-Fa-f:.%]+)\]|([^:[\]]*))(?::(\d{1,5}))?$/.exec(each) ?? [];
    if (bracketed === undefined && plain === undefined) throw malformed("a host or port that is none");
    return { host: decode(bracketed ?? plain ?? "") || undefined, port: portOf(port) };
  });
}

/** Hosts and ports in lists of their own: as many ports as hosts, or one for all. */
function listHosts(hosts = "", ports = ""): Host[] {
  const list = ports.split(",");
  return hosts.split(",").map((text, i) => {
    // Npgsql has the port beside the host, too; what has several colons is an IPv6 address.
    const [, host, port] = /^([^:]*):(\d+)$/.exec(text.trim()) ?? [, text.trim()];
    return { host: host || undefined, port: portOf(port ?? (list.length === 1 ? list[0] : list[i])) };
  });
}

function portOf(text: string | undefined): number | undefined {
  if (text === undefined || text.trim() === "") return undefined;
  const port = Number(text);
  if (Number.isInteger(port) && port > 0 && port < 65_536) return port;
  throw new RangeError(`Cannot use postgres setting "port": it must be a whole number from 1 to 65535`);
}

function seconds(name: string, text: string | undefined): number | undefined {
  if (text === undefined || text === "0") return undefined;
  if (/^\d{1,6}$/.test(text)) return Number(text) * 1_000;
  throw new TypeError(`Cannot use postgres setting "${name}": it must be a whole number of seconds, is "${text}"`);
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw malformed("a % that begins no escape");
  }
}

function malformed(what: string): TypeError {
  return new TypeError(
    `Cannot open postgres: its URL has ${what} where none can be; in a user, password, database or setting, write ` +
      "@ as %40, : as %3A, / as %2F, ? as %3F, # as %23 and % as %25",
  );
}
