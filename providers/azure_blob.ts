/**
 * Elections on Azure Blob Storage. Importing this module registers `azblob:` URLs, those of Azure's own hosts and
 * emulators, and connection strings.
 *
 * Each group is one blob, `GROUP.lease`. The leader has its lease, under the `termId`; the blob says who that is.
 *
 * - **Token**: a number in the blob's metadata, written under the lease and on condition of the ETag that was seen: one
 *   more than the last, and at least the server's time in milliseconds, so that it grows also when the blob was
 *   deleted.
 * - **Clock**: Azure's own decides when a lease expires. A lease lasts 15 s to 60 s, in whole seconds.
 * - **Not promised**: an answer on time. Azure has no watch: followers poll, and learn of a release with their next
 *   look. It does not tell how much longer a lease lasts either: `expiresIn` is the most that it can be.
 * - **A heartbeat** costs one transaction. Every 5 s, that is 518,400 a month for each leader, of the class of writes;
 *   a follower that looks every 5 s makes as many, of the much cheaper class of reads.
 * - **Round trips**: `acquire` two if this provider has seen the group free, else three, and up to six for a new group,
 *   or seven for a term that asks again after it was given back; lost, one if the holder is known, else two. `read`
 *   likewise. `renew` and `release` one; `renew` with metadata two.
 *
 * @module
 */

import { callBackend } from "../src/call.ts";
import type { ProviderOperation } from "../src/errors.ts";
import { type Logger, tell } from "../src/logger.ts";
import type {
  Acquired,
  AcquireRequest,
  CallOptions,
  Held,
  Inspection,
  LeaderInfo,
  Lease,
  Provider,
  ProviderCapabilities,
  RenewOptions,
} from "../src/provider.ts";
import { registerProvider } from "../src/registry.ts";
import { CATALOG } from "./catalog.ts";
import {
  type AzureContainer,
  explain,
  isRefused,
  MISSING,
  type OpenContainer,
  openContainer,
  refusalOf,
  retries,
  unlessRefused,
} from "./azure_blob/client.ts";
import { askFor, ATTEMPTS } from "./azure_blob/claim.ts";
import { describe, GroupBlob, type Look, type TermRecord } from "./azure_blob/group_blob.ts";
import { inspectAccount } from "./azure_blob/inspection.ts";
import { parseAzureTarget } from "./azure_blob/target.ts";
import { JoinedRenewals } from "./kit/joined_renewals.ts";
import { checkOptions } from "./kit/parameters.ts";

export type {
  AzureBlob,
  AzureCallOptions,
  AzureConditions,
  AzureContainer,
  AzureDownload,
  AzureGrant,
  AzureLease,
} from "./azure_blob/client.ts";

/** The way to the container. */
export interface AzureBlobOptions {
  /**
   * `azblob://ACCOUNT/CONTAINER`, `https://ACCOUNT.blob.core.windows.net/CONTAINER`, the same of an emulator,
   * `http://127.0.0.1:10000/devstoreaccount1/CONTAINER`, or a connection string (with `Container=NAME`). Behind the
   * container may stand what blob names begin with. A key is given as `accountKey`, as a setting of that name or as a
   * password; a shared access signature as the URL's query. `ca`, `cert` and `key` name files in PEM, and `servername`
   * the name in the server's certificate.
   */
  readonly url?: string | URL | undefined;
  /** The account's key. @default that of the URL */
  readonly accountKey?: string | undefined;
  /**
   * A `ContainerClient` of `@azure/storage-blob`, for any other credential. It must be made with
   * `retryOptions: { maxTries: 1 }`: what it sent again by itself would be carried out after its caller has given up.
   */
  readonly client?: AzureContainer | undefined;
  /** Is told of metadata that Azure refuses. @default nobody */
  readonly logger?: Logger | undefined;
}

const OPTIONS: readonly (keyof AzureBlobOptions)[] = ["url", "accountKey", "client", "logger"];

/**
 * Opens a provider that keeps leases in a container of Azure Blob Storage. The container is made when it is first
 * missed.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { azureBlobProvider } from "@multilock/core/azure-blob";
 *
 * await using provider = azureBlobProvider({ url: "azblob://account/elections?accountKey=a2V5" });
 * assert(provider.capabilities.minTimeout === 15_000);
 * ```
 *
 * @throws {TypeError} if there is neither a client nor a URL that is complete, if either cannot be used safely, or if
 * the URL or the options have a setting that is unknown
 */
export function azureBlobProvider(options: AzureBlobOptions): Provider {
  checkOptions("azure-blob", options, OPTIONS);
  const { url, accountKey, client, logger } = options;
  if (client !== undefined) {
    if (url !== undefined || accountKey !== undefined) {
      throw new TypeError(`${CANNOT_OPEN}: a client has its url and key`);
    }
    if (retries(client)) throw new TypeError(`${CANNOT_OPEN}: its client must have retryOptions: { maxTries: 1 }`);
    // Its connections are its owner's.
    return new AzureBlobProvider(() => Promise.resolve({ container: client, close() {} }), "", logger);
  }
  if (url === undefined) throw new TypeError(`${CANNOT_OPEN}: it needs a url or a client`);
  const target = parseAzureTarget(String(url), accountKey);
  return new AzureBlobProvider(() => openContainer(target), target.prefix, logger);
}

const CANNOT_OPEN = 'Cannot open provider "azure-blob"';
type RecordMetadata = TermRecord["metadata"];

class AzureBlobProvider implements Provider {
  readonly name = "azure-blob";
  readonly capabilities: ProviderCapabilities = {
    watch: false,
    timeAuthority: "server",
    minTimeout: 15_000,
    maxTimeout: 60_000,
    durability:
      "Leases and tokens are as durable as the account's redundancy; the latter survive even a deleted container.",
  };
  readonly #open: () => Promise<OpenContainer>;
  readonly #prefix: string;
  /** The last look at each group. */
  readonly #looks = new Map<string, Look>();
  readonly #closing = new AbortController();
  readonly #renewals = new JoinedRenewals();
  readonly #logger: Logger | undefined;
  /** When the last `acquire` of a term that is under way has settled. */
  readonly #asked = new Map<string, Promise<void>>();
  #opened: Promise<OpenContainer> | null = null;

  constructor(open: () => Promise<OpenContainer>, prefix: string, logger: Logger | undefined) {
    this.#open = open;
    this.#prefix = prefix;
    this.#logger = logger;
  }

  acquire(request: AcquireRequest, options: CallOptions): Promise<Acquired | Held> {
    const { electionGroup } = request;
    const asked = this.#callGroup("acquire", electionGroup, options.signal, (blob) => askFor(request, blob));
    const settled = asked.then(() => {}, () => {}).finally(() => {
      if (this.#asked.get(request.termId) === settled) this.#asked.delete(request.termId);
    });
    this.#asked.set(request.termId, settled);
    return asked;
  }

  renew(lease: Lease, options: RenewOptions): Promise<"renewed" | "lost"> {
    return this.#renewals.run(lease.termId, options, (together) => this.#renewOnce(lease, together));
  }

  #renewOnce(lease: Lease, { signal, metadata }: RenewOptions): Promise<"renewed" | "lost"> {
    return this.#callGroup("renew", lease.electionGroup, signal, async (blob) => {
      if (await blob.renew(lease.termId) === null) return "lost";
      if (metadata === undefined) return "renewed";
      try {
        return await this.#describe(lease, metadata, blob);
      } catch (error) {
        // The lease is renewed. Its metadata must not cost it, where Azure will not take them at all.
        if (!isRefused(error)) throw error;
        this.#warn(lease.electionGroup, explain(error));
        return "renewed";
      }
    });
  }

  /**
   * Writes new metadata into the record of a term that has the lease. A blob whose record was overwritten gets a whole
   * one; that of another term says that this one is over.
   */
  async #describe(lease: Lease, metadata: RecordMetadata, blob: GroupBlob): Promise<"renewed" | "lost"> {
    const { participantId, termId, token, acquiredAt, heartbeatTimeout } = lease;
    const own: TermRecord = { participantId, termId, token, acquiredAt, heartbeatTimeout, metadata };
    let look = blob.known ?? null;
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      if (look?.record?.termId !== termId) look = await blob.download(termId);
      if (look === null || (look.record === null ? look.token > token : look.record.termId !== termId)) return "lost";
      if (await blob.write({ ...(look.record ?? own), metadata }, look.etag)) return "renewed";
      look = null;
    }
    throw new Error("the blob changes all the time");
  }

  #warn(electionGroup: string, error: unknown): void {
    tell(this.#logger, "warn", "Azure refuses the metadata: the lease is renewed without", { electionGroup, error });
  }

  release(
    { electionGroup, termId }: Pick<Lease, "electionGroup" | "termId">,
    { signal }: CallOptions,
  ): Promise<"released" | "notHolder"> {
    return this.#callGroup("release", electionGroup, signal, async (blob) => {
      // An `acquire` of this client that is under way comes to its end first.
      await this.#asked.get(termId);
      const done = await blob.release(termId);
      const { known } = blob;
      if (known?.record?.termId === termId) blob.remember({ ...known, isHeld: false });
      return done === null ? "notHolder" : "released";
    });
  }

  read(electionGroup: string, { signal }: CallOptions): Promise<LeaderInfo | null> {
    return this.#callGroup("read", electionGroup, signal, async (blob) => {
      const { known } = blob;
      let look: Look | null = known?.isHeld ? await blob.confirm(known) : null;
      if (!look?.isHeld) look = await blob.look();
      return look?.isHeld ? describe(look) : null;
    });
  }

  groups({ signal }: CallOptions): Promise<string[]> {
    return this.#call("groups", this.#prefix, signal, async (abortSignal, container) => {
      const groups: string[] = [];
      await unlessRefused(MISSING, async () => {
        for await (const { name } of container.listBlobsFlat({ prefix: this.#prefix, abortSignal })) {
          const group = /^([^/]+)\.lease$/.exec(name.slice(this.#prefix.length))?.[1];
          if (group !== undefined) groups.push(group);
        }
      });
      return groups;
    });
  }

  healthCheck({ signal }: CallOptions): Promise<void> {
    return this.#call("healthCheck", this.#prefix, signal, async (abortSignal, container) => {
      // To take the lease of a blob that does not exist needs the permission, and does nothing.
      const probe = container.getBlockBlobClient(`${this.#prefix}health-check`).getBlobLeaseClient(crypto.randomUUID());
      await probe.acquireLease(this.capabilities.minTimeout / 1_000, { abortSignal }).catch(async (error: unknown) => {
        const why = refusalOf(error);
        if (why === "ContainerNotFound") await container.createIfNotExists({ abortSignal });
        else if (why !== "BlobNotFound") throw error;
      });
    });
  }

  inspect({ signal }: CallOptions): Promise<Inspection> {
    return this.#call(
      "healthCheck",
      this.#prefix,
      signal,
      (abortSignal, container) => inspectAccount(container, abortSignal),
    );
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new Error("the provider is closed"));
    // A failure to open it was told to the callers.
    const opened = await this.#opened?.catch(() => null);
    opened?.close();
  }

  #callGroup<T>(
    operation: ProviderOperation,
    electionGroup: string,
    signal: AbortSignal,
    work: (blob: GroupBlob) => Promise<T>,
  ): Promise<T> {
    return this.#call(
      operation,
      electionGroup,
      signal,
      (abortSignal, container) => work(new GroupBlob(electionGroup, this.#prefix, container, this.#looks, abortSignal)),
    );
  }

  #call<T>(
    operation: ProviderOperation,
    thing: string,
    signal: AbortSignal,
    work: (abortSignal: AbortSignal, container: AzureContainer) => Promise<T>,
  ): Promise<T> {
    return callBackend(this.name, operation, thing, signal, async () => {
      const ends = AbortSignal.any([signal, this.#closing.signal]);
      try {
        // A driver that could not be loaded is asked for again.
        this.#opened ??= this.#open().catch((error) => {
          this.#opened = null;
          throw error;
        });
        const { container } = await this.#opened;
        ends.throwIfAborted();
        return await work(ends, container);
      } catch (error) {
        throw this.#closing.signal.aborted ? this.#closing.signal.reason : explain(error);
      }
    });
  }
}

registerProvider({
  ...CATALOG["azure-blob"],
  open: (url, { logger }) => azureBlobProvider({ url, logger }),
});
