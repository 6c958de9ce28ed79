/**
 * The blob of one group, as one call sees it.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { parseMetadata, permanently } from "../../src/call.ts";
import type { LeaderInfo, Lease } from "../../src/provider.ts";
import {
  type AzureBlob,
  type AzureContainer,
  type AzureGrant,
  type AzureLease,
  EXISTS,
  HELD,
  MISSING,
  NOT_HELD,
  refusalOf,
  STALE,
  textOf,
  unlessRefused,
} from "./client.ts";

/** The account that a blob gives of the last term that claimed it. */
export interface TermRecord {
  readonly participantId: string;
  readonly termId: string;
  readonly token: bigint;
  readonly acquiredAt: Date;
  readonly heartbeatTimeout: number;
  readonly metadata: Readonly<Record<string, string>>;
}

/** A blob as it was last seen. Only a hint: what is written is conditional on the ETag. */
export interface Look {
  readonly etag: string;
  readonly token: bigint;
  /** Null in a blob that nobody has claimed yet. */
  readonly record: TermRecord | null;
  /** True if the term of the record has the lease. */
  readonly isHeld: boolean;
}

/** The blob of one group, for the length of one call. Its looks outlast the call, among the provider's. */
export class GroupBlob {
  readonly #electionGroup: string;
  readonly #name: string;
  readonly #container: AzureContainer;
  readonly #blob: AzureBlob;
  readonly #looks: Map<string, Look>;
  readonly #abortSignal: AbortSignal;

  constructor(
    electionGroup: string,
    prefix: string,
    container: AzureContainer,
    looks: Map<string, Look>,
    abortSignal: AbortSignal,
  ) {
    this.#electionGroup = electionGroup;
    this.#container = container;
    this.#name = `${prefix}${electionGroup}.lease`;
    this.#blob = container.getBlockBlobClient(this.#name);
    this.#looks = looks;
    this.#abortSignal = abortSignal;
  }

  /** The last look. */
  get known(): Look | undefined {
    return this.#looks.get(this.#electionGroup);
  }

  /** Remembers a look. */
  remember(look: Look): Look {
    this.#looks.set(this.#electionGroup, look);
    return look;
  }

  /**
   * Reads the blob, and whether the term in its record leads. The blob's lease is not enough: it may be that of a
   * claim which has not been written yet. To read on condition of a lease's id fails if that is not the one.
   */
  async look(): Promise<Look | null> {
    const look = await this.download();
    if (!look?.isHeld || look.record === null) return look;
    const options = { conditions: { leaseId: look.record.termId }, abortSignal: this.#abortSignal };
    const isHeld = await unlessRefused(NOT_HELD, () => this.#blob.getProperties(options)) !== null;
    return this.remember({ ...look, isHeld });
  }

  /** Asks in one call whether the term that was last seen leading still does. */
  async confirm(known: Look): Promise<Look> {
    if (!known.isHeld || known.record === null) return known;
    return await this.download(known.record.termId) ?? this.remember({ ...known, isHeld: false });
  }

  /**
   * Reads the blob, if `leaseId` has its lease where that is given. Returns null if not, or if there is no blob.
   *
   * Changes that people make to a blob by hand must not end a group for good. The lease alone decides who leads; the
   * record says who that is, and one that cannot be read says nothing. To write over it is safe for the term that has
   * the lease: on condition of the ETag, with a token beyond that in the metadata and beyond Azure's time, which grows
   * where that was removed.
   */
  async download(leaseId?: string): Promise<Look | null> {
    const options = { conditions: leaseId === undefined ? {} : { leaseId }, abortSignal: this.#abortSignal };
    const answer = await unlessRefused(NOT_HELD, () => this.#blob.download(0, undefined, options));
    if (answer === null) {
      this.#looks.delete(this.#electionGroup);
      return null;
    }
    if (answer.etag === undefined) throw new Error("the blob has no ETag");
    const text = await textOf(answer);
    const record = parseRecord(text);
    const marked = /^\d{1,20}$/.exec(answer.metadata?.token ?? "")?.[0];
    // A blob is ours if it has our token, or a record of ours, or nothing that could be precious.
    if (marked === undefined && record === null && text !== "") {
      throw permanently(new Error(`${this.#name} ${FOREIGN}`));
    }
    const tokens = [BigInt(marked ?? 0), record?.token ?? 0n];
    const token = tokens.reduce((one, other) => one > other ? one : other);
    const isLeased = leaseId === undefined ? answer.leaseState === "leased" : leaseId === record?.termId;
    return this.remember({ etag: answer.etag, token, record, isHeld: record !== null && isLeased });
  }

  /** Writes a record under its lease. Returns false if the lease is over, or the blob is not the one that was seen. */
  async write(record: TermRecord, ifMatch: string): Promise<boolean> {
    const token = String(record.token);
    const body = JSON.stringify({ ...record, token });
    const conditions = { leaseId: record.termId, ifMatch };
    const options = { conditions, metadata: { token }, abortSignal: this.#abortSignal };
    const written = await unlessRefused(STALE, () => this.#blob.upload(body, Buffer.byteLength(body), options));
    if (written?.etag === undefined) return false;
    this.remember({ etag: written.etag, token: record.token, record, isHeld: true });
    return true;
  }

  /** Takes the lease for a term. Returns `held` if another has it, and `changed` if there is no blob any more. */
  async take(termId: string, durationS: number): Promise<AzureGrant | "held" | "changed"> {
    try {
      return await this.#leaseOf(termId).acquireLease(durationS, { abortSignal: this.#abortSignal });
    } catch (error) {
      const why = refusalOf(error);
      if (HELD.has(why)) return "held";
      if (MISSING.has(why)) return "changed";
      throw error;
    }
  }

  /** Renews the lease of a term. Returns null if it has it no more. */
  renew(termId: string): Promise<AzureGrant | null> {
    return unlessRefused(NOT_HELD, () => this.#leaseOf(termId).renewLease({ abortSignal: this.#abortSignal }));
  }

  /** Gives the lease of a term back. Returns null if it has it no more. */
  release(termId: string): Promise<unknown> {
    return unlessRefused(NOT_HELD, () => this.#leaseOf(termId).releaseLease({ abortSignal: this.#abortSignal }));
  }

  /**
   * Empties the record of a term that has ended, unless somebody has the lease or has written since `seen`. The token
   * stays.
   */
  async clear({ etag, token }: Look): Promise<void> {
    const metadata = { token: String(token) };
    const options = { conditions: { ifMatch: etag }, metadata, abortSignal: this.#abortSignal };
    await unlessRefused(STALE, () => this.#blob.upload("", 0, options));
  }

  /** Makes the blob, and the container if need be. Returns null if another was faster. */
  async create(): Promise<Look | null> {
    const abortSignal = this.#abortSignal;
    const options = { conditions: { ifNoneMatch: "*" }, metadata: { token: "0" }, abortSignal };
    const upload = () => this.#blob.upload("", 0, options);
    const made = await upload().catch(async (error: unknown) => {
      const why = refusalOf(error);
      if (EXISTS.has(why)) return null;
      if (why !== "ContainerNotFound") throw error;
      await this.#container.createIfNotExists({ abortSignal });
      return await unlessRefused(EXISTS, upload);
    });
    return made?.etag === undefined ? null : { etag: made.etag, token: 0n, record: null, isHeld: false };
  }

  /** Returns a client for the lease of a term. */
  #leaseOf(termId: string): AzureLease {
    return this.#blob.getBlobLeaseClient(termId);
  }
}

const FOREIGN = "holds something that is no lease: delete that blob, or take another container or prefix";

/** Reads a record; null if it is none of ours. */
function parseRecord(text: string): TermRecord | null {
  const json = objectIn(text);
  const { participantId, termId, token, acquiredAt, heartbeatTimeout, metadata } = json;
  const began = new Date(String(acquiredAt));
  // The term's id goes into headers, as the id of the lease.
  const isWhole = typeof participantId === "string" && typeof termId === "string" && /^[0-9a-f-]{36}$/i.test(termId) &&
    typeof token === "string" && /^\d{1,20}$/.test(token) && typeof heartbeatTimeout === "number" &&
    heartbeatTimeout > 0 && !Number.isNaN(began.getTime());
  if (!isWhole) return null;
  return {
    participantId,
    termId,
    token: BigInt(token),
    acquiredAt: began,
    heartbeatTimeout,
    metadata: parseMetadata(JSON.stringify(metadata)),
  };
}

function objectIn(text: string): Record<string, unknown> {
  try {
    const json: unknown = JSON.parse(text);
    return typeof json === "object" && json !== null ? json as Record<string, unknown> : {};
  } catch {
    return {};
  }
}

/**
 * The time for which Azure is asked to keep a lease: it knows whole seconds. More than the holder counts on is safe,
 * since others wait longer than it leads; less would let them in while it still does.
 */
export function leaseSeconds(heartbeatTimeout: number): number {
  return Math.ceil(heartbeatTimeout / 1_000);
}

/** Returns the lease of a record. */
export function toLease(electionGroup: string, record: TermRecord): Lease {
  const { participantId, termId, token, acquiredAt, heartbeatTimeout } = record;
  return { electionGroup, participantId, termId, token, acquiredAt, heartbeatTimeout };
}

/** Describes the term of a look. */
export function describe({ record }: Look): LeaderInfo | null {
  return record && {
    leaderId: record.participantId,
    termId: record.termId,
    token: record.token,
    leadershipAcquiredAt: record.acquiredAt,
    // Azure does not say when a lease was renewed: the holder may have done so just now.
    lastHeartbeat: null,
    metadata: record.metadata,
    expiresIn: leaseSeconds(record.heartbeatTimeout) * 1_000,
  };
}
