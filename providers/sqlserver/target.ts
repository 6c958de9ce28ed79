/**
 * The ways to name a SQL Server: a URL, or a connection string as ADO.NET takes it.
 *
 * @module
 */

import { CATALOG } from "../catalog.ts";
import { type ConnectionPair, foldKeyword, parseConnectionString } from "../../src/connection_string.ts";
import { redact } from "../../src/redact.ts";
import type { TlsFiles } from "../kit/tls_files.ts";
import { readSettings, type Settings } from "./settings.ts";

/** The server that the driver connects to: its configuration, but for what no setting may change. */
export interface ConnectionConfig {
  readonly server: string;
  readonly port?: number;
  readonly options: Readonly<Record<string, unknown>>;
  readonly [more: string]: unknown;
}

/** A target, taken apart. */
export interface Target {
  /** For the driver. */
  readonly config: ConnectionConfig;
  /** Files with certificates. */
  readonly tls: TlsFiles;
  /** Where it connects to, for errors. */
  readonly address: string;
  /** The time that a connection may take to be made, in milliseconds. */
  readonly connectTimeout?: number;
  /** Options of the provider. */
  readonly options: Pick<Settings, "schema" | "table" | "autoCreate" | "statementTimeout" | "poolSize">;
}

const SERVER_KEYWORDS = ["server", "datasource", "address", "addr", "networkaddress"];

/**
 * Takes `target` apart.
 *
 * @throws {TypeError | RangeError} if it is neither a connection string nor a URL with a host, or a setting cannot be
 * used.
 *   The message tells no password
 */
export function parseTarget(target: string): Target {
  const refuse = (why: string) => new TypeError(`Cannot open provider "${redact(target)}": ${why}`);
  try {
    const settings = CATALOG.sqlserver.matches(target)
      ? readSettings(parseConnectionString(target), { inSeconds: true })
      : readSettings(pairsOfUrl(target), { inSeconds: false });
    return targetOf(settings);
  } catch (error) {
    throw refuse(error instanceof Error ? error.message : String(error));
  }
}

function pairsOfUrl(target: string): ConnectionPair[] {
  if (!URL.canParse(target)) throw new TypeError("it is neither a URL nor a connection string");
  const url = new URL(target);
  if (url.hostname === "") throw new TypeError("it names no host");
  if (/@/.test(url.pathname + url.search + url.hash) || url.hash !== "") {
    // Else the host would be a part of the password.
    throw new TypeError("@, /, ?, # and % must be percent-encoded in its user, password and settings");
  }
  const query = [...url.searchParams].map(([keyword, value]) => ({ keyword, value }));
  const names = query.map(({ keyword }) => foldKeyword(keyword));
  for (const [i, name] of names.entries()) {
    if (names.indexOf(name) !== i) throw new TypeError(`the setting "${query[i]?.keyword}" is given twice`);
    if (["user", "password", ...SERVER_KEYWORDS].includes(name)) {
      throw new TypeError(
        `"${query[i]?.keyword}" belongs before the "?": sqlserver://user:password@host:port/database`,
      );
    }
  }
  const host = decode(url.hostname).replace(/^\[(.*)\]$/, "$1");
  const pair = (keyword: string, text: string) => ({ keyword, value: decode(text) });
  return [
    { keyword: "server", value: url.port === "" ? host : `${host},${url.port}` },
    pair("user", url.username),
    pair("password", url.password),
    pair("database", url.pathname.slice(1)),
    ...query,
  ];
}

function decode(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch (cause) {
    throw new TypeError('a "%" in it must be percent-encoded, as %25', { cause });
  }
}

function targetOf(settings: Settings): Target {
  const { schema, table, autoCreate, statementTimeout, poolSize, connectTimeout } = settings;
  const { ca, cert, key, servername, database } = settings;
  const { server, port, instanceName } = placeOf(settings);
  return {
    config: {
      server,
      ...(port !== undefined && { port }),
      ...(database !== undefined && { database }),
      ...loginOf(settings),
      options: {
        ...(instanceName !== undefined && { instanceName }),
        ...encryptionOf(settings),
        ...defined({
          appName: settings.applicationName,
          workstationId: settings.workstationId,
          language: settings.language,
          packetSize: settings.packetSize,
          multiSubnetFailover: settings.multiSubnetFailover,
        }),
      },
    },
    tls: defined({ ca, cert, key, servername }),
    address: instanceName === undefined ? `${server}:${port ?? 1433}` : `${server}\\${instanceName}`,
    ...(connectTimeout !== undefined && { connectTimeout }),
    options: defined({ schema, table, autoCreate, statementTimeout, poolSize }),
  };
}

/** Splits `tcp:host\instance,port`. A port makes the name of the instance superfluous. */
function placeOf({ server = "", instanceName }: Settings): { server: string; port?: number; instanceName?: string } {
  const [, protocol = "tcp", host = "", instance = instanceName, port] =
    /^(?:(tcp|np|lpc|admin):)?([^\\,]*?)(?:\\([^,]*))?(?:,(.*))?$/i.exec(server.trim()) ?? [];
  if (protocol.toLowerCase() !== "tcp") throw new TypeError(`"${protocol}:" cannot be had: the driver connects by TCP`);
  const name = /^(?:\.|\(\.\)|\(local\))$/i.test(host.trim()) ? "localhost" : host.trim();
  if (name === "" || /^\(localdb\)$/i.test(name)) throw new TypeError("it names no host");
  if (port === undefined) return { server: name, ...(instance && { instanceName: instance.trim() }) };
  const number = /^\d{1,5}$/.test(port.trim()) ? Number(port) : 0;
  if (number < 1 || number > 65_535) throw new TypeError("the port must be a number from 1 to 65535");
  return { server: name, port: number };
}

function encryptionOf({ encrypt, trustServerCertificate }: Settings): Readonly<Record<string, unknown>> {
  const meanings: Readonly<Record<string, boolean | string>> = {
    ...{ true: true, mandatory: true, false: false, optional: false, strict: "strict" },
  };
  const meaning = meanings[encrypt ?? "true"];
  if (meaning === undefined) throw new TypeError(`encrypt must be true, false or strict, is "${encrypt}"`);
  return { encrypt: meaning, ...defined({ trustServerCertificate }) };
}

/** The ways to log in: by name and password, as a Windows account with both, or by Microsoft Entra. */
function loginOf(settings: Settings): Readonly<Record<string, unknown>> {
  const { user = "", password, authentication = "", clientId, tenantId } = settings;
  const entra = (type: string, options: object) => ({ authentication: { type, options: defined(options) } });
  switch (foldKeyword(authentication)) {
    case "":
    case "sqlpassword": {
      const [, domain = settings.domain, name = ""] = /^(?:([^\\]*)\\)?(.*)$/s.exec(user) ?? [];
      return defined({ user: name || undefined, password, domain });
    }
    case "activedirectorypassword":
      return entra("azure-active-directory-password", { userName: user, password, clientId, tenantId });
    case "activedirectoryserviceprincipal":
      return entra("azure-active-directory-service-principal-secret", {
        clientId: clientId ?? user,
        clientSecret: password,
        tenantId,
      });
    case "activedirectorymanagedidentity":
    case "activedirectorymsi":
      return entra("azure-active-directory-msi-vm", { clientId: clientId ?? (user || undefined) });
    case "activedirectorydefault":
      return entra("azure-active-directory-default", { clientId: clientId ?? (user || undefined) });
    default:
      throw new TypeError(
        `authentication "${authentication}" cannot be had: known are SqlPassword, Active Directory Password, ` +
          "Active Directory Service Principal, Active Directory Managed Identity and Active Directory Default",
      );
  }
}

function defined<T extends object>(values: T): { [K in keyof T]?: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(values).filter(([, value]) => value !== undefined)) as never;
}
