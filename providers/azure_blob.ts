/**
 * Elections on Azure Blob Storage. Importing this module registers `azblob:`, `https:` and `http:` URLs and connection strings.
 *
 * Each group is one blob, `GROUP.lease`. Whoever leads has its lease, under the `termId`; the blob says who that is.
 *
 * - **Token**: a number in the blob's metadata, written under the lease and on condition of the ETag that was seen: one more
 *   than the last, and at least the server's time in milliseconds, so that it grows also when the blob was deleted.
 * - **Clock**: Azure's own decides when a lease expires. A lease lasts 15 s to 60 s, in whole seconds.
 * - **Not promised**: an answer on time. Azure has no watch: followers poll, and learn of a release with their next look.
 *   It does not tell how much longer a lease lasts either: `expiresIn` is the most that it can be.
 * - **A heartbeat** costs one transaction. Every 5 s, that is 518,400 a month for each leader, of the class of writes; a
 *   follower that looks every 5 s makes as many, of the much cheaper class of reads.
 * - **Round trips**: `acquire` two if this provider has seen the group free, else three, and up to six for a new group; lost,
 *   one if the holder is known, else two. `read` likewise. `renew` and `release` one; `renew` with metadata two.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { callBackend, parseMetadata } from "../src/call.ts";
import type { ProviderOperation } from "../src/errors.ts";
import type {
  Acquired,
  AcquireRequest,
  CallOptions,
  Held,
  LeaderInfo,
  Lease,
  Provider,
  ProviderCapabilities,
  RenewOptions,
} from "../src/provider.ts";
import { registerProvider } from "../src/registry.ts";
import {
  type AzureBlob,
  type AzureContainer,
  EXISTS,
  explain,
  HELD,
  MISSING,
  NOT_HELD,
  type OpenContainer,
  openContainer,
  refusalOf,
  STALE,
  textOf,
  unlessRefused,
} from "./azure_blob/client.ts";
import { isConnectionString, parseAzureTarget } from "./azure_blob/target.ts";

export type {
  AzureBlob,
  AzureCallOptions,
  AzureConditions,
  AzureContainer,
  AzureDownload,
  AzureLease,
} from "./azure_blob/client.ts";

/** How to reach the container. */
export interface AzureBlobOptions {
  /**
   * `azblob://ACCOUNT/CONTAINER`, `https://ACCOUNT.blob.core.windows.net/CONTAINER`, the same of an emulator,
   * `http://127.0.0.1:10000/devstoreaccount1/CONTAINER`, or a connection string (with `Container=NAME`). Behind the container
   * may stand what blob names begin with. A key is given as `accountKey`, as a parameter of that name or as a password;
   * a shared access signature as the URL's query.
   */
  readonly url?: string | URL;
  /** The account's key. @default that of the URL */
  readonly accountKey?: string;
  /**
   * A `ContainerClient` of `@azure/storage-blob`, for any other credential. It must be made with
   * `retryOptions: { maxTries: 1 }`.
   */
  readonly client?: AzureContainer;
}

/**
 * Opens a provider that keeps leases in a container of Azure Blob Storage. The container is made when it is first missed.
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
 * @throws {TypeError} if there is neither a client nor a URL that is complete
 */
export function azureBlobProvider(options: AzureBlobOptions): Provider {
  const { url, accountKey, client } = options;
  if (client !== undefined) {
    // Its connections are its owner's.
    return new AzureBlobProvider(() => Promise.resolve({ container: client, close() {} }), "");
  }
  if (url === undefined) throw new TypeError('Cannot open provider "azure-blob": it needs a url or a client');
  const target = parseAzureTarget(String(url), accountKey);
  return new AzureBlobProvider(() => openContainer(target), target.prefix);
}

/** How often a call tries again when the blob has changed under it. */
const ATTEMPTS = 5;

/** What a blob says of the last term that claimed it. */
interface TermRecord {
  readonly participantId: string;
  readonly termId: string;
  readonly token: bigint;
  readonly acquiredAt: Date;
  readonly heartbeatTimeout: number;
  readonly metadata: Readonly<Record<string, string>>;
}

/** A blob as it was last seen. Only a hint: what is written is conditional on the ETag. */
interface Look {
  readonly etag: string;
  readonly token: bigint;
  /** Null in a blob that nobody has claimed yet. */
  readonly record: TermRecord | null;
  /** Whether the term of the record has the lease. */
  readonly isHeld: boolean;
}

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
  /** What was last seen of each group. */
  readonly #looks = new Map<string, Look>();
  readonly #closing = new AbortController();
  #opened: Promise<OpenContainer> | null = null;

  constructor(open: () => Promise<OpenContainer>, prefix: string) {
    this.#open = open;
    this.#prefix = prefix;
  }

  acquire(request: AcquireRequest, { signal }: CallOptions): Promise<Acquired | Held> {
    const { electionGroup, termId } = request;
    return this.#call("acquire", electionGroup, signal, async (abortSignal, container) => {
      const blob = this.#blob(container, electionGroup);
      const known = this.#looks.get(electionGroup);
      let look = known === undefined
        ? await this.#look(electionGroup, blob, abortSignal)
        : await this.#confirm(electionGroup, known, blob, abortSignal);
      for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
        look ??= await this.#create(container, blob, abortSignal);
        if (look?.isHeld && look.record?.termId !== termId) return { acquired: false, leader: describe(look) };
        const claim = look === null ? "changed" : await this.#claim(request, look, blob, abortSignal);
        if (typeof claim === "object") return { acquired: true, lease: claim };
        look = await this.#look(electionGroup, blob, abortSignal);
        // Somebody has the lease and has not said who: the claim is under way, or was given up and will run out.
        if (claim === "held" && look?.isHeld === false) return { acquired: false, leader: null };
      }
      throw new Error("the blob changes all the time");
    });
  }

  renew(lease: Lease, { signal, metadata }: RenewOptions): Promise<"renewed" | "lost"> {
    const { electionGroup, termId } = lease;
    return this.#call("renew", electionGroup, signal, async (abortSignal, container) => {
      const blob = this.#blob(container, electionGroup);
      const isOurs = await unlessRefused(NOT_HELD, () => blob.getBlobLeaseClient(termId).renewLease({ abortSignal }));
      if (isOurs === null) return "lost";
      if (metadata === undefined) return "renewed";
      let look = this.#looks.get(electionGroup) ?? null;
      for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
        if (look?.record?.termId !== termId) look = await this.#download(electionGroup, blob, abortSignal, termId);
        if (look?.record?.termId !== termId) return "lost";
        const record = { ...look.record, metadata };
        if (await this.#write(electionGroup, record, look.etag, blob, abortSignal)) return "renewed";
        look = null;
      }
      throw new Error("the blob changes all the time");
    });
  }

  release(lease: Pick<Lease, "electionGroup" | "termId">, { signal }: CallOptions): Promise<"released" | "notHolder"> {
    const { electionGroup, termId } = lease;
    return this.#call("release", electionGroup, signal, async (abortSignal, container) => {
      const ours = this.#blob(container, electionGroup).getBlobLeaseClient(termId);
      const done = await unlessRefused(NOT_HELD, () => ours.releaseLease({ abortSignal }));
      const look = this.#looks.get(electionGroup);
      if (look?.record?.termId === termId) this.#looks.set(electionGroup, { ...look, isHeld: false });
      return done === null ? "notHolder" : "released";
    });
  }

  read(electionGroup: string, { signal }: CallOptions): Promise<LeaderInfo | null> {
    return this.#call("read", electionGroup, signal, async (abortSignal, container) => {
      const blob = this.#blob(container, electionGroup);
      const known = this.#looks.get(electionGroup);
      let look = known?.isHeld ? await this.#confirm(electionGroup, known, blob, abortSignal) : null;
      if (!look?.isHeld) look = await this.#look(electionGroup, blob, abortSignal);
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

  async [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new Error("the provider is closed"));
    // That it could not be opened was told to whoever called.
    const opened = await this.#opened?.catch(() => null);
    opened?.close();
  }

  /**
   * Begins a term, or finds that it has begun:
   * 1. take the lease, with the `termId` for its id. From its holder, Azure takes that for a renewal.
   * 2. Under the lease nobody else writes. So if the ETag is the one that was seen, so is the rest; else look again.
   * 3. Write the record and its token, on condition of the lease and the ETag.
   *
   * One that was given up on after step 1 runs out by itself. Until then the record is that of an earlier term, which has
   * the lease no more, and so is not reported (see `#look`). One that was given up on in step 3, and is carried out late,
   * finds another ETag or another lease, or is the same term's own claim, which asks again and finds it.
   */
  async #claim(
    request: AcquireRequest,
    seen: Look,
    blob: AzureBlob,
    abortSignal: AbortSignal,
  ): Promise<Lease | "held" | "changed"> {
    const { electionGroup, participantId, termId, heartbeatTimeout, metadata } = request;
    const durationS = Math.ceil(heartbeatTimeout / 1_000);
    let why = "";
    const taken = await blob.getBlobLeaseClient(termId).acquireLease(durationS, { abortSignal }).catch((error) => {
      why = refusalOf(error);
      if (!HELD.has(why) && !MISSING.has(why)) throw error;
      return null;
    });
    if (taken === null) return HELD.has(why) ? "held" : "changed";
    const look = taken.etag === seen.etag ? seen : await this.#download(electionGroup, blob, abortSignal, termId);
    if (look === null) return "changed";
    if (look.record?.termId === termId) {
      return await this.#keep(electionGroup, look, look.record, metadata, blob, abortSignal);
    }
    // Also a blob that was deleted and made anew gets a token beyond all before, since Azure's clock has gone on.
    const acquiredAt = taken.date ?? new Date(0);
    const now = BigInt(acquiredAt.getTime());
    const token = look.token < now ? now : look.token + 1n;
    const record = { participantId, termId, token, acquiredAt, heartbeatTimeout, metadata };
    const isWritten = await this.#write(electionGroup, record, look.etag, blob, abortSignal);
    return isWritten ? toLease(electionGroup, record) : "changed";
  }

  /** Answers the lease that its term asks for again, and has just been renewed. */
  async #keep(
    electionGroup: string,
    look: Look,
    record: TermRecord,
    metadata: Readonly<Record<string, string>>,
    blob: AzureBlob,
    abortSignal: AbortSignal,
  ): Promise<Lease | "changed"> {
    this.#looks.set(electionGroup, { ...look, isHeld: true });
    const isSame = JSON.stringify(record.metadata) === JSON.stringify(metadata);
    const isKept = isSame || await this.#write(electionGroup, { ...record, metadata }, look.etag, blob, abortSignal);
    return isKept ? toLease(electionGroup, record) : "changed";
  }

  /** Writes a record under its lease. Returns false if the lease is over, or the blob is not the one that was seen. */
  async #write(
    electionGroup: string,
    record: TermRecord,
    ifMatch: string,
    blob: AzureBlob,
    abortSignal: AbortSignal,
  ): Promise<boolean> {
    const token = String(record.token);
    const body = JSON.stringify({ ...record, token });
    const conditions = { leaseId: record.termId, ifMatch };
    const written = await unlessRefused(
      STALE,
      () => blob.upload(body, Buffer.byteLength(body), { conditions, metadata: { token }, abortSignal }),
    );
    if (written?.etag === undefined) return false;
    this.#looks.set(electionGroup, { etag: written.etag, token: record.token, record, isHeld: true });
    return true;
  }

  /** Makes the blob, and the container if need be. Returns null if another was faster. */
  async #create(container: AzureContainer, blob: AzureBlob, abortSignal: AbortSignal): Promise<Look | null> {
    const upload = () =>
      blob.upload("", 0, { conditions: { ifNoneMatch: "*" }, metadata: { token: "0" }, abortSignal });
    const made = await upload().catch(async (error: unknown) => {
      const why = refusalOf(error);
      if (EXISTS.has(why)) return null;
      if (why !== "ContainerNotFound") throw error;
      await container.createIfNotExists({ abortSignal });
      return await unlessRefused(EXISTS, upload);
    });
    return made?.etag === undefined ? null : { etag: made.etag, token: 0n, record: null, isHeld: false };
  }

  /** Asks in one call whether the term that was last seen leading still does. Returns null if the blob is gone. */
  async #confirm(electionGroup: string, known: Look, blob: AzureBlob, abortSignal: AbortSignal): Promise<Look | null> {
    if (!known.isHeld || known.record === null) return known;
    const look = await this.#download(electionGroup, blob, abortSignal, known.record.termId);
    if (look !== null) return look;
    const gone = { ...known, isHeld: false };
    this.#looks.set(electionGroup, gone);
    return gone;
  }

  /**
   * Reads the blob, and whether the term in its record leads. That it is leased is not enough: the lease may be that of a
   * claim which has not been written yet. To read on condition of a lease's id fails if that is not the one.
   */
  async #look(electionGroup: string, blob: AzureBlob, abortSignal: AbortSignal): Promise<Look | null> {
    const look = await this.#download(electionGroup, blob, abortSignal);
    if (!look?.isHeld || look.record === null) return look;
    const conditions = { leaseId: look.record.termId };
    const isHeld = await unlessRefused(NOT_HELD, () => blob.getProperties({ conditions, abortSignal })) !== null;
    this.#looks.set(electionGroup, { ...look, isHeld });
    return { ...look, isHeld };
  }

  /** Reads the blob, if `leaseId` has its lease where that is given. Returns null if not, or if there is no blob. */
  async #download(
    electionGroup: string,
    blob: AzureBlob,
    abortSignal: AbortSignal,
    leaseId?: string,
  ): Promise<Look | null> {
    const conditions = leaseId === undefined ? {} : { leaseId };
    const answer = await unlessRefused(NOT_HELD, () => blob.download(0, undefined, { conditions, abortSignal }));
    if (answer === null) {
      this.#looks.delete(electionGroup);
      return null;
    }
    const token = /^\d{1,20}$/.exec(answer.metadata?.token ?? "")?.[0];
    if (token === undefined || answer.etag === undefined) throw new Error("the blob holds something that is no lease");
    const record = parseRecord(await textOf(answer));
    const isLeased = leaseId === undefined ? answer.leaseState === "leased" : leaseId === record?.termId;
    const look = { etag: answer.etag, token: BigInt(token), record, isHeld: record !== null && isLeased };
    this.#looks.set(electionGroup, look);
    return look;
  }

  #blob(container: AzureContainer, electionGroup: string): AzureBlob {
    return container.getBlockBlobClient(`${this.#prefix}${electionGroup}.lease`);
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

function parseRecord(json: string): TermRecord | null {
  if (json === "") return null;
  const { participantId, termId, token, acquiredAt, heartbeatTimeout, metadata } = JSON.parse(json);
  return {
    participantId: String(participantId),
    termId: String(termId),
    token: BigInt(token),
    acquiredAt: new Date(acquiredAt),
    heartbeatTimeout: Number(heartbeatTimeout),
    metadata: parseMetadata(JSON.stringify(metadata)),
  };
}

function toLease(electionGroup: string, record: TermRecord): Lease {
  const { participantId, termId, token, acquiredAt, heartbeatTimeout } = record;
  return { electionGroup, participantId, termId, token, acquiredAt, heartbeatTimeout };
}

function describe({ record }: Look): LeaderInfo | null {
  return record && {
    leaderId: record.participantId,
    termId: record.termId,
    token: record.token,
    leadershipAcquiredAt: record.acquiredAt,
    // Azure does not say when a lease was renewed: the holder may have done so just now.
    lastHeartbeat: null,
    metadata: record.metadata,
    expiresIn: record.heartbeatTimeout,
  };
}

registerProvider({
  name: "azure-blob",
  protocols: ["azblob:", "https:", "http:"],
  matches: isConnectionString,
  open: (url) => azureBlobProvider({ url }),
});
