/**
 * A fence in the metadata of a blob of Azure Blob Storage.
 *
 * @module
 */

import { ElectionError } from "../src/errors.ts";
import { type AdmitOptions, checkAdmission, type Fence, refuseLower } from "./fence.ts";

/** The conditions of a request. */
export interface BlobConditions {
  /** The ETag that the blob must have. */
  readonly ifMatch?: string;
  /** `"*"`: there must be no blob. */
  readonly ifNoneMatch?: string;
}

/** The options that a write to a fenced blob must pass on, as `@azure/storage-blob` takes them. */
export interface FencedBlobOptions {
  /** Makes the write fail if the blob has changed since its token was read. */
  readonly conditions: BlobConditions;
  /** The metadata of the blob, with the token in it. */
  readonly metadata: Record<string, string>;
  /** Ends the request. */
  readonly abortSignal?: AbortSignal;
}

/** The part of a `BlockBlobClient` that the fence needs. */
export interface FencedBlobClient {
  /** Reads metadata and ETag. */
  getProperties(options?: { readonly abortSignal?: AbortSignal }): Promise<{
    readonly etag?: string;
    readonly metadata?: Record<string, string>;
  }>;
  /** Replaces the metadata. */
  setMetadata(
    metadata?: Record<string, string>,
    options?: { readonly conditions?: BlobConditions; readonly abortSignal?: AbortSignal },
  ): Promise<unknown>;
  /** Replaces content and metadata. */
  upload(body: string, contentLength: number, options?: FencedBlobOptions): Promise<unknown>;
}

/** The part of a `ContainerClient` that the fence needs. */
export interface FencedContainerClient {
  /** Returns the client of a blob. */
  getBlockBlobClient(blobName: string): FencedBlobClient;
}

/** A fence in blobs: the resource is the name of the blob that is written. */
export interface AzureBlobFence extends Fence {
  /**
   * Writes to the blob if `token` is admitted, as one step. `write` must pass on what it is given to its one request:
   * `blob.upload(body, length, options)`. It is called again if the blob has changed meanwhile.
   *
   * @throws {FencedError} if a higher token has been admitted: then `write` was not carried out
   * @throws what `write` threw
   */
  write<T>(
    resource: string,
    token: bigint,
    write: (options: FencedBlobOptions) => Promise<T>,
    options?: AdmitOptions,
  ): Promise<T>;
  /**
   * Puts the token into the metadata of the blob, which is created empty if it is missing. What follows it is another
   * step: {@linkcode AzureBlobFence.write} is safe, this is not, except to announce a new term before it writes.
   */
  admit(resource: string, token: bigint, options?: AdmitOptions): Promise<void>;
}

/** The number of times that a write finds that the blob has changed before it gives up. */
const MAX_ATTEMPTS = 20;
/** The name of the metadata. */
const TOKEN = "fencingtoken";

/**
 * Makes a fence over the blobs of `container`. The token is in the blob that it guards, so it lives as long: a blob
 * that is removed, or written without the fence, refuses nothing until it has seen a token.
 *
 * Why it is one step: the write carries the ETag under which the token was read, and Azure refuses it if anything has
 * changed since.
 */
export function azureBlobFence(container: FencedContainerClient): AzureBlobFence {
  return new FenceInBlobs(container);
}

class FenceInBlobs implements AzureBlobFence {
  readonly #container: FencedContainerClient;

  constructor(container: FencedContainerClient) {
    this.#container = container;
  }

  async admit(resource: string, token: bigint, options: AdmitOptions = {}): Promise<void> {
    const blob = this.#container.getBlockBlobClient(resource);
    await this.write(resource, token, async ({ metadata, ...rest }) => {
      if (rest.conditions.ifMatch === undefined) await blob.upload("", 0, { metadata, ...rest });
      else await blob.setMetadata(metadata, rest);
    }, options);
  }

  async write<T>(
    resource: string,
    token: bigint,
    write: (options: FencedBlobOptions) => Promise<T>,
    options: AdmitOptions = {},
  ): Promise<T> {
    checkAdmission(resource, token, options);
    const blob = this.#container.getBlockBlobClient(resource);
    const abort = options.signal === undefined ? {} : { abortSignal: options.signal };
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      options.signal?.throwIfAborted();
      const found = await blob.getProperties(abort).catch((error: unknown) => {
        if (statusOf(error) === 404) return null;
        throw error;
      });
      const { [TOKEN]: highest = "0", ...others } = found?.metadata ?? {};
      refuseLower(resource, token, highest);
      const metadata = { ...others, [TOKEN]: String(token) };
      const conditions = found?.etag === undefined ? { ifNoneMatch: "*" } : { ifMatch: found.etag };
      try {
        return await write({ conditions, metadata, ...abort });
      } catch (error) {
        // Somebody was faster: a blob that has changed, come or gone.
        const isConflict = [409, 412].includes(statusOf(error)) ||
          (found !== null && statusOf(error) === 404);
        if (!isConflict) throw error;
      }
    }
    throw new ElectionError(`Cannot write to "${resource}": others were faster, ${MAX_ATTEMPTS} times`);
  }
}

function statusOf(error: unknown): number {
  const status = typeof error === "object" && error !== null && "statusCode" in error ? error.statusCode : 0;
  return typeof status === "number" ? status : 0;
}
