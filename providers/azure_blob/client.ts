/**
 * The narrow part of `@azure/storage-blob` that elections need, and how it is opened so that it is safe for leases.
 *
 * @module
 */

import { permanently } from "../../src/call.ts";
import { loadDriver } from "../kit/driver.ts";
import { Buffer } from "node:buffer";
import { openConnections } from "../kit/http_agent.ts";
import type { AzureTarget } from "./target.ts";

/** The options that every call takes. */
export interface AzureCallOptions {
  /** Ends it early. */
  readonly abortSignal: AbortSignal;
}

/** The conditions that a call may have. */
export interface AzureConditions {
  /** The lease that the blob has. */
  readonly leaseId?: string;
  /** The ETag that the blob has. */
  readonly ifMatch?: string;
  /** `*`: that there is no such blob. */
  readonly ifNoneMatch?: string;
}

/** A container, as `ContainerClient` of `@azure/storage-blob` is one. */
export interface AzureContainer {
  /** Returns a client for one blob. */
  getBlockBlobClient(name: string): AzureBlob;
  /** Tells how the account is replicated. */
  getAccountInfo?(options: AzureCallOptions): Promise<{ readonly skuName?: string; readonly date?: Date }>;
  /** Creates the container unless it is there. */
  createIfNotExists(options: AzureCallOptions): Promise<unknown>;
  /** Lists its blobs. */
  listBlobsFlat(options: AzureCallOptions & { readonly prefix: string }): AsyncIterable<{ readonly name: string }>;
}

/** A blob, as `BlockBlobClient` is one. */
export interface AzureBlob {
  /** Writes its content and metadata. */
  upload(
    body: string,
    contentLength: number,
    options: AzureCallOptions & { readonly conditions: AzureConditions; readonly metadata: Record<string, string> },
  ): Promise<{ readonly etag?: string }>;
  /** Reads them. */
  download(
    offset: number,
    count: undefined,
    options: AzureCallOptions & { readonly conditions?: AzureConditions },
  ): Promise<AzureDownload>;
  /** Reads what is known of it. */
  getProperties(options: AzureCallOptions & { readonly conditions: AzureConditions }): Promise<unknown>;
  /** Returns a client for its lease. */
  getBlobLeaseClient(leaseId: string): AzureLease;
}

/** The answer to reading a blob. */
export interface AzureDownload {
  /** The version of content and metadata. */
  readonly etag?: string;
  /** `leased`, for example. */
  readonly leaseState?: string;
  /** The metadata. */
  readonly metadata?: Readonly<Record<string, string>>;
  /** The content. */
  readonly readableStreamBody?: AsyncIterable<string | Uint8Array>;
}

/** The answer to taking a lease. */
export interface AzureGrant {
  /** The version of content and metadata. */
  readonly etag?: string;
  /** The time by Azure's clock, in whole seconds. */
  readonly date?: Date;
}

/** The lease of a blob, as `BlobLeaseClient` is one. */
export interface AzureLease {
  /** Takes it for so many seconds, or renews it if it is taken by the same id. */
  acquireLease(durationS: number, options: AzureCallOptions): Promise<AzureGrant>;
  /** Renews it, also after it has expired, but not after it was given back. */
  renewLease(options: AzureCallOptions): Promise<AzureGrant>;
  /** Gives it back. */
  releaseLease(options: AzureCallOptions): Promise<unknown>;
}

/** A container, and how to let go of it. */
export interface OpenContainer {
  readonly container: AzureContainer;
  /** Closes its connections, also those on which a call hangs. */
  close(): void;
}

/**
 * Opens the driver. It must not retry: a lease write that is sent again four seconds later, as it does by default,
 * would count from then. And it gets connections of our own, since those that it shares by default would keep a process
 * alive on Deno after the provider was closed: for seconds, or for as long as a server hangs. Nor does Deno itself send
 * a request on one of ours a second time (see `openConnections`).
 */
export async function openContainer({ url, key, tls }: AzureTarget): Promise<OpenContainer> {
  const { AnonymousCredential, ContainerClient, newPipeline, StorageSharedKeyCredential } = await loadDriver<
    typeof import("@azure/storage-blob")
  >("@azure/storage-blob", () => import("@azure/storage-blob"), () => import("npm:@azure/storage-blob@12.32.0"));
  const connections = openConnections(url.startsWith("https:") ? tls : null);
  const credential = key === null ? new AnonymousCredential() : new StorageSharedKeyCredential(key.account, key.value);
  const pipeline = newPipeline(credential, { retryOptions: { maxTries: 1 } });
  pipeline.factories.push({
    create: (next) => ({
      sendRequest(request) {
        request.agent = connections.agent;
        return next.sendRequest(request);
      },
    }),
  });
  return { container: new ContainerClient(url, pipeline) as AzureContainer, close: () => connections.close() };
}

/**
 * Returns true if a caller's client is known to send requests again by itself. Hidden settings are taken to be well.
 */
export function retries(client: AzureContainer): boolean {
  const { pipeline } = client as { pipeline?: { options?: { retryOptions?: { maxTries?: unknown } } } };
  return pipeline?.options !== undefined && pipeline.options.retryOptions?.maxTries !== 1;
}

/** Returns true if Azure has answered, and has refused a request for what it is: it would be refused again. */
export function isRefused(error: unknown): boolean {
  const { statusCode } = (typeof error === "object" && error !== null ? error : {}) as { statusCode?: unknown };
  return typeof statusCode === "number" && statusCode >= 400 && statusCode < 500 && statusCode !== 408 &&
    statusCode !== 429;
}

/** Returns the content of a download. */
export async function textOf({ readableStreamBody }: AzureDownload): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of readableStreamBody ?? []) {
    chunks.push(typeof chunk === "string" ? Buffer.from(chunk) : chunk);
  }
  return Buffer.concat(chunks).toString();
}

/** Why Azure refused: `BlobNotFound`, for example; "" for any other error. */
export function refusalOf(error: unknown): string {
  if (typeof error !== "object" || error === null || !("statusCode" in error)) return "";
  const { statusCode, code, details } = error as {
    statusCode: unknown;
    code?: unknown;
    details?: { errorCode?: unknown };
  };
  // The answer to a HEAD has no body, and so its code is in a header, if anywhere. Ours are conditional on the lease
  // alone.
  const bare = statusCode === 404 ? "BlobNotFound" : statusCode === 412 ? "LeaseIdMismatchWithBlobOperation" : "";
  return String(code ?? details?.errorCode ?? bare);
}

/** Does `work`, and returns null if Azure refuses it with one of `codes`. */
export async function unlessRefused<T>(codes: ReadonlySet<string>, work: () => Promise<T>): Promise<T | null> {
  try {
    return await work();
  } catch (error) {
    if (codes.has(refusalOf(error))) return null;
    throw error;
  }
}

/** The message of a refused `HEAD` is empty, and those of others go on for lines. */
export function explain(error: unknown): unknown {
  const code = refusalOf(error);
  if (code === "" || !(error instanceof Error)) return error;
  const explained = new Error(`${code}: ${error.message.split("\n")[0]?.replace(`${code} `, "") ?? ""}`, {
    cause: error,
  });
  return FOR_GOOD.has(code) ? permanently(explained) : explained;
}

/** Keys, signatures and roles that are refused, and accounts that do not exist. */
const FOR_GOOD: ReadonlySet<string> = new Set([
  "AccountIsDisabled",
  "AuthenticationFailed",
  "AuthorizationFailure",
  "AuthorizationPermissionMismatch",
  "InvalidAuthenticationInfo",
  "InvalidResourceName",
  "NoAuthenticationInformation",
  "ResourceNotFound",
]);

/** There is no such blob. */
export const MISSING: ReadonlySet<string> = new Set(["BlobNotFound", "ContainerNotFound"]);
/** There is one already, with or without a lease. */
export const EXISTS: ReadonlySet<string> = new Set(["BlobAlreadyExists", "LeaseIdMissing", "ConditionNotMet"]);
/** Somebody else has the lease. */
export const HELD: ReadonlySet<string> = new Set(["LeaseAlreadyPresent", "LeaseIsBreakingAndCannotBeAcquired"]);
/** The lease is not that of this id. */
export const NOT_HELD: ReadonlySet<string> = new Set([
  ...MISSING,
  "LeaseIdMismatchWithBlobOperation",
  "LeaseIdMismatchWithLeaseOperation",
  "LeaseNotPresentWithBlobOperation",
  "LeaseNotPresentWithLeaseOperation",
  "LeaseLost",
  "LeaseAlreadyBroken",
  "LeaseIsBrokenAndCannotBeRenewed",
]);
/** The lease is not that of this id, or there is one and no id was given, or the blob has changed. */
export const STALE: ReadonlySet<string> = new Set([...NOT_HELD, "LeaseIdMissing", "ConditionNotMet"]);
