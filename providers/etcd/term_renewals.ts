/**
 * The renewal of a term: a heartbeat, and other metadata.
 *
 * @module
 */

import type { RenewOptions } from "../../src/provider.ts";
import { type Clock, instant } from "../../src/time/clock.ts";
import type { EtcdClient } from "./client.ts";
import { isLeaseGone, isRefused } from "./errors.ts";
import { checkTerms, type Kept, type Seen } from "./heartbeats.ts";
import { fromBase64 } from "./keys.ts";
import { encodeRecord, type TermRecord } from "./record.ts";
import { found, get, isCreatedAt, isWrittenAt, put, type TxnAnswer } from "./requests.ts";
import type { Session } from "./sessions.ts";
import type { Term, Terms } from "./terms.ts";

/** The most attempts to write metadata, when the record changes under them. */
const ATTEMPTS = 10;

/** The parts that renewals need. */
export interface RenewalParts {
  readonly client: EtcdClient;
  readonly clock: Clock;
  readonly terms: Terms;
  /** Is told of metadata that etcd does not take. */
  readonly onRefused: (electionGroup: string, error: unknown) => void;
}

/** The part of the options that a heartbeat needs. */
type Beat = Pick<RenewOptions, "signal" | "metadata">;

/** Renews the terms of a provider. */
export class TermRenewals {
  readonly #parts: RenewalParts;

  constructor(parts: RenewalParts) {
    this.#parts = parts;
  }

  /** Renews a term that was asked for here. Returns false if it has no lease. */
  async renew(term: Term, heartbeatTimeout: number, options: Beat): Promise<boolean> {
    const { terms } = this.#parts;
    // From then on it can be deleted at any moment, and is going to be.
    if (term.ending !== null) return false;
    if (term.token === null) throw new Error("an acquire of the same term has no answer yet");
    terms.hold(term, heartbeatTimeout);
    if (await this.#beat(term, options)) return true;
    term.token = null;
    if (term.unanswered.size === 0) terms.forget(term);
    return false;
  }

  /**
   * Keeps the session alive, and makes sure that the key is there and bound to it. From when both have been done, the
   * key can only go by a release, or when the session has lived for its whole time from a moment after the call began.
   *
   * Only the read says that the lease is lost: a leader that has just been elected may not know the session yet.
   */
  async #beat(term: Term, { signal, metadata }: Beat): Promise<boolean> {
    const { key, session, token } = term;
    const kept = this.keepAlive(session, signal);
    kept.catch(() => {});
    const isThere = ({ kv }: Seen) =>
      kv !== undefined && BigInt(kv.create_revision) === token && kv.lease === session.id;
    const read = await session.heartbeats.read(key, signal);
    if (!isThere(read)) return false;
    const alive = await kept;
    // The session may have ended between the two.
    if (!alive.isThere && !isThere(await session.heartbeats.read(key, signal))) return false;
    checkTerms(alive, read);
    return metadata === undefined || await this.#write(term, metadata, signal);
  }

  /**
   * Writes other metadata, on condition of the last write that is known: one that was given up and arrives late changes
   * nothing. What etcd refuses, for its size or for want of room, costs no lease. Returns false if the key is gone.
   */
  async #write(term: Term, metadata: TermRecord["metadata"], signal: AbortSignal): Promise<boolean> {
    const { client, onRefused } = this.#parts;
    const { key, session, token } = term;
    if (token === null) return false;
    const record = { ...term.record, metadata };
    const value = encodeRecord(record);
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      if (term.value === value) return true;
      const conditions = [
        isCreatedAt(key, token),
        ...(term.writtenAt === null ? [] : [isWrittenAt(key, term.writtenAt)]),
      ];
      const txn = { compare: conditions, success: [put(key, value, session.id)], failure: [get(key)] };
      // Until there is an answer, nobody knows.
      term.value = null;
      let answer: TxnAnswer;
      try {
        answer = await client.request<TxnAnswer>("kv/txn", txn, signal);
      } catch (error) {
        if (!isRefused(error) || isLeaseGone(error)) throw error;
        onRefused(term.electionGroup, error);
        return true;
      }
      const kv = answer.succeeded ? undefined : found(answer, 0);
      if (answer.succeeded) {
        term.record = record;
        term.writtenAt = answer.header.revision ?? null;
        term.value = value;
      } else if (kv === undefined || BigInt(kv.create_revision) !== token) return false;
      else {
        term.writtenAt = kv.mod_revision;
        term.value = fromBase64(kv.value);
      }
    }
    throw new Error("the record changes all the time");
  }

  /** Keeps the session alive, and takes note of it. */
  async keepAlive(session: Session, signal: AbortSignal): Promise<Kept> {
    const sentAt = instant(this.#parts.clock);
    session.askedAt = sentAt.monotonic;
    const kept = await session.heartbeats.keepAlive(signal);
    if (!kept.isThere) session.isUsable = false;
    else if (sentAt.monotonic > session.keptAt.monotonic) session.keptAt = sentAt;
    return kept;
  }
}
