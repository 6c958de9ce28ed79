/**
 * Where the container is and how to get in: URLs, connection strings, keys and signatures.
 *
 * @module
 */

import { redact } from "../../src/redact.ts";

/** The container, before any driver is loaded. */
export interface AzureTarget {
  /** The container's URL, with the signature in its query where there is one. */
  readonly url: string;
  /** What blob names begin with; "" or with a slash at its end. */
  readonly prefix: string;
  /** The account and its key; null where a signature is all there is. */
  readonly key: { readonly account: string; readonly value: string } | null;
}

/** The account of every storage emulator. Its key is public. */
const EMULATOR_ACCOUNT = "devstoreaccount1";
const EMULATOR_KEY = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
/** The container where a target names none. */
const CONTAINER = "multilock";

/** Whether `target` looks like a connection string. */
export function isConnectionString(target: string): boolean {
  return /(^|;)\s*(AccountName|BlobEndpoint|UseDevelopmentStorage)=/i.test(target);
}

/**
 * Reads a target.
 *
 * @throws {TypeError} if it is malformed, or holds neither a key nor a signature
 */
export function parseAzureTarget(target: string, accountKey?: string): AzureTarget {
  const refuse = (why: string) => new TypeError(`Cannot open provider "${redact(target)}": ${why}`);
  if (isConnectionString(target)) return parseConnectionString(target, refuse);
  if (!URL.canParse(target)) throw refuse("it is neither a URL nor a connection string");
  const given = new URL(target);
  // Any scheme of the web parses user, host and port alike.
  const isShort = given.protocol === "azblob:";
  const url = new URL(isShort ? target.replace(/^azblob:/i, "https:") : target);
  if (!isShort && !/^https?:$/.test(url.protocol)) throw refuse("it must begin with azblob://, https:// or http://");
  if (isShort && !url.hostname.includes(".")) url.hostname += ".blob.core.windows.net";
  const path = url.pathname.split("/").filter((part) => part !== "").map(decodeURIComponent);
  // The emulator, and whatever is reached by an address, has the account in its path.
  const isPathStyle = /^(localhost|\d+(\.\d+){3}|\[.*\])$/.test(url.hostname);
  const account = isPathStyle ? path.shift() : url.hostname.split(".")[0];
  if (account === undefined) throw refuse("it must name an account");
  const [container = CONTAINER, ...prefix] = path;
  const value = accountKey ?? url.searchParams.get("accountKey") ?? (decodeURIComponent(url.password) || undefined);
  url.searchParams.delete("accountKey");
  const signature = url.searchParams.has("sig") ? url.search : "";
  const root = `${url.protocol}//${url.host}${isPathStyle ? `/${account}` : ""}`;
  return build(root, container, prefix, signature, account, value, refuse);
}

function parseConnectionString(text: string, refuse: (why: string) => TypeError): AzureTarget {
  const parts = new Map<string, string>();
  for (const part of text.split(";")) {
    const [, name, value] = /^\s*([^=\s]+)\s*=(.*)$/.exec(part) ?? [];
    if (name !== undefined && value !== undefined) parts.set(name.toLowerCase(), value.trim());
  }
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
  return build(root, container, prefix, signature, account ?? "", parts.get("accountkey"), refuse);
}

function build(
  root: string,
  container: string,
  prefix: readonly string[],
  signature: string,
  account: string,
  key: string | undefined,
  refuse: (why: string) => TypeError,
): AzureTarget {
  if (!/^(?!.*--)[a-z0-9][a-z0-9-]{1,61}[a-z0-9]$/.test(container)) {
    throw refuse(`"${container}" is no name of a container: 3 to 63 lower-case letters, digits and single hyphens`);
  }
  const value = key ?? (account === EMULATOR_ACCOUNT && signature === "" ? EMULATOR_KEY : undefined);
  if (value === undefined && signature === "") {
    throw refuse("it needs an account key, a shared access signature, or a client that has other credentials");
  }
  return {
    url: `${root}/${container}${value === undefined ? signature : ""}`,
    prefix: prefix.map((part) => `${part}/`).join(""),
    key: value === undefined ? null : { account, value },
  };
}
