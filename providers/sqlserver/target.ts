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

const TEXTS = ["schema", "table", "statementTimeout"] as const;

/**
 * Takes `target` apart. A parameter of a URL that is not the provider's own is an option of the driver.
 *
 * @throws {TypeError} if it is neither a connection string nor a URL with a host, or a parameter is not of its kind
 */
export function parseTarget(target: string): Target {
  if (isConnectionString(target)) return { config: target, parameters: {} };
  const refuse = (why: string) => new TypeError(`Cannot open provider "${redact(target)}": ${why}`);
  if (!URL.canParse(target)) throw refuse("it is neither a URL nor a connection string");
  const url = new URL(target);
  if (url.hostname === "") throw refuse("it names no host");
  const search = url.searchParams;
  const parameters: Record<string, string | number | boolean> = {};
  const take = (name: string, parse: (text: string) => string | number | boolean) => {
    const text = search.get(name);
    if (text !== null) parameters[name] = parse(text);
    search.delete(name);
  };
  for (const name of TEXTS) take(name, String);
  take("poolSize", Number);
  take("autoCreate", (text) => {
    if (text === "true" || text === "false") return text === "true";
    throw refuse(`autoCreate must be true or false, is "${text}"`);
  });
  const database = search.get("database") ?? decodeURIComponent(url.pathname.slice(1));
  search.delete("database");
  const config = {
    server: decodeURIComponent(url.hostname).replace(/^\[(.*)\]$/, "$1"),
    ...(url.port !== "" && { port: Number(url.port) }),
    ...(url.username !== "" && { user: decodeURIComponent(url.username) }),
    ...(url.password !== "" && { password: decodeURIComponent(url.password) }),
    ...(database !== "" && { database }),
    options: Object.fromEntries([...search].map(([name, text]) => [driverName(name), driverValue(text)])),
  };
  return { config, parameters };
}

/** Connection strings write `TrustServerCertificate`, the driver's options begin with a small letter. */
function driverName(name: string): string {
  return name.charAt(0).toLowerCase() + name.slice(1);
}

function driverValue(text: string): string | number | boolean {
  if (/^(true|false)$/i.test(text)) return text.toLowerCase() === "true";
  return /^\d+$/.test(text) ? Number(text) : text;
}
