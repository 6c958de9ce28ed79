/**
 * The key of one group, for the length of one call: looks at it, and the steps of a term, each conditional on a look.
 *
 * @module
 */

import type { Clock } from "../../src/time/clock.ts";
import type { AcquireRequest } from "../../src/provider.ts";
import { type ConsulClient, TooLargeError } from "./http.ts";
import { type Keys, kvPath } from "./keys.ts";
import { type Look, type Looks, tokenOf } from "./looks.ts";
import { type Operation, operationsOn, type OperationsOnKey } from "./operations.ts";
import { encodeRecord, type TermRecord } from "./record.ts";
import type { Sessions } from "./sessions.ts";

/** The parts that the groups of a provider share. */
export interface ConsulParts {
  readonly client: ConsulClient;
  readonly sessions: Sessions;
  readonly keys: Keys;
  readonly looks: Looks;
  readonly clock: Clock;
  /** Is told of metadata that Consul does not take with a renewal. */
  onTooLarge(electionGroup: string, error: TooLargeError): void;
}

const NO_METADATA: Readonly<Record<string, string>> = {};
/** The most attempts of a call, when the record changes under it. */
export const ATTEMPTS = 10;
/** The longest that a blocking query may hang, in milliseconds, and that of one on a key in which no lease stands. */
const MAX_BLOCK_MS = 30_000;
const FREE_BLOCK_MS = 10_000;
/** Consul adds a random part of up to a sixteenth, so that not all come back at once. */
const JITTER = 1 / 16;

/** The key of one group. Its methods reject when the signal of the call aborts, and send nothing from then on. */
export class GroupKey {
  readonly #electionGroup: string;
  readonly #parts: ConsulParts;
  readonly #signal: AbortSignal;
  readonly #path: string;
  readonly #key: OperationsOnKey;

  constructor(electionGroup: string, parts: ConsulParts, signal: AbortSignal) {
    this.#electionGroup = electionGroup;
    this.#parts = parts;
    this.#signal = signal;
    const name = parts.keys.of(electionGroup);
    this.#path = kvPath(name);
    this.#key = operationsOn(name);
  }

  /** The key as it was last seen. */
  get known(): Look | undefined {
    return this.#parts.looks.get(this.#electionGroup);
  }

  /**
   * Looks at the key as it is now. Without `consistent`, a server that has just started may answer before it has read
   * its log to the end, and one that was deposed may not know it.
   */
  async look(): Promise<Look> {
    const { client, looks } = this.#parts;
    const answer = await client.request({ path: this.#path, query: { consistent: "" }, signal: this.#signal });
    return looks.see(this.#electionGroup, answer);
  }

  /**
   * Looks when the key has changed since `index`, or after a while. Not behind the gate, where it would block others.
   *
   * The holder's heartbeats end it every few seconds. Where none comes it ends by itself after half a lease, and counts
   * as broken after another quarter: a connection that has died without a word, or a server that hangs, costs no more
   * hints.
   */
  async lookAfter(index: number): Promise<{ look: Look; next: number; isLate: boolean }> {
    const { client, looks, clock } = this.#parts;
    const signal = this.#signal;
    const lease = this.known?.record?.heartbeatTimeout;
    const blockMs = Math.ceil(Math.min(lease === undefined ? FREE_BLOCK_MS : lease / 2, MAX_BLOCK_MS));
    const sentAt = clock.monotonic();
    const controller = new AbortController();
    const onAbort = () => controller.abort(signal.reason);
    const giveUp = () => controller.abort(new Error("Consul does not answer"));
    const cancel = clock.setTimer(giveUp, blockMs * (1 + JITTER) + blockMs / 2);
    signal.addEventListener("abort", onAbort, { once: true });
    try {
      const query = { index: String(index), wait: `${blockMs}ms` };
      const answer = await client.send({ path: this.#path, query, signal: controller.signal });
      const isLate = clock.monotonic() - sentAt >= blockMs;
      return { look: looks.see(this.#electionGroup, answer), next: answer.index, isLate };
    } finally {
      cancel();
      signal.removeEventListener("abort", onAbort);
    }
  }

  /**
   * Begins a term, in one transaction, conditional on the index of a look that `isFree`:
   * 1. check that nothing was written since: neither another acquire, nor a heartbeat of the old holder that is late;
   * 2. unlock the key in the name of the old holder's session, if that still has it;
   * 3. lock it for our session, with the record. The index of this write is the token.
   *
   * A heartbeat that arrives later names an index that is gone, and fails. The condition is needed even when the key is
   * free, since to our own session it is never locked: two elections of this provider could both succeed.
   */
  async take(request: AcquireRequest, look: Look): Promise<Look | null> {
    const { client, sessions, clock } = this.#parts;
    const { participantId, termId, heartbeatTimeout, metadata } = request;
    const acquiredAt = new Date(clock.wall());
    const term = { participantId, termId, token: null, heartbeatTimeout, acquiredAt, renewedAt: acquiredAt };
    const record: TermRecord = { ...term, beat: 0, metadata };
    const value = encodeRecord(record);
    const session = await sessions.forLease(heartbeatTimeout, this.#signal);
    const written = await client.write([
      look.index === 0 ? this.#key.checkMissing() : this.#key.checkIndex(look.index),
      ...(look.session === "" ? [] : [this.#key.unlock(look.session)]),
      this.#key.lock(session, value),
    ], this.#signal);
    return this.#remember(written, session, record);
  }

  /**
   * Writes the record again, for the session that has the key, conditional on the index of `look`. The index is that of
   * this term's last write, so if it still stands, nobody has taken over, released or deleted anything since, and the
   * session still has the key. If our last answer was lost, the index is newer than we know: whoever calls looks again,
   * finds its own `termId`, and comes back with the new one. An old heartbeat that is still under way then fails.
   */
  async beat(look: Look, metadata: Readonly<Record<string, string>> | undefined): Promise<Look | null> {
    const { client, sessions, clock } = this.#parts;
    const { record, session } = look;
    if (record === null || !await sessions.keep(session, record.heartbeatTimeout, this.#signal)) return null;
    const next: TermRecord = {
      ...record,
      token: tokenOf(look),
      renewedAt: new Date(clock.wall()),
      beat: record.beat + 1,
      metadata: metadata ?? record.metadata,
    };
    // Metadata that Consul does not take must not cost the lease: the record then keeps what it had, or, if that has
    // become too large by its token or by another limit, none.
    for (const carried of new Set([next.metadata, record.metadata, NO_METADATA])) {
      try {
        const written = { ...next, metadata: carried };
        const operations = [this.#key.checkIndex(look.index), this.#key.lock(session, encodeRecord(written))];
        const done = await client.writeTogether(operations, this.#signal);
        return this.#remember(done, session, written);
      } catch (error) {
        if (!(error instanceof TooLargeError) || carried === NO_METADATA) throw error;
        this.#parts.onTooLarge(this.#electionGroup, error);
      }
    }
    throw new Error("the record does not fit into Consul");
  }

  /**
   * Ends the term whose record `look` shows: on condition of its index, so that no late write of this term comes after.
   * The key stays, and with it the group; empty, it is free for everybody at once. Returns null if something was
   * written since.
   */
  async empty({ index, session }: Look): Promise<Look | null> {
    const give: Operation[] = session === ""
      ? [this.#key.clear(index)]
      : [this.#key.checkIndex(index), this.#key.unlock(session)];
    return this.#remember(await this.#parts.client.write(give, this.#signal), "", null);
  }

  /**
   * Does `step` on the record of a term until it succeeds: as it was last seen, if the term had the lease then, else as
   * it is. The verdict that the term has no lease takes a look. Returns null if the term has no record.
   */
  async change<T>(termId: string, step: (look: Look) => Promise<T | null>): Promise<T | null> {
    let look = this.known;
    for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
      if (look === undefined || !this.#parts.looks.isHeldBy(look, termId)) look = await this.look();
      if (look.record?.termId !== termId) return null;
      const done = await step(look);
      if (done !== null) return done;
      look = undefined;
    }
    throw new Error("the record changes all the time");
  }

  #remember(written: number | null, session: string, record: TermRecord | null): Look | null {
    return written === null ? null : this.#parts.looks.remember(this.#electionGroup, written, session, record);
  }
}
