/**
 * The settings of the SQL Server provider: one table for the query of a URL and the keywords of a connection string.
 *
 * @module
 */

import { foldKeyword } from "../../src/connection_string.ts";
import { refuseUnknown } from "../../src/spelling.ts";
import { type ParameterKind, readParameters } from "../kit/parameters.ts";
import { TLS_PARAMETERS } from "../kit/tls_files.ts";

/** The settings, each under the name that the documentation gives it. */
export const SETTINGS = {
  server: "text",
  database: "text",
  user: "text",
  password: "text",
  encrypt: "text",
  trustServerCertificate: "flag",
  ...TLS_PARAMETERS,
  authentication: "text",
  clientId: "text",
  tenantId: "text",
  domain: "text",
  instanceName: "text",
  applicationName: "text",
  workstationId: "text",
  language: "text",
  packetSize: "count",
  multiSubnetFailover: "flag",
  connectTimeout: "duration",
  statementTimeout: "duration",
  poolSize: "count",
  schema: "text",
  table: "text",
  autoCreate: "flag",
} as const satisfies Readonly<Record<string, ParameterKind>>;

/** The `settings` that were read. */
export type Settings = ReturnType<typeof readSettings>;

/** Other names of settings: those of ADO.NET, ODBC and the driver. */
const SYNONYMS: Readonly<Record<string, readonly string[]>> = {
  server: ["Data Source", "Address", "Addr", "Network Address"],
  database: ["Initial Catalog"],
  user: ["User Id", "UID", "User Name"],
  password: ["PWD"],
  servername: ["Host Name In Certificate"],
  applicationName: ["App", "App Name"],
  workstationId: ["WSID"],
  language: ["Current Language"],
  connectTimeout: ["Connection Timeout", "Timeout"],
  statementTimeout: ["Command Timeout", "Request Timeout"],
  poolSize: ["Max Pool Size"],
};

/** Keywords that say how ADO.NET itself is to do things, of which nothing is left here: whatever they say is right. */
const MEANINGLESS = [
  ...["Asynchronous Processing", "Connection Lifetime", "Connection Reset", "Connect Retry Count"],
  ...["Connect Retry Interval", "Enlist", "IP Address Preference", "Load Balance Timeout", "Min Pool Size"],
  ...["Multiple Active Result Sets", "Persist Security Info", "Pool Blocking Period", "Pooling"],
  ...["Transparent Network IP Resolution", "Type System Version"],
  // Which transactions a connection takes part in: it is never in one here.
  ...["Transaction Binding"],
];

/** The settings that would have a meaning and cannot be had, unless it says what goes without saying; and why. */
const REFUSED: Readonly<Record<string, { readonly harmless: RegExp; readonly why: string }>> = {
  "Application Intent": { harmless: /^readwrite$/i, why: "leases need the primary" },
  "AttachDBFilename": { harmless: /^$/, why: "the database must be attached already" },
  "Column Encryption Setting": { harmless: /^disabled$/i, why: "the columns of leases are not encrypted" },
  "Context Connection": { harmless: /^(false|no)$/i, why: "there is none outside of the server" },
  "Enable Implicit Transactions": { harmless: /^(false|no)$/i, why: "leases must be committed at once" },
  "Failover Partner": { harmless: /^$/, why: "the driver cannot do it; name an availability group's listener" },
  "Integrated Security": {
    harmless: /^(false|no)$/i,
    why: "the driver cannot log in as the user of the process; give user (DOMAIN\\name for a Windows account) and " +
      "password",
  },
  "Replication": { harmless: /^(false|no)$/i, why: "leases are written as by anybody" },
  "Server Certificate": { harmless: /^$/, why: 'the driver cannot do it; name its authority with "ca"' },
  "User Instance": { harmless: /^(false|no)$/i, why: "the driver cannot start one" },
};
const REFUSED_SYNONYMS: Readonly<Record<string, string>> = {
  "Trusted_Connection": "Integrated Security",
  "Extended Properties": "AttachDBFilename",
  "Initial File Name": "AttachDBFilename",
};

const CANONICAL: ReadonlyMap<string, string> = new Map([
  ...Object.keys(SETTINGS).map((name) => [foldKeyword(name), name] as const),
  ...Object.entries(SYNONYMS).flatMap(([name, others]) => others.map((other) => [foldKeyword(other), name] as const)),
]);
const IGNORED = new Set(MEANINGLESS.map(foldKeyword));
const UNUSABLE = new Map([
  ...Object.keys(REFUSED).map((name) => [foldKeyword(name), name] as const),
  ...Object.entries(REFUSED_SYNONYMS).map(([other, name]) => [foldKeyword(other), name] as const),
]);

/**
 * Reads settings, each under any of its names. Case, blanks and underscores in a name mean nothing, and of two with one
 * name the last counts, as in ADO.NET.
 *
 * @param given names and values
 * @param options `inSeconds`: whether a bare number of a duration is seconds, as in a connection string
 * @throws {TypeError | RangeError} if one is unknown, is not of its kind, or asks for what cannot be had
 */
export function readSettings(
  given: readonly { readonly keyword: string; readonly value: string }[],
  { inSeconds }: { readonly inSeconds: boolean },
) {
  const known = new URLSearchParams();
  for (const { keyword, value } of given) {
    const folded = foldKeyword(keyword);
    const name = CANONICAL.get(folded);
    if (name !== undefined) known.set(name, normal(name, value, inSeconds));
    else if (UNUSABLE.has(folded)) refuseUnusable(UNUSABLE.get(folded) ?? "", keyword, value);
    else if (!IGNORED.has(folded)) refuseUnknown("sqlserver setting", [keyword], Object.keys(SETTINGS));
  }
  // A value that is empty is as good as none, as in ADO.NET.
  for (const [name, value] of [...known]) if (value === "") known.delete(name);
  return readParameters("sqlserver", known, SETTINGS);
}

function refuseUnusable(name: string, keyword: string, value: string): void {
  const refused = REFUSED[name];
  if (refused === undefined || refused.harmless.test(value)) return;
  throw new TypeError(`Cannot use sqlserver setting "${keyword}=${value}": ${refused.why}`);
}

/** Writes a value as the kit reads it: ADO.NET has "yes" and "no", any case, and counts in seconds. */
function normal(name: string, value: string, inSeconds: boolean): string {
  const kind = SETTINGS[name as keyof typeof SETTINGS];
  if (kind === "flag" || name === "encrypt") {
    return value.toLowerCase().replace(/^yes$/, "true").replace(/^no$/, "false");
  }
  return kind === "duration" && inSeconds && /^\d+$/.test(value) ? `${value}s` : value;
}
