/**
 * The beginning and the end of a term.
 *
 * @module
 */

import { abortable, permanently } from "../../src/call.ts";
import type { Acquired, AcquireRequest, Held, LeaderInfo, Lease, RenewOptions } from "../../src/provider.ts";
import { isLeaseGone, isRefused } from "./errors.ts";
import { checkTerms, raftTermOf } from "./heartbeats.ts";
import { base64, fromBase64, type Keys } from "./keys.ts";
import { describe, encodeRecord, leaseOf } from "./record.ts";
import {
  first,
  found,
  get,
  isEmpty,
  isWrittenAt,
  type KeyValue,
  put,
  type RangeAnswer,
  remove,
  type TxnAnswer,
} from "./requests.ts";
import type { Session, Sessions } from "./sessions.ts";
import { type RenewalParts, TermRenewals } from "./term_renewals.ts";
import type { Term } from "./terms.ts";

/** The most attempts of a call, when what it has seen changes under it. */
const ATTEMPTS = 10;
const MAX_REMEMBERED = 100_000;

/** The parts that the elections of a provider share. */
export interface ElectionParts extends RenewalParts {
  readonly keys: Keys;
  readonly sessions: Sessions;
  /** Is told of the revision that wrote a leader's key, as it was read. */
  readonly onSeen: (revision: bigint) => void;
}

/** The elections of one provider. */
export class Elections {
  readonly #parts: ElectionParts;
  readonly #renewals: TermRenewals;
  /** The groups that somebody led when they were last heard of. */
  readonly #held = new Set<string>();

  constructor(parts: ElectionParts) {
    this.#parts = parts;
    this.#renewals = new TermRenewals(parts);
  }

  /** Takes note of a key that came or went: whoever asks next looks before it writes in vain, or does not. */
  note(electionGroup: string, isDeleted: boolean): void {
    if (isDeleted) this.#held.delete(electionGroup);
    else {
      if (this.#held.size >= MAX_REMEMBERED) this.#held.clear();
      this.#held.add(electionGroup);
    }
  }

  /** See `Provider.acquire`. Calls of one term come one after the other. */
  async acquire(request: AcquireRequest, signal: AbortSignal): Promise<Acquired | Held> {
    const { electionGroup, termId, heartbeatTimeout, metadata } = request;
    const { keys, sessions, terms } = this.#parts;
    const key = keys.ofTerm(electionGroup, termId);
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      signal.throwIfAborted();
      const known = terms.get(key);
      const isOver = known !== undefined &&
        (known.ending !== null || !known.session.isUsable || known.session.ttlMs < heartbeatTimeout);
      if (isOver) {
        // Asked for earlier, and not renewed in time, it is being deleted: it must not be mistaken for the new one. And
        // its session must live for as long as is asked for now.
        await abortable(terms.end(known), signal);
      } else if (known?.token) {
        const isOurs = await this.#renewals.renew(known, heartbeatTimeout, { signal, metadata });
        if (isOurs) return grantOf(known, known.token, heartbeatTimeout);
      } else {
        const leader = this.#held.has(electionGroup) ? await this.#first(electionGroup, signal) : undefined;
        if (leader !== undefined && fromBase64(leader.key) !== key) return this.#refuse(leader);
        const term = known ?? this.#newTerm(request, key, await sessions.for(heartbeatTimeout, signal));
        const answer = await this.#ask(term, heartbeatTimeout, signal);
        if (answer !== null) return answer;
      }
    }
    throw new Error("what is known of the group changes all the time");
  }

  /** See `Provider.renew`. A term is renewed where it was acquired: that provider deletes its key if it is not. */
  async renew(lease: Lease, options: RenewOptions): Promise<"renewed" | "lost"> {
    const { electionGroup, termId, heartbeatTimeout } = lease;
    const { keys, terms } = this.#parts;
    const key = keys.ofTerm(electionGroup, termId);
    const known = terms.get(key);
    if (known !== undefined) return await this.#renewals.renew(known, heartbeatTimeout, options) ? "renewed" : "lost";
    if (await this.#read({ key: base64(key) }, options.signal) === undefined) return "lost";
    throw permanently(new Error("another provider has acquired the lease, and that one has to renew it"));
  }

  /** Returns true if the term had the lease, and has not any more. Those who wait are told of `heir`. */
  async release(
    electionGroup: string,
    termId: string,
    heir: string | undefined,
    signal: AbortSignal,
  ): Promise<boolean> {
    const { client, keys, terms } = this.#parts;
    const key = keys.ofTerm(electionGroup, termId);
    this.note(electionGroup, true);
    const known = terms.get(key);
    if (known !== undefined) {
      const named = heir === undefined ? undefined : { key: keys.ofHeir(electionGroup), participantId: heir };
      return await abortable(terms.end(known, named), signal);
    }
    const answer = await client.request<TxnAnswer>("kv/txn", { success: [remove(key)] }, signal);
    return Number(answer.responses?.[0]?.response_delete_range?.deleted ?? 0) > 0;
  }

  /** Reads who leads. */
  async leader(electionGroup: string, signal: AbortSignal): Promise<LeaderInfo | null> {
    const kv = await this.#first(electionGroup, signal);
    return kv === undefined ? null : describe(kv, this.#parts.keys);
  }

  /** Ends the sessions that no term relies on. */
  async close(signal: AbortSignal): Promise<void> {
    const { sessions, terms } = this.#parts;
    await sessions.close((session) => terms.isNeeded(session), signal);
    terms.close();
  }

  /**
   * Asks for the lease, in one transaction: if nobody has a key in the group, and the fence of the session is as it is
   * known, then put the key of the term. Its revision is the token. Else the answer is the first key, the leader's.
   *
   * Why one term at a time leads: it does from when its key is the first of the group until that is deleted. Ours is
   * created where there is none. A participant by Go's library waits for the end of all keys that are older than its
   * own. A key goes only by a release, or with its session, which lives for longer than the holder counts: it is kept
   * alive in the same call.
   *
   * Returns null if it has to be asked again.
   */
  async #ask(term: Term, heartbeatTimeout: number, signal: AbortSignal): Promise<Acquired | Held | null> {
    const { client, keys, terms } = this.#parts;
    const { electionGroup, session, record, key } = term;
    // It was released while this call looked: what would be created now, nobody would delete.
    if (term.ending !== null) return null;
    const [group, value] = [keys.ofGroup(electionGroup), encodeRecord(record)];
    terms.hold(term, heartbeatTimeout);
    const kept = this.#renewals.keepAlive(session, signal);
    // One that lost needs it no more.
    kept.catch(() => {});
    const request = {};
    term.unanswered.add(request);
    let answer: TxnAnswer;
    try {
      answer = await client.request<TxnAnswer>("kv/txn", {
        compare: [isEmpty(group), isWrittenAt(session.fence, session.fenceRevision)],
        success: [put(key, value, session.id)],
        failure: [{ request_range: first(group) }, get(session.fence, true)],
      }, signal);
    } catch (error) {
      if (isRefused(error)) this.#drop(term, request);
      if (!isLeaseGone(error)) throw error;
      session.isUsable = false;
      return null;
    }
    const leader = found(answer, 0);
    if (answer.succeeded || (leader !== undefined && fromBase64(leader.key) === key)) {
      term.unanswered.delete(request);
      this.note(electionGroup, false);
      // An earlier request of this term, whose answer was lost, is as good. It may know other metadata: ask again.
      this.#grant(term, leader, answer, value);
      if (!answer.succeeded) return null;
      terms.hold(term, heartbeatTimeout);
      checkTerms(await kept, { raftTerm: raftTermOf(answer) });
      return grantOf(term, term.token ?? 0n, heartbeatTimeout);
    }
    this.#drop(term, request);
    if (leader !== undefined) return this.#refuse(leader);
    session.fenceRevision = found(answer, 1)?.mod_revision ?? "0";
    return null;
  }

  #grant(term: Term, own: KeyValue | undefined, { header }: TxnAnswer, value: string): void {
    term.token = BigInt(own?.create_revision ?? header.revision ?? 0);
    term.writtenAt = own?.mod_revision ?? String(term.token);
    term.value = own === undefined ? value : fromBase64(own.value);
  }

  /** Takes note that a request was answered, and did nothing. A term of which no other is under way is none. */
  #drop(term: Term, request: object): void {
    term.unanswered.delete(request);
    if (term.unanswered.size === 0 && term.token === null) this.#parts.terms.forget(term);
  }

  #refuse(leader: KeyValue): Held {
    const { keys, onSeen } = this.#parts;
    const group = keys.parse(fromBase64(leader.key))?.electionGroup;
    if (group !== undefined) this.note(group, false);
    onSeen(BigInt(leader.mod_revision));
    return { acquired: false, leader: describe(leader, keys) };
  }

  /** Reads the first key of the group: that of whoever leads. */
  async #first(electionGroup: string, signal: AbortSignal): Promise<KeyValue | undefined> {
    const kv = await this.#read(first(this.#parts.keys.ofGroup(electionGroup)), signal);
    this.note(electionGroup, kv === undefined);
    return kv;
  }

  async #read(range: Readonly<Record<string, unknown>>, signal: AbortSignal): Promise<KeyValue | undefined> {
    return (await this.#parts.client.request<RangeAnswer>("kv/range", range, signal)).kvs?.[0];
  }

  #newTerm({ electionGroup, participantId, termId, metadata }: AcquireRequest, key: string, session: Session): Term {
    const record = { participantId, termId, acquiredAt: new Date(this.#parts.clock.wall()), metadata };
    const nothing = { token: null, writtenAt: null, value: null, expiresAt: 0, ending: null };
    return { electionGroup, key, session, record, unanswered: new Set<object>(), ...nothing };
  }
}

function grantOf({ electionGroup, record }: Term, token: bigint, heartbeatTimeout: number): Acquired {
  return { acquired: true, lease: leaseOf(electionGroup, record, token, heartbeatTimeout) };
}
