/**
 * Connection strings as Npgsql takes them, `Host=db;Database=app;Username=me;Password=...`, and as libpq does,
 * `host=db dbname=app`.
 *
 * @module
 */

import { foldKeyword, parseConnectionString } from "../../src/connection_string.ts";
import { refuseUnknown } from "../../src/spelling.ts";

/** The settings of a connection string, under the names that a URL would use. */
export interface KeyValues {
  readonly settings: Map<string, string>;
  /** The provider's own settings. */
  readonly own: Map<string, string>;
}

/** The setting that a keyword becomes. Keywords are compared without case, blanks and underscores. */
const KEYWORDS: Readonly<Record<string, string>> = {
  host: "host",
  server: "host",
  port: "port",
  database: "dbname",
  db: "dbname",
  dbname: "dbname",
  username: "user",
  userid: "user",
  uid: "user",
  user: "user",
  password: "password",
  pwd: "password",
  psw: "password",
  timeout: "connect_timeout",
  connecttimeout: "connect_timeout",
  sslmode: "sslmode",
  rootcertificate: "ca",
  sslrootcert: "ca",
  sslcertificate: "cert",
  sslcert: "cert",
  sslkey: "key",
  sslnegotiation: "sslnegotiation",
  channelbinding: "channel_binding",
  applicationname: "application_name",
  options: "options",
  clientencoding: "client_encoding",
  targetsessionattributes: "target_session_attrs",
  targetsessionattrs: "target_session_attrs",
};

/** The provider's own settings, which may stand among the others. */
const OWN: Readonly<Record<string, string>> = {
  schema: "schema",
  table: "table",
  statementtimeout: "statementTimeout",
  autocreate: "autoCreate",
  prepare: "prepare",
  listen: "listen",
  poolsize: "poolSize",
};

/** Keywords of Npgsql that tune Npgsql, or .NET. They change nothing about where the lease is or who may read it. */
const WITHOUT_EFFECT = [
  ...["pooling", "minimumpoolsize", "minpoolsize", "maximumpoolsize", "maxpoolsize", "connectionidlelifetime"],
  ...["connectionpruninginterval", "connectionlifetime", "loadbalancetimeout", "keepalive", "tcpkeepalive"],
  ...["tcpkeepalivetime", "tcpkeepaliveinterval", "enlist", "includeerrordetail", "noresetonclose", "multiplexing"],
  ...["maxautoprepare", "autoprepareminusages", "readbuffersize", "writebuffersize", "socketreceivebuffersize"],
  ...["socketsendbuffersize", "logparameters", "persistsecurityinfo", "commandtimeout", "internalcommandtimeout"],
  ...[
    "cancellationtimeout",
    "encoding",
    "timezone",
    "arraynullabilitymode",
    "trustservercertificate",
    "loadbalancehosts",
  ],
  ...["hostrecheckseconds", "checkcertificaterevocation", "servercompatibilitymode", "convertinfinitydatetime"],
  ...["writecoalescingbufferthresholdbytes", "loadtablecomposites", "includefailedbatchedcommand"],
];

/** The settings that cannot be had here, and the cure. */
const REFUSED: Readonly<Record<string, string>> = {
  integratedsecurity: "only passwords and client certificates are supported",
  kerberosservicename: "only passwords and client certificates are supported",
  passfile: "set PGPASSFILE, or give Password",
  sslpassword: "give a key without a password",
  searchpath: "say schema=NAME, which names the table's",
};

/** Npgsql's names of `sslmode`, without case and blanks. */
const SSL_MODES: Readonly<Record<string, string>> = { verifyca: "verify-ca", verifyfull: "verify-full" };
const SESSION_ATTRIBUTES: Readonly<Record<string, string>> = { readwrite: "read-write", "read-write": "read-write" };

/**
 * Reads a connection string.
 *
 * @throws {TypeError} if it is malformed, or has a keyword that is unknown or cannot be used; no value is shown
 */
export function readKeyValues(text: string): KeyValues {
  const isNpgsql = isSeparatedBySemicolons(text);
  const settings = new Map<string, string>();
  const own = new Map<string, string>();
  let previous = "";
  for (const [keyword, value] of isNpgsql ? npgsqlPairs(text) : libpqPairs(text)) {
    const key = foldKeyword(keyword);
    if (WITHOUT_EFFECT.includes(key)) continue;
    const refusal = REFUSED[key];
    if (refusal !== undefined && value.toLowerCase() !== "false") {
      throw new TypeError(`Cannot use postgres keyword "${keyword}": ${refusal}`);
    }
    if (refusal !== undefined) continue;
    const isKnown = Object.hasOwn(KEYWORDS, key) || Object.hasOwn(OWN, key);
    // It may be the rest of a password: that is not shown.
    if (!isKnown && previous === "password") throw malformed();
    previous = KEYWORDS[key] ?? key;
    refuseUnknown("postgres keyword", [key], [...Object.keys(KEYWORDS), ...Object.keys(OWN)]);
    const name = KEYWORDS[key];
    // The last one counts, as with Npgsql.
    if (name !== undefined) settings.set(name, value);
    else own.set(OWN[key] ?? key, value);
  }
  if (isNpgsql) translate(settings);
  return { settings, own };
}

/** Npgsql's `Require` verifies as libpq does, and its values have names of their own. */
function translate(settings: Map<string, string>): void {
  const change = (name: string, names: Readonly<Record<string, string>>) => {
    const value = settings.get(name)?.toLowerCase().replaceAll(/\s/g, "");
    if (value !== undefined) settings.set(name, names[value] ?? value);
  };
  change("sslmode", SSL_MODES);
  change("target_session_attrs", SESSION_ATTRIBUTES);
  change("channel_binding", {});
  settings.set("uselibpqcompat", "true");
  // Encrypted or not, as the server likes: a driver that cannot ask does not insist.
  if (["prefer", "allow"].includes(settings.get("sslmode") ?? "")) settings.delete("sslmode");
}

function isSeparatedBySemicolons(text: string): boolean {
  return /^\s*[A-Za-z][A-Za-z _]*?\s*=\s*("[^"]*"|'[^']*'|[^;]*)(;|$)/.test(text) &&
    (text.includes(";") || !/\s\w+\s*=/.test(text));
}

function npgsqlPairs(text: string): [string, string][] {
  try {
    return parseConnectionString(text).map(({ keyword, value }) => [keyword, value]);
  } catch {
    throw malformed();
  }
}

/**
 * `keyword = value ...`: a value with blanks stands in single quotes; a backslash takes the next character as it is.
 */
function* libpqPairs(text: string): Generator<[string, string]> {
  const pair = /\s*(?:$|(\w+)\s*=\s*(?:'((?:[^'\\]|\\.)*)'|((?:[^\s'\\]|\\.)*))(?=\s|$))/gys;
  while (pair.lastIndex < text.length) {
    const found = pair.exec(text);
    if (found === null) throw malformed();
    const [, keyword, quoted, plain = ""] = found;
    if (keyword !== undefined) yield [keyword, (quoted ?? plain).replaceAll(/\\(.)/gs, "$1")];
  }
}

function malformed(): TypeError {
  return new TypeError(
    "Cannot open postgres: its connection string is not of the form Host=db;Database=app or host=db dbname=app; " +
      "a value with a semicolon, a blank or a quote stands in quotes",
  );
}
