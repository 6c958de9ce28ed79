/**
 * The terms of a provider, and how each ends that is not renewed: the session outlives it, so its key must be deleted.
 *
 * @module
 */

import { type Clock, sleep } from "../../src/time/clock.ts";
import type { EtcdClient } from "./client.ts";
import { isCreatedAt, put, remove, type TxnAnswer } from "./requests.ts";
import { raiseFence, type Session } from "./sessions.ts";
import type { TermRecord } from "./record.ts";

/** A term that was asked for here, granted or not. */
export interface Term {
  readonly electionGroup: string;
  readonly key: string;
  readonly session: Session;
  /** The record that was asked for, and since renewed. */
  record: TermRecord;
  /** Null as long as nobody knows that it was granted. */
  token: bigint | null;
  /** The revision that last wrote the key, as far as it is known. */
  writtenAt: string | null;
  /** The value of the key, as far as it is known. */
  value: string | null;
  /** The requests that create the key and have had no answer. They may arrive at any time. */
  readonly unanswered: Set<object>;
  /** By the monotonic clock: nobody leads by it from then on, unless it is renewed. */
  expiresAt: number;
  /** The deletion of its key, once that has begun: nothing renews it any more. */
  ending: Promise<boolean> | null;
}

/** The participant that is to lead next, and the key under which those who watch are told. */
export interface Heir {
  readonly key: string;
  readonly participantId: string;
}

/** The longest time that one attempt to delete a key may take, and the pause before the next, in milliseconds. */
const ATTEMPT_MS = 5_000;
const PAUSE_MS = 1_000;

/** The terms. */
export class Terms {
  readonly #client: EtcdClient;
  readonly #clock: Clock;
  readonly #terms = new Map<string, Term>();
  #sweepDue = Infinity;
  #cancelSweep = () => {};

  constructor(client: EtcdClient, clock: Clock) {
    this.#client = client;
    this.#clock = clock;
  }

  /** Returns the term whose key this is. */
  get(key: string): Term | undefined {
    return this.#terms.get(key);
  }

  /**
   * Lets the term live for `timeoutMs` from now, or until this is called again. A holder that does not come back has
   * stopped to renew, or never learned of the grant. Since this is called after the caller has read the clock, and
   * counts the full time, the term is over by then for its holder.
   */
  hold(term: Term, timeoutMs: number): void {
    if (term.ending !== null) return;
    this.#terms.set(term.key, term);
    term.expiresAt = this.#clock.monotonic() + timeoutMs;
    this.#sweepAt(term.expiresAt);
  }

  /** Forgets a term whose key is not there, and cannot come any more. */
  forget(term: Term): void {
    if (this.#terms.get(term.key) === term) this.#terms.delete(term.key);
    // No timer is left behind that would keep the process.
    if (this.#terms.size === 0) this.#rest();
  }

  /** Returns true while some term may rely on the session. */
  isNeeded(session: Session): boolean {
    return [...this.#terms.values()].some((term) => term.session === session && term.ending === null);
  }

  /**
   * Ends a term: deletes its key, and sees to it that nothing creates it again. Resolves with whether it was there.
   * Where the first attempt fails, it rejects with why; but once begun, the deletion goes on until it has succeeded, or
   * the session is gone: others keep it alive, and the key would stay. Whoever comes later waits for that.
   *
   * Each deletion is conditional on the revision that created the key. So however late it arrives, it deletes nothing
   * that the same term has acquired since.
   *
   * @param heir who is to lead next, for those who watch
   */
  end(term: Term, heir?: Heir): Promise<boolean> {
    if (term.ending !== null) return term.ending;
    const first = this.#delete(term, heir);
    term.ending = first.catch(() => this.#goOn(term)).finally(() => this.forget(term));
    term.ending.catch(() => {});
    return first;
  }

  /** Forgets all, and does nothing more. */
  close(): void {
    this.#rest();
    this.#terms.clear();
  }

  /** Tries again until it has succeeded. */
  async #goOn(term: Term): Promise<boolean> {
    const { session } = term;
    // Once nobody has asked for so long that it is kept alive, it is gone. Should such a request still be on its way:
    // nobody asks again, and so it goes in time.
    while (this.#clock.monotonic() - session.askedAt <= 2 * session.ttlMs) {
      await sleep(this.#clock, PAUSE_MS, this.#client.closing);
      try {
        return await this.#delete(term);
      } catch (error) {
        if (this.#client.closing.aborted) throw error;
      }
    }
    session.isUsable = false;
    return false;
  }

  /** Does it once. With a request that may still arrive, the fence goes up first. */
  async #delete(term: Term, heir?: Heir): Promise<boolean> {
    const { session, key, unanswered } = term;
    const signal = AbortSignal.timeout(ATTEMPT_MS);
    if (unanswered.size > 0) {
      const before = [...unanswered];
      term.token = await raiseFence(this.#client, session, key, signal) ?? term.token;
      for (const each of before) unanswered.delete(each);
    }
    if (term.token === null) return false;
    const told = heir === undefined ? [] : [put(heir.key, heir.participantId, session.id)];
    const txn = { compare: [isCreatedAt(key, term.token)], success: [...told, remove(key)] };
    return (await this.#client.send<TxnAnswer>("kv/txn", txn, signal)).succeeded === true;
  }

  #sweepAt(due: number): void {
    if (due >= this.#sweepDue) return;
    this.#cancelSweep();
    this.#sweepDue = due;
    this.#cancelSweep = this.#clock.setTimer(() => this.#sweep(), due - this.#clock.monotonic());
  }

  #rest(): void {
    this.#cancelSweep();
    this.#sweepDue = Infinity;
  }

  /** Ends the terms that were not renewed in time, and comes back when the next may be due. */
  #sweep(): void {
    this.#sweepDue = Infinity;
    const now = this.#clock.monotonic();
    let next = Infinity;
    for (const term of this.#terms.values()) {
      if (term.ending !== null) continue;
      if (term.expiresAt > now) next = Math.min(next, term.expiresAt);
      else void this.end(term).catch(() => {});
    }
    this.#sweepAt(next);
  }
}
