/**
 * Where the container is and how to get in: URLs, connection strings, keys and signatures.
 *
 * @module
 */

import { redact } from "../../src/redact.ts";
import { refuseUnknown } from "../../src/spelling.ts";
import { readParameters } from "../kit/parameters.ts";
import { checkTlsSettings, TLS_PARAMETERS, type TlsFiles } from "../kit/tls_files.ts";

/** The container, before any driver is loaded. */
export interface AzureTarget {
  /** The container's URL, with the signature in its query where there is one. */
  readonly url: string;
  /** The beginning of blob names; "" or with a slash at its end. */
  readonly prefix: string;
  /** The account and its key; null where a signature is all there is. */
  readonly key: { readonly account: string; readonly value: string } | null;
  /** Where to find certificates. */
  readonly tls: TlsFiles;
}

/** The account of every storage emulator. Its key is public. */
const EMULATOR_ACCOUNT = "devstoreaccount1";
const EMULATOR_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
/** The container where a target names none. */
const CONTAINER = "multilock";

/** The settings of a signature, as Azure names them: they are sent as they are. */
const SIGNATURE = [
  ...["sv", "ss", "srt", "sp", "st", "se", "sip", "spr", "sig", "sr", "si", "sdd", "ses", "saoid", "suoid", "scid"],
  ...["skoid", "sktid", "skt", "ske", "sks", "skv", "skdutid", "sduoid", "rscc", "rscd", "rsce", "rscl", "rsct", "tn"],
];
/** The parts that a connection string may have, beside endpoints of other services, which tools write into it. */
const PARTS = ["DefaultEndpointsProtocol", "AccountName", "AccountKey", "BlobEndpoint", "EndpointSuffix"];
const OWN_PARTS = ["SharedAccessSignature", "UseDevelopmentStorage", "Container"];
const FOREIGN_PARTS = ["Queue", "Table", "File"].flatMap((each) => [`${each}Endpoint`, `${each}SecondaryEndpoint`]);

/** Returns true if `target` looks like a connection string. */
function isConnectionString(target: string): boolean {
  return /(^|;)\s*(AccountName|BlobEndpoint|UseDevelopmentStorage)\s*=/i.test(target);
}

/**
 * Reads a target.
 *
 * @throws {TypeError} if it is malformed, has a setting that is unknown, or holds neither a key nor a signature
 */
export function parseAzureTarget(target: string, accountKey?: string): AzureTarget {
  const refuse = (why: string) => new TypeError(`Cannot open provider "${redact(target)}": ${why}`);
  if (isConnectionString(target)) return parseConnectionString(target, accountKey, refuse);
  if (!URL.canParse(target)) throw refuse("it is neither a URL nor a connection string");
  const given = new URL(target);
  // Any scheme of the web parses user, host and port alike.
  const isShort = given.protocol === "azblob:";
  if (!isShort && !/^https?:$/.test(given.protocol)) throw refuse("it must begin with azblob://, https:// or http://");
  const short = target.replace(/^azblob:/i, "https:");
  if (!URL.canParse(short) || given.hash !== "") throw refuse('a "#", "/" or "?" in a key must be percent-encoded');
  const url = new URL(short);
  if (isShort && !url.hostname.includes(".")) url.hostname += ".blob.core.windows.net";
  const path = url.pathname.split("/").filter((part) => part !== "").map(decodeURIComponent);
  // The emulator, and whatever is reached by an address, has the account in its path.
  const isPathStyle = /^(localhost|\d+(\.\d+){3}|\[.*\])$/.test(url.hostname) || path[0] === EMULATOR_ACCOUNT;
  const account = isPathStyle ? path.shift() : url.hostname.split(".")[0];
  if (account === undefined) throw refuse("it must name an account");
  const [container = CONTAINER, ...prefix] = path;
  const settings = readParameters("azure-blob", url.searchParams, { accountKey: "text", ...TLS_PARAMETERS }, SIGNATURE);
  const { accountKey: inQuery, ...tls } = settings;
  // A key is base64: a blank was a plus sign.
  const value = accountKey ?? inQuery?.replaceAll(" ", "+") ?? (decodeURIComponent(url.password) || undefined);
  for (const name of ["accountKey", ...Object.keys(TLS_PARAMETERS)]) url.searchParams.delete(name);
  const signature = url.searchParams.has("sig") ? url.search : "";
  const root = `${url.protocol}//${url.host}${isPathStyle ? `/${account}` : ""}`;
  return build({ root, container, prefix, signature, account, key: value, tls }, refuse);
}

function parseConnectionString(
  text: string,
  accountKey: string | undefined,
  refuse: (why: string) => TypeError,
): AzureTarget {
  const parts = readParts(text, refuse);
  const isEmulator = parts.get("usedevelopmentstorage")?.toLowerCase() === "true";
  const account = parts.get("accountname") ?? (isEmulator ? EMULATOR_ACCOUNT : undefined);
  const suffix = parts.get("endpointsuffix") ?? "core.windows.net";
  const protocol = parts.get("defaultendpointsprotocol") ?? "https";
  const endpoint = parts.get("blobendpoint") ??
    (isEmulator ? `http://127.0.0.1:10000/${EMULATOR_ACCOUNT}` : account && `${protocol}://${account}.blob.${suffix}`);
  if (endpoint === undefined || !URL.canParse(endpoint)) throw refuse("it names neither an account nor a BlobEndpoint");
  const [container = CONTAINER, ...prefix] = (parts.get("container") ?? CONTAINER).split("/").filter(Boolean);
  const signature = parts.get("sharedaccesssignature")?.replace(/^\??/, "?") ?? "";
  const root = endpoint.replace(/\/+$/, "");
  const key = accountKey ?? parts.get("accountkey");
  return build({ root, container, prefix, signature, account: account ?? "", key, tls: {} }, refuse);
}

/** Reads the parts of a connection string, by their names in lower case. */
function readParts(text: string, refuse: (why: string) => TypeError): ReadonlyMap<string, string> {
  const known = [...PARTS, ...OWN_PARTS, "BlobSecondaryEndpoint", ...FOREIGN_PARTS];
  const parts = new Map<string, string>();
  for (const part of text.split(";").filter((each) => each.trim() !== "")) {
    const [, name, value] = /^\s*([^=\s]+)\s*=(.*)$/.exec(part) ?? [];
    if (name === undefined || value === undefined) throw refuse("it has a part that is no NAME=VALUE");
    const spelt = known.find((each) => each.toLowerCase() === name.toLowerCase()) ?? name;
    refuseUnknown("azure-blob setting", [spelt], known);
    if (parts.has(name.toLowerCase())) throw refuse(`it gives "${spelt}" twice`);
    parts.set(name.toLowerCase(), value.trim());
  }
  return parts;
}

function build(
  { root, container, prefix, signature, account, key, tls }: {
    readonly root: string;
    readonly container: string;
    readonly prefix: readonly string[];
    readonly signature: string;
    readonly account: string;
    readonly key: string | undefined;
    readonly tls: TlsFiles;
  },
  refuse: (why: string) => TypeError,
): AzureTarget {
  if (!/^(?!.*--)[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$/.test(container)) {
    // A name with an @ in it is the rest of a password that was not encoded.
    const what = container.includes("@") ? "what stands there" : `"${container}"`;
    throw refuse(`${what} is no name of a container: 3 to 63 lower-case letters, digits and single hyphens`);
  }
  const value = key ?? (account === EMULATOR_ACCOUNT && signature === "" ? EMULATOR_KEY : undefined);
  if (value === undefined && signature === "") {
    throw refuse("it needs an account key, a shared access signature, or a client that has other credentials");
  }
  if (value !== undefined && !/^[A-Za-z0-9+/]+={0,2}$/.test(value)) throw refuse("its account key is not base64");
  checkTlsSettings(tls, /^https:/i.test(root) ? null : "https", refuse);
  return {
    url: `${root}/${container}${value === undefined ? signature : ""}`,
    prefix: prefix.map((part) => `${part}/`).join(""),
    key: value === undefined ? null : { account, value },
    tls,
  };
}
