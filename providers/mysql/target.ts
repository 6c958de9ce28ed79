/**
 * Where the server is, and what is set: `mysql://user:password@host:3306/database?settings`.
 *
 * @module
 */

import { isIP } from "node:net";
import { type Parameters, readParameters } from "../kit/parameters.ts";
import { readTlsFiles, TLS_PARAMETERS, type TlsFiles } from "../kit/tls_files.ts";

/** The settings of a URL. */
const SETTINGS = {
  schema: "text",
  table: "text",
  statementTimeout: "duration",
  connectTimeout: "duration",
  autoCreate: "flag",
  poolSize: "count",
  socketPath: "text",
  sslMode: "text",
  "ssl-mode": "text",
  ...TLS_PARAMETERS,
} as const;

/** The mode of encryption, by the names that MySQL has for it. */
type SslMode = "DISABLED" | "REQUIRED" | "VERIFY_CA" | "VERIFY_IDENTITY";

const MODES: readonly SslMode[] = ["DISABLED", "REQUIRED", "VERIFY_CA", "VERIFY_IDENTITY"];

/** Where to connect, and as whom. */
export interface Target {
  /** A name or an address. */
  readonly host: string;
  readonly port: number;
  /** A socket of this machine, instead of host and port. */
  readonly socketPath: string | undefined;
  readonly user: string | undefined;
  readonly password: string | undefined;
  readonly database: string | undefined;
  readonly sslMode: SslMode;
  readonly tls: TlsFiles;
}

/** The settings of the provider in a URL. */
export type OwnParameters = Pick<
  Parameters<typeof SETTINGS>,
  "schema" | "table" | "statementTimeout" | "autoCreate" | "poolSize"
>;

/** A URL, taken apart. */
export interface ParsedTarget {
  readonly target: Target;
  readonly parameters: OwnParameters;
  /** The longest time that making a connection may take, in milliseconds, where it is said. */
  readonly connectTimeout: number | undefined;
}

const DEFAULT_PORT = 3306;

/**
 * Takes a URL apart. No error shows any of it but the name of a setting, or the value of one that is no secret.
 *
 * @throws {TypeError | RangeError} if it is malformed, or sets what nobody knows
 */
export function parseTarget(url: string): ParsedTarget {
  const [, authority = "", path = "", query = ""] = /^[^:]+:\/\/([^/?#]*)([^?#]*)\??(.*)$/s.exec(url) ?? [];
  if (!/^(mysql|mariadb):\/\//i.test(url)) throw malformed("another beginning than mysql:// or mariadb://");
  const at = authority.indexOf("@");
  const [userinfo, place] = at < 0 ? ["", authority] : [authority.slice(0, at), authority.slice(at + 1)];
  // A password that was not encoded ends the part that it stands in. What follows is then no host and no setting, but a
  // part of the password: it is neither looked up nor shown.
  if (place.includes("@") || path.includes("@") || query.includes("@") || url.includes("#")) {
    throw malformed("an @ or #");
  }
  const [user = "", password] = userinfo.split(/:(.*)/s, 2);
  const [, bracketed, plain = "", port] = /^(?:\[([0-9A-Fa-f:.]+)\]|([^:[\],]*))(?::(\d{1,5}))?$/.exec(place) ??
    refuse("a host or port that is none; several hosts cannot be had");
  const { schema, table, statementTimeout, autoCreate, poolSize, connectTimeout, socketPath, ...rest } = readParameters(
    "mysql",
    new URLSearchParams(query),
    SETTINGS,
  );
  const { sslMode, "ssl-mode": sslModeToo, ...tls } = rest;
  if (sslMode !== undefined && sslModeToo !== undefined) {
    throw new TypeError('Cannot use mysql setting "sslMode": it is given twice, once as "ssl-mode"');
  }
  const host = decode(bracketed ?? plain) || "localhost";
  const database = decode(path.slice(1));
  if (database.includes("/")) throw malformed("more than one name in its path");
  return {
    target: {
      host,
      port: portOf(port),
      socketPath,
      user: decode(user) || undefined,
      password: password === undefined ? undefined : decode(password),
      database: database || undefined,
      sslMode: modeOf(sslMode ?? sslModeToo, tls, host),
      tls,
    },
    parameters: given({ schema, table, statementTimeout, autoCreate, poolSize }),
    connectTimeout,
  };
}

/** Files or a name to verify mean that the server is to be verified. */
function modeOf(text: string | undefined, tls: TlsFiles, host: string): SslMode {
  const fallback = Object.keys(tls).length > 0 ? "VERIFY_IDENTITY" : "DISABLED";
  const mode = MODES.find((each) => each === (text?.toUpperCase().replaceAll("-", "_") ?? fallback));
  if (mode === undefined) {
    throw new TypeError(
      `Cannot use mysql setting "sslMode": it must be one of ${MODES.join(", ")}, is "${text}"; PREFERRED cannot be ` +
        "had, since it would go on without encryption",
    );
  }
  if (mode === "DISABLED" && Object.keys(tls).length > 0) {
    throw new TypeError(`Cannot use mysql setting "sslMode=${text}": ca, cert, key and servername need encryption`);
  }
  if (mode === "VERIFY_CA" && tls.ca === undefined) {
    throw new TypeError('Cannot use mysql setting "sslMode=VERIFY_CA": it needs ca, or any certificate would do');
  }
  if (mode === "VERIFY_IDENTITY" && isIP(host) !== 0 && tls.servername === undefined) {
    throw new TypeError(
      'Cannot use mysql setting "sslMode=VERIFY_IDENTITY" with an address: the driver compares names, so say ' +
        "servername, or the host by its name",
    );
  }
  return mode;
}

/** Reads the files, and returns what `mysql2` takes; undefined for no encryption. */
export async function readTls({ sslMode, tls }: Target): Promise<Readonly<Record<string, unknown>> | undefined> {
  if (sslMode === "DISABLED") return undefined;
  const { servername: _host, ...files } = await readTlsFiles(tls);
  return {
    ...files,
    rejectUnauthorized: sslMode !== "REQUIRED",
    verifyIdentity: sslMode === "VERIFY_IDENTITY",
  };
}

function portOf(text: string | undefined): number {
  const port = Number(text ?? DEFAULT_PORT);
  if (port > 0 && port < 65_536) return port;
  throw new RangeError("Cannot open mysql: the port must be a whole number from 1 to 65535");
}

function given<T extends object>(values: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as never;
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    throw malformed("a % that begins no escape");
  }
}

function refuse(what: string): never {
  throw malformed(what);
}

function malformed(what: string): TypeError {
  return new TypeError(
    `Cannot open mysql: its URL has ${what}; it is mysql://user:password@host:port/database, and in a user, ` +
      "password, database or setting, write @ as %40, : as %3A, / as %2F, ? as %3F, # as %23 and % as %25",
  );
}
