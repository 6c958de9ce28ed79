/**
 * Hints for those who wait: one watch of all keys of the provider's prefix. Heartbeats write nothing, so it is quiet
 * between terms.
 *
 * @module
 */

import type { Hint } from "../../src/provider.ts";
import type { Clock } from "../../src/time/clock.ts";
import { failAll, SharedWatch, type Subscription, type Watchers } from "../kit/shared_watch.ts";
import type { EtcdClient } from "./client.ts";
import { EtcdError } from "./errors.ts";
import { fromBase64, type Keys } from "./keys.ts";
import { type WatchMessage, watchOf } from "./requests.ts";

/** The time for which one stream is listened to, and the longest that it may take to begin, in milliseconds. */
const STREAM_MS = 300_000;
const OPEN_MS = 5_000;
/** The time in which a stream has to tell of what a look has seen, in milliseconds. */
const BEHIND_MS = 1_000;

/** The needs of a subscription. */
export interface WatchOptions {
  readonly client: EtcdClient;
  readonly clock: Clock;
  readonly keys: Keys;
  /** Is told of each key that comes and goes. */
  readonly onEvent: (electionGroup: string, isDeleted: boolean) => void;
}

/**
 * The watch, from its first watcher to its last or until it breaks.
 *
 * A stream is listened to for five minutes, and followed by another from the revision that was seen, so nothing is
 * missed. A connection that has died without a word, or a member that hangs, is noticed sooner where it matters: those
 * who wait look every now and then, by calls of their own, and what they see the stream has to tell within a second.
 */
class PrefixWatch implements Subscription {
  readonly watchers: Watchers = new Map();
  /** Resolves when the first stream is live. */
  readonly live: Promise<void>;
  readonly #options: WatchOptions;
  readonly #ended = new AbortController();
  readonly #live = Promise.withResolvers<void>();
  /** The first revision that was not seen; null before the first stream. */
  #next: bigint | null = null;
  /** True from when something may have been missed until the stream that goes on is live: a look is worth it then. */
  #hasGap = false;
  /** Ends the wait for what a look has seen; null while there is none. */
  #cancelExpected: (() => void) | null = null;

  constructor(options: WatchOptions) {
    this.#options = options;
    this.live = this.#live.promise;
    // Each watcher learns it by itself.
    this.live.catch(() => {});
    void this.#run();
  }

  get ended(): boolean {
    return this.#ended.signal.aborted;
  }

  /** Ends it. Those that still watch are told `cause`. */
  end(cause: unknown): void {
    if (this.ended) return;
    this.#ended.abort(cause);
    this.#cancelExpected?.();
    this.#live.reject(cause);
    failAll(this.watchers, cause);
  }

  /** A look has seen a key of the prefix that was written at `revision`. */
  expect(revision: bigint): void {
    const isBehind = () => this.#next !== null && this.#next <= revision;
    if (this.ended || this.#cancelExpected !== null || !isBehind()) return;
    this.#cancelExpected = this.#options.clock.setTimer(() => {
      this.#cancelExpected = null;
      if (isBehind()) this.end(new Error("the watch has not told of what a look has seen"));
    }, BEHIND_MS);
  }

  async #run(): Promise<void> {
    try {
      while (!this.ended) await this.#listen();
    } catch (error) {
      this.end(error);
    }
  }

  /** Listens to one stream. */
  async #listen(): Promise<void> {
    const { client, clock, keys } = this.#options;
    const stream = new AbortController();
    const { signal: ended } = this.#ended;
    const onEnd = () => stream.abort(ended.reason);
    ended.addEventListener("abort", onEnd, { once: true });
    let isOver = false;
    let begunAt = 0n;
    const silent = () => stream.abort(new Error(`etcd has begun no watch within ${OPEN_MS} ms`));
    let cancel = clock.setTimer(silent, OPEN_MS);
    const enough = () => {
      isOver = true;
      stream.abort(new Error("the next stream follows"));
    };
    try {
      const request = watchOf(keys.all, this.#next);
      for await (const message of client.stream<WatchMessage>("watch", request, stream.signal)) {
        if (message.compact_revision !== undefined) return this.#skip();
        if (message.created) {
          begunAt = BigInt(message.header.revision ?? 0);
          cancel();
          cancel = clock.setTimer(enough, STREAM_MS);
        }
        this.#take(message);
      }
    } catch (error) {
      if (!isOver) throw stream.signal.aborted ? stream.signal.reason : error;
      // The events from before it began have come long since. A prefix in which nothing happens must not fall behind
      // what the cluster remembers.
      if (this.#next !== null && this.#next <= begunAt) this.#next = begunAt + 1n;
    } finally {
      cancel();
      ended.removeEventListener("abort", onEnd);
    }
  }

  /** Goes on from now: the cluster has forgotten what followed the revision that was seen last. */
  #skip(): void {
    this.#next = null;
    this.#hasGap = true;
  }

  #take(message: WatchMessage): void {
    const { header, created, canceled, events = [] } = message;
    if (canceled) {
      void this.#options.client.renewToken();
      throw new EtcdError(0, message.cancel_reason ?? "etcd has ended the watch");
    }
    if (created) {
      // The revision of the moment at which it began, where it did not begin with one that was asked for.
      this.#next ??= BigInt(header.revision ?? 0) + 1n;
      this.#live.resolve();
      if (this.#hasGap) {
        for (const watchers of this.watchers.values()) for (const watcher of watchers) watcher.push();
      }
      this.#hasGap = false;
    }
    // By group, told in the same transaction before the key goes.
    const heirs = new Map<string, string>();
    for (const { type, kv } of events) {
      const [revision, key, isDeleted] = [BigInt(kv.mod_revision), fromBase64(kv.key), type === "DELETE"];
      if (this.#next === null || revision >= this.#next) this.#next = revision + 1n;
      const inherited = this.#options.keys.groupOfHeir(key);
      if (inherited !== null) heirs.set(inherited, fromBase64(kv.value));
      const group = this.#options.keys.parse(key)?.electionGroup;
      // A key that is written again belongs to the same term.
      if (group === undefined || (!isDeleted && kv.create_revision !== kv.mod_revision)) continue;
      this.#options.onEvent(group, isDeleted);
      const heir = isDeleted ? heirs.get(group) : undefined;
      for (const watcher of this.watchers.get(group) ?? []) {
        watcher.push(heir === undefined ? {} : { transferTo: heir });
      }
    }
  }
}

/** Hints for those who watch. */
export class Watches {
  readonly #watch: SharedWatch<PrefixWatch>;

  constructor(options: WatchOptions) {
    this.#watch = new SharedWatch(() => new PrefixWatch(options));
  }

  /** Yields once the watch is live, and for every key of `group` that comes or goes. Rejects when it breaks. */
  watch(group: string, signal: AbortSignal): AsyncGenerator<Hint, void> {
    return this.#watch.watch(group, signal);
  }

  /** A look has seen a key that was written at `revision`: a watch that does not tell of it soon is broken. */
  expect(revision: bigint): void {
    this.#watch.subscription?.expect(revision);
  }

  /** Ends every watch. */
  close(): void {
    this.#watch.close();
  }
}
