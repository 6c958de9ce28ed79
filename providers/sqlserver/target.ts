/**
 * What the user may name as a SQL Server: a URL, or a connection string as ADO.NET takes it.
 *
 * @module
 */

import { redact } from "../../src/redact.ts";

/** What `mssql` connects to: its configuration, or a connection string that it reads by itself. */
export type ConnectionConfig = Readonly<Record<string, unknown>> | string;

/** A target, taken apart. */
export interface Target {
  /** For the driver. */
  readonly config: ConnectionConfig;
  /** For the provider, each as its option takes it. */
  readonly parameters: Readonly<Record<string, string | number | boolean>>;
}

/** Whether `target` is a connection string such as `Server=host,1433;Database=app;User Id=me;Password=secret`. */
export function isConnectionString(target: string): boolean {
  return /^(?:[^:=]*=[^;]*;)*\s*(?:server|data source|addr|address|network address)\s*=/i.test(target);
}

/**
 * Takes `target` apart.
 *
 * @throws {TypeError} if it is neither a connection string nor a URL, or a parameter is not known or not of its kind
 */
export function parseTarget(target: string): Target {
  if (isConnectionString(target)) return { config: target, parameters: {} };
  const refuse = (why: string) => new TypeError(`Cannot open provider "${redact(target)}": ${why}`);
  if (!URL.canParse(target)) throw refuse("it is neither a URL nor a connection string");
  const url = new URL(target);
  if (url.hostname === "") throw refuse("it names no host");
  const parameters: Record<string, string | number | boolean> = {};
  const options: Record<string, string | boolean> = {};
  let database = decodeURIComponent(url.pathname.slice(1));
  for (const [name, value] of url.searchParams) {
    const kind = KINDS.get(name);
    if (kind === undefined) {
      throw refuse(`the parameter "${name}" is not known; known are ${[...KINDS.keys()].join(", ")}`);
    }
    if (kind.flag && value !== "true" && value !== "false") {
      throw refuse(`"${name}" must be true or false, is "${value}"`);
    }
    const parsed = kind.flag ? value === "true" : kind.count ? Number(value) : value;
    if (name === "database") database = value;
    else if (kind.driver) options[name] = parsed as string | boolean;
    else parameters[name] = parsed;
  }
  const config = {
    server: decodeURIComponent(url.hostname).replace(/^\[(.*)\]$/, "$1"),
    ...(url.port !== "" && { port: Number(url.port) }),
    ...(url.username !== "" && { user: decodeURIComponent(url.username) }),
    ...(url.password !== "" && { password: decodeURIComponent(url.password) }),
    ...(database !== "" && { database }),
    options,
  };
  return { config, parameters };
}

interface Kind {
  readonly flag?: true;
  readonly count?: true;
  readonly driver?: true;
}

/** The parameters of a URL. */
const KINDS: ReadonlyMap<string, Kind> = new Map<string, Kind>([
  ["database", { driver: true }],
  ["encrypt", { driver: true, flag: true }],
  ["trustServerCertificate", { driver: true, flag: true }],
  ["instanceName", { driver: true }],
  ["appName", { driver: true }],
  ["schema", {}],
  ["table", {}],
  ["autoCreate", { flag: true }],
  ["statementTimeout", {}],
  ["poolSize", { count: true }],
]);
