/**
 * Tells any number of readers what happens to leadership.
 *
 * @module
 */

import { Backlog } from "./backlog.ts";
import type { Clock } from "../time/clock.ts";
import { isSameTerm, type LeadershipChange, type LeadershipChangeType } from "./change.ts";
import { DONE, type Source } from "./operators.ts";
import { LeadershipChanges } from "./stream.ts";

const TYPES: readonly string[] = ["acquired", "lost", "changed"] satisfies LeadershipChangeType[];

/** Options of a subscription. */
export interface SubscribeOptions {
  /** Only these are delivered. @default all */
  readonly types?: readonly LeadershipChangeType[] | undefined;
  /** Ends the stream when it aborts: what is queued is delivered, then a read rejects with its reason. */
  readonly signal?: AbortSignal | undefined;
  /** True if the participant leads at this moment. */
  readonly leading: boolean;
}

/** Publishes the changes of one election. With nobody subscribed, publishing costs nothing. */
export class ChangeHub {
  readonly #clock: Clock;
  /** Made for the first one. */
  #subscriptions: Set<Subscription> | null = null;
  #closed = false;

  /** Makes a hub whose streams measure time by `clock`. */
  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** True while anybody listens; if not, a change need not even be made. */
  get active(): boolean {
    return this.#subscriptions !== null && this.#subscriptions.size > 0;
  }

  /**
   * Tells every subscriber, unless `change` is a `changed` that changed nothing. Call it after the state has changed.
   */
  publish(change: LeadershipChange): void {
    if (!this.active) return;
    if (change.type === "changed" && isSameTerm(change.previous, change.current)) return;
    for (const subscription of this.#subscriptions ?? []) subscription.push(change);
  }

  /**
   * Subscribes, now: what is published from here on will be delivered, whenever it is read. After `close` the stream
   * has ended already.
   *
   * @throws {TypeError} if `types` is no array, or names no type of change
   */
  subscribe(options: SubscribeOptions): LeadershipChanges {
    const { types, signal, leading } = options;
    if (types !== undefined && !Array.isArray(types)) {
      throw new TypeError(`Cannot subscribe to types "${types}": they must be an array, such as ["acquired", "lost"]`);
    }
    for (const type of types ?? []) {
      if (!TYPES.includes(type)) {
        throw new TypeError(`Cannot subscribe to "${type}": the types of changes are ${TYPES.join(", ")}`);
      }
    }
    const subscription = new Subscription(types, (left) => this.#subscriptions?.delete(left));
    if (this.#closed) {
      subscription.end();
    } else {
      this.#subscriptions ??= new Set();
      this.#subscriptions.add(subscription);
      if (signal !== undefined) subscription.endWith(signal);
    }
    return new LeadershipChanges(subscription, { clock: this.#clock, leading });
  }

  /** Ends every stream as soon as it has delivered what is queued, and every stream to come at once. */
  close(): void {
    this.#closed = true;
    for (const subscription of [...this.#subscriptions ?? []]) subscription.end();
  }
}

/** The changes that one reader has yet to read. */
class Subscription implements Source<LeadershipChange> {
  readonly #backlog = new Backlog();
  readonly #types: readonly LeadershipChangeType[] | undefined;
  readonly #onLeave: (subscription: Subscription) => void;
  /** The one read that waits; streams read one at a time. */
  #reader: PromiseWithResolvers<IteratorResult<LeadershipChange, undefined>> | null = null;
  #unlisten = () => {};
  #ended = false;
  #failure: { readonly reason: unknown } | null = null;

  constructor(types: readonly LeadershipChangeType[] | undefined, onLeave: (subscription: Subscription) => void) {
    this.#types = types && [...types];
    this.#onLeave = onLeave;
  }

  /** Delivers `change` to the read that waits, or keeps it for the next. */
  push(change: LeadershipChange): void {
    if (this.#types !== undefined && !this.#types.includes(change.type)) return;
    this.#backlog.add(change);
    this.#serve();
  }

  /** Ends with the reason of `signal` when it aborts, at once if it has. */
  endWith(signal: AbortSignal): void {
    const onAbort = () => {
      this.#failure = { reason: signal.reason };
      this.end();
    };
    if (signal.aborted) return onAbort();
    signal.addEventListener("abort", onAbort, { once: true });
    this.#unlisten = () => signal.removeEventListener("abort", onAbort);
  }

  /** Takes nothing more in; what is queued can still be read. */
  end(): void {
    this.#ended = true;
    this.#unlisten();
    this.#onLeave(this);
    this.#serve();
  }

  next(): Promise<IteratorResult<LeadershipChange, undefined>> {
    this.#reader = Promise.withResolvers();
    const { promise } = this.#reader;
    this.#serve();
    return promise;
  }

  return(): Promise<IteratorResult<never, undefined>> {
    this.end();
    return Promise.resolve(DONE);
  }

  #serve(): void {
    const reader = this.#reader;
    if (reader === null) return;
    const value = this.#backlog.take();
    if (value === undefined && !this.#ended) return;
    this.#reader = null;
    if (value !== undefined) return reader.resolve({ done: false, value });
    if (this.#failure === null) reader.resolve(DONE);
    else reader.reject(this.#failure.reason);
  }
}
