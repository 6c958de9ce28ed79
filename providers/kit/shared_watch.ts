/**
 * One subscription for all who watch, open while anybody does.
 *
 * @module
 */

import { abortable } from "../../src/call.ts";
import type { Hint } from "../../src/provider.ts";
import { HintStream } from "./hint_stream.ts";

/** The watchers of each group. */
export type Watchers = Map<string, Set<HintStream>>;

/** A subscription, from its first watcher to its last or until it breaks. */
export interface Subscription {
  /** Everybody whom it hands hints. */
  readonly watchers: Watchers;
  /** Resolves when it is live; rejects when it breaks before. */
  readonly live: Promise<void>;
  /** True once it is over: whoever comes next opens another one. */
  readonly ended: boolean;
  /** Ends it, once, and fails its watchers with `cause`. */
  end(cause: unknown): void;
}

/** Shares one {@linkcode Subscription} among all watchers. */
export class SharedWatch<S extends Subscription> {
  readonly #open: () => S;
  #subscription: S | null = null;

  /** Makes a watch, without I/O. `open` begins a subscription. */
  constructor(open: () => S) {
    this.#open = open;
  }

  /** The subscription that there is, be it over; null before the first. */
  get subscription(): S | null {
    return this.#subscription;
  }

  /** Yields once the subscription is live, and whenever it hands on a hint about `group`. Rejects when it breaks. */
  async *watch(group: string, signal: AbortSignal): AsyncGenerator<Hint, void> {
    if (signal.aborted) return;
    const watcher = new HintStream();
    if (this.#subscription === null || this.#subscription.ended) this.#subscription = this.#open();
    const subscription = this.#subscription;
    const { watchers } = subscription;
    const ofGroup = watchers.get(group) ?? new Set();
    watchers.set(group, ofGroup.add(watcher));
    try {
      await abortable(subscription.live, signal);
      yield* watcher.read(signal);
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      ofGroup.delete(watcher);
      if (ofGroup.size === 0) watchers.delete(group);
      if (watchers.size === 0) subscription.end(new Error("nobody watches"));
    }
  }

  /** Ends every watch. */
  close(): void {
    this.#subscription?.end(new Error("the provider is closed"));
  }
}

/** Fails all of `watchers` with `cause`. */
export function failAll(watchers: Watchers, cause: unknown): void {
  for (const ofGroup of watchers.values()) for (const watcher of ofGroup) watcher.fail(cause);
}
