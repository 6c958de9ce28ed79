/**
 * The stream in which changes of leadership arrive.
 *
 * @module
 */

import type { Clock } from "../time/clock.ts";
import type { Duration } from "../time/duration.ts";
import { isLeadershipChange, type LeadershipChange } from "./change.ts";
import * as operators from "./operators.ts";
import * as windows from "./windows.ts";

/**
 * A stream of changes of leadership, or of what operators made of them. It is read once, by `for await`, by `next` or
 * by one of its operators, each of which takes the stream over. `filter`, `map`, `take`, `drop`, `forEach` and
 * `toArray` are those of the TC39 async iterator helpers.
 *
 * It ends when the election stops; if the `signal` of `changes` aborts, it rejects with the signal's reason, as `on` of
 * `node:events` does. Either comes after what is queued. Leaving it early (`break`, `return`, `await using`, an error
 * in a callback) ends the subscription, also while a read waits, and leaves no timer behind. A reader may be as slow as
 * it likes: of what waits for it, several `changed` in a row become one, and beyond 1,024 `acquired` and `lost` the
 * oldest whole terms are forgotten; the latest state, and a `lost` if there was one, never are.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { elect } from "@multilock/core";
 *
 * await using election = await elect("memory:", { electionGroup: "docs-changes" });
 * const changes = election.changes(); // subscribed from here on
 * const reasons = election.changes().filter((change) => change.lostLeadership).map((change) => change.reason);
 * await election.releaseLeadership();
 * for await (const change of changes) {
 *   assert(change.type === "lost");
 *   break;
 * }
 * assert.deepEqual(await reasons.take(1).toArray(), ["released"]);
 * ```
 */
export class LeadershipChanges<T = LeadershipChange> implements AsyncIterableIterator<T, undefined>, AsyncDisposable {
  readonly #source: Pick<LeadershipChanges<T>, "next" | "return">;
  readonly #clock: Clock;
  /** True while the participant leads, as far as has been read. */
  #leading: boolean;
  #lastRead: Promise<unknown> = Promise.resolve();
  #closed = false;

  /** Streams `source`. Elections do this; `leading` says whether the participant leads before the first change. */
  constructor(
    source: Pick<LeadershipChanges<T>, "next" | "return">,
    options: { readonly clock: Clock; readonly leading: boolean },
  ) {
    this.#source = source;
    this.#clock = options.clock;
    this.#leading = options.leading;
  }

  /** Returns this stream. */
  [Symbol.asyncIterator](): this {
    return this;
  }

  /** Reads the next value, after the reads that wait already. @throws the reason of the `signal` of `changes` */
  next(): Promise<IteratorResult<T, undefined>> {
    const result = this.#lastRead.then(() => this.#read());
    this.#lastRead = result.catch(() => {});
    return result;
  }

  /** Leaves the stream: reads that wait are done, and what was not read is dropped. */
  async return(): Promise<IteratorResult<never, undefined>> {
    if (!this.#closed) {
      this.#closed = true;
      await this.#source.return();
    }
    return operators.DONE;
  }

  /** Leaves the stream. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.return();
  }

  /**
   * Lets those values through for which `predicate` is true, or resolves to it.
   */
  filter(predicate: (value: T, index: number) => unknown): LeadershipChanges<T> {
    return this.#derive(() => operators.filtered(this, predicate));
  }

  /**
   * Replaces each value by what `mapper` returns, or resolves to.
   */
  map<U>(mapper: (value: T, index: number) => U | Promise<U>): LeadershipChanges<U> {
    return this.#derive(() => operators.mapped(this, mapper));
  }

  /**
   * Ends after `limit` values; with the last of them the subscription ends too.
   *
   * @throws {RangeError} if `limit` is negative or not a number
   */
  take(limit: number): LeadershipChanges<T> {
    return this.#derive(() => operators.taken(this, limit));
  }

  /**
   * Skips the first `limit` values.
   *
   * @throws {RangeError} if `limit` is negative or not a number
   */
  drop(limit: number): LeadershipChanges<T> {
    return this.#derive(() => operators.dropped(this, limit));
  }

  /**
   * Skips each value that equals the one before it by `keyOf`. Without `keyOf`, changes are equal if their types and
   * the term ids of their leaders are; other values if they are identical.
   *
   * @example
   * ```ts
   * import assert from "node:assert/strict";
   * import { elect } from "@multilock/core";
   * await using election = await elect("memory:", { electionGroup: "docs-distinct" });
   * const leaders = election.changes().distinctUntilChanged((change) => change.current?.leaderId).toArray();
   * await election.stop();
   * assert((await leaders).length === 1);
   * ```
   */
  distinctUntilChanged(keyOf?: (value: T) => unknown): LeadershipChanges<T> {
    return this.#derive(() => operators.distinct(this, keyOf));
  }

  /**
   * Gathers values into arrays, each a new one: of `count` values, or of what came within `time` of the first (at most
   * 1,024), whichever is complete first. The rest comes when the stream ends. Without `time`, a `lost` waits for as
   * long as it takes others to come.
   *
   * @throws {TypeError | RangeError} if neither is given, or one is malformed
   *
   * @example
   * ```ts
   * import assert from "node:assert/strict";
   * import { elect } from "@multilock/core";
   * await using election = await elect("memory:", { electionGroup: "docs-buffer" });
   * const batches = election.changes().buffer({ count: 10, time: "1s" }).toArray();
   * await election.stop();
   * assert((await batches)[0]?.length === 1);
   * ```
   */
  buffer(
    limits: { readonly count?: number | undefined; readonly time?: Duration | undefined },
  ): LeadershipChanges<T[]> {
    return this.#derive(() => windows.buffered(this, limits, this.#clock));
  }

  /**
   * Delivers the first value at once, and from then on, each `duration`, the last that came, if any did.
   *
   * No `acquired` or `lost` vanishes without its counterpart: before that last value come those of its window, in
   * order. Where there are more than three, the oldest whole terms (`acquired` with its `lost`) are left out, so that
   * they still alternate, the end is the latest state, and there is a `lost` if there was one. Of values that `map` or
   * `buffer` made, only the last counts: put `throttle` before those.
   *
   * @throws {TypeError | RangeError} if `duration` is malformed
   *
   * @example
   * ```ts
   * import assert from "node:assert/strict";
   * import { elect } from "@multilock/core";
   * await using election = await elect("memory:", { electionGroup: "docs-throttle" });
   * const changes = election.changes().throttle("1s").toArray();
   * await election.stop();
   * assert((await changes).at(-1)?.type === "lost");
   * ```
   */
  throttle(duration: Duration): LeadershipChanges<T> {
    return this.#derive(() => windows.throttled(this, duration, this.#clock));
  }

  /**
   * Delivers the last of several values, once nothing has come for `duration`. A `lost` is never held back for longer
   * than `duration`, whatever comes after it. The values that are delivered with the last one are decided as in
   * `throttle`.
   *
   * @throws {TypeError | RangeError} if `duration` is malformed
   *
   * @example
   * ```ts
   * import assert from "node:assert/strict";
   * import { elect } from "@multilock/core";
   * await using election = await elect("memory:", { electionGroup: "docs-debounce" });
   * const changes = election.changes().debounce("1s").toArray();
   * await election.stop();
   * assert((await changes).at(-1)?.type === "lost");
   * ```
   */
  debounce(duration: Duration): LeadershipChanges<T> {
    return this.#derive(() => windows.debounced(this, duration, this.#clock));
  }

  /**
   * Ends with the change by which this participant becomes the leader; at once if it leads already. It can only tell by
   * what it is given: put it before whatever leaves `acquired` out.
   *
   * @example
   * ```ts
   * import assert from "node:assert/strict";
   * import { elect } from "@multilock/core";
   * await using election = await elect("memory:", { electionGroup: "docs-until-leader" });
   * assert(election.isLeader);
   * assert((await election.changes().takeUntilLeader().toArray()).length === 0);
   * ```
   */
  takeUntilLeader<C extends LeadershipChange>(this: LeadershipChanges<C>): LeadershipChanges<C> {
    return this.#derive(() => operators.untilLeader(this, this.#leading));
  }

  /**
   * Streams one term of this participant: the one under way, or else the next from its `acquired` on; ends with its
   * `lost`. It can only tell by what it is given: put it before whatever leaves `acquired` or `lost` out.
   *
   * @example
   * ```ts
   * import assert from "node:assert/strict";
   * import { elect } from "@multilock/core";
   * await using election = await elect("memory:", { electionGroup: "docs-while-leader" });
   * const term = election.changes().whileLeader().toArray();
   * await election.releaseLeadership();
   * assert((await term).at(-1)?.type === "lost");
   * ```
   */
  whileLeader<C extends LeadershipChange>(this: LeadershipChanges<C>): LeadershipChanges<C> {
    return this.#derive(() => operators.oneTerm(this, this.#leading));
  }

  /**
   * Calls `visit` with each value, one after another, and resolves when the stream has ended.
   *
   * @throws what `visit` throws, which also leaves the stream
   */
  forEach(visit: (value: T, index: number) => unknown): Promise<void> {
    return operators.visited(this, visit);
  }

  /**
   * Calls `acquired` or `lost` with each change of that type, one after another, and resolves when the stream has
   * ended. Leadership that was acquired before the subscription is not told.
   *
   * @throws what a callback throws, which also leaves the stream
   *
   * @example
   * ```ts
   * import assert from "node:assert/strict";
   * import { elect } from "@multilock/core";
   * await using election = await elect("memory:", { electionGroup: "docs-transition" });
   * const told = election.changes().onTransition({ lost: (change) => assert(change.reason === "stopped") });
   * await election.stop();
   * await told;
   * ```
   */
  onTransition<C extends LeadershipChange>(
    this: LeadershipChanges<C>,
    callbacks: { readonly acquired?: (change: C) => unknown; readonly lost?: (change: C) => unknown },
  ): Promise<void> {
    return operators.transitions(this, callbacks);
  }

  /** Gathers everything up to the end of the stream. */
  async toArray(): Promise<T[]> {
    const values: T[] = [];
    await operators.visited(this, (value) => values.push(value));
    return values;
  }

  /** Makes the stream of an operator. An argument that it refuses ends this one, as nobody is left to read it. */
  #derive<U>(operator: () => operators.Source<U>): LeadershipChanges<U> {
    try {
      return new LeadershipChanges(operator(), { clock: this.#clock, leading: this.#leading });
    } catch (error) {
      void this.return();
      throw error;
    }
  }

  async #read(): Promise<IteratorResult<T, undefined>> {
    if (this.#closed) return operators.DONE;
    try {
      const result = await this.#source.next();
      // Somebody may have left while this read waited.
      if (result.done || this.#closed) return operators.DONE;
      if (isLeadershipChange(result.value) && result.value.type !== "changed") {
        this.#leading = result.value.becameLeader;
      }
      return result;
    } catch (error) {
      await this.return();
      throw error;
    }
  }
}
