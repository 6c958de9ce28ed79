/**
 * The heartbeats of one session. Those that are sent in the same turn of the event loop share one keepalive, and one
 * transaction that reads a hundred of their keys; neither is written to the Raft log.
 *
 * @module
 */

import { setImmediate } from "node:timers";
import { whenAllAbort } from "../kit/joined_renewals.ts";
import type { EtcdClient } from "./client.ts";
import { get, type KeyValue, type LeaseAnswer, type TxnAnswer } from "./requests.ts";

/** A member takes 128 operations in a transaction unless it is set otherwise. */
const MAX_OPERATIONS = 100;

/** A key as it was read, and the Raft term by then. */
export interface Seen {
  /** Without its value; undefined if there is no such key. */
  readonly kv: KeyValue | undefined;
  readonly raftTerm: bigint;
}

/** A keepalive that was answered. */
export interface Kept {
  /** False if there is no such session any more. */
  readonly isThere: boolean;
  readonly raftTerm: bigint;
}

interface Waiting<T> {
  readonly signal: AbortSignal;
  resolve(value: T): void;
  reject(error: unknown): void;
}

/** Sends the heartbeats of a session. */
export class Heartbeats {
  readonly #client: EtcdClient;
  readonly #sessionId: string;
  #keepAlives: Waiting<Kept>[] = [];
  #reads: (Waiting<Seen> & { readonly key: string })[] = [];
  #isScheduled = false;

  constructor(client: EtcdClient, sessionId: string) {
    this.#client = client;
    this.#sessionId = sessionId;
  }

  /** Keeps the session alive for its whole time to live from some moment after this was called. */
  keepAlive(signal: AbortSignal): Promise<Kept> {
    return new Promise((resolve, reject) => {
      this.#keepAlives.push({ signal, resolve, reject });
      this.#schedule();
    });
  }

  /** Reads a key as it is at some moment after this was called. */
  read(key: string, signal: AbortSignal): Promise<Seen> {
    return new Promise((resolve, reject) => {
      this.#reads.push({ key, signal, resolve, reject });
      this.#schedule();
    });
  }

  #schedule(): void {
    if (this.#isScheduled) return;
    this.#isScheduled = true;
    setImmediate(() => this.#flush());
  }

  #flush(): void {
    const [keepAlives, reads] = [this.#keepAlives, this.#reads];
    this.#isScheduled = false;
    this.#keepAlives = [];
    this.#reads = [];
    if (keepAlives.length > 0) void this.#together(keepAlives, (_, signal) => this.#keepAlive(signal));
    for (let i = 0; i < reads.length; i += MAX_OPERATIONS) {
      void this.#together(reads.slice(i, i + MAX_OPERATIONS), (wanted, signal) => this.#read(wanted, signal));
    }
  }

  /** Does `work` for those who have not given up, until the last of them does. */
  async #together<T, W extends Waiting<T>>(
    waiting: readonly W[],
    work: (wanted: readonly W[], signal: AbortSignal) => Promise<(i: number) => T>,
  ): Promise<void> {
    const wanted = waiting.filter(({ signal }) => !signal.aborted);
    for (const { signal, reject } of waiting) if (signal.aborted) reject(signal.reason);
    if (wanted.length === 0) return;
    const { signal, forget } = whenAllAbort(wanted.map((each) => each.signal));
    try {
      const answer = await work(wanted, signal);
      wanted.forEach((each, i) => each.resolve(answer(i)));
    } catch (error) {
      for (const each of wanted) each.reject(error);
    } finally {
      forget();
    }
  }

  async #keepAlive(signal: AbortSignal): Promise<() => Kept> {
    const answer = await this.#client.send<LeaseAnswer>("lease/keepalive", { ID: this.#sessionId }, signal);
    const kept = { isThere: Number(answer.TTL ?? 0) > 0, raftTerm: raftTermOf(answer) };
    return () => kept;
  }

  async #read(wanted: readonly { readonly key: string }[], signal: AbortSignal): Promise<(i: number) => Seen> {
    const success = wanted.map(({ key }) => get(key, true));
    const answer = await this.#client.send<TxnAnswer>("kv/txn", { success }, signal);
    const raftTerm = raftTermOf(answer);
    if (answer.responses?.length !== wanted.length) throw new Error("the answer of etcd has another length");
    return (i) => ({ kv: answer.responses?.[i]?.response_range?.kvs?.[0], raftTerm });
  }
}

/** Returns the Raft term in which an answer was given. */
export function raftTermOf({ header }: { readonly header?: { readonly raft_term?: string } }): bigint {
  if (header?.raft_term === undefined) throw new Error("the answer of etcd has no Raft term");
  return BigInt(header.raft_term);
}

/**
 * Makes sure that a keepalive has reached a leader that counts, given an answer that took a quorum (a linearizable
 * read, or a write) and was asked for in the same call. Keepalives take none: a leader that was deposed, and does not
 * know it yet, answers them too, while its successor counts from the moment at which it was elected.
 *
 * Both terms are those of the last entry that the answering member had applied: before it passed the keepalive on, and
 * after the read. So the keepalive went to a leader of `kept` or later. The read was confirmed by a quorum after it was
 * sent, for a leader of `read` or earlier. Let `kept >= read`. If the keepalive's leader was deposed when it answered,
 * then by one of a later term still, elected after that quorum spoke for an earlier one: after the call began. Every
 * leader grants every lease its whole time from its election on. So either way the session lives for its whole time
 * from a moment after the call began.
 */
export function checkTerms(kept: Kept, read: { readonly raftTerm: bigint }): void {
  if (!kept.isThere) throw new Error("etcd does not know the session");
  if (kept.raftTerm < read.raftTerm) throw new Error("the leader of the cluster changes");
}
