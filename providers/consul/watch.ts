/**
 * One watch of each group, for all participants of a provider that wait for it.
 *
 * @module
 */

import type { Hint } from "../../src/provider.ts";
import { failAll, SharedWatch, type Subscription, type Watchers } from "../kit/shared_watch.ts";

/** Watches a group until `signal` aborts. */
type Follow = (electionGroup: string, signal: AbortSignal) => AsyncIterable<Hint>;

/** The watch of one group. */
class GroupWatch implements Subscription {
  readonly watchers: Watchers = new Map();
  readonly live: Promise<void>;
  readonly #live = Promise.withResolvers<void>();
  readonly #ended = new AbortController();

  constructor(hints: (signal: AbortSignal) => AsyncIterable<Hint>) {
    this.live = this.#live.promise;
    // Each watcher learns it by itself.
    this.live.catch(() => {});
    void this.#run(hints(this.#ended.signal));
  }

  get ended(): boolean {
    return this.#ended.signal.aborted;
  }

  end(cause: unknown): void {
    if (this.ended) return;
    this.#ended.abort(cause);
    this.#live.reject(cause);
    failAll(this.watchers, cause);
  }

  async #run(hints: AsyncIterable<Hint>): Promise<void> {
    try {
      for await (const hint of hints) {
        this.#live.resolve();
        for (const watchers of this.watchers.values()) for (const watcher of watchers) watcher.push(hint);
      }
      this.end(new Error("the watch has ended"));
    } catch (error) {
      this.end(error);
    }
  }
}

/** The watches of one provider. */
export class Watches {
  readonly #follow: Follow;
  readonly #groups = new Map<string, SharedWatch<GroupWatch>>();

  constructor(follow: Follow) {
    this.#follow = follow;
  }

  /** See {@linkcode Provider.watch}. */
  async *watch(electionGroup: string, signal: AbortSignal): AsyncGenerator<Hint, void> {
    const shared = this.#groups.get(electionGroup) ??
      new SharedWatch(() => new GroupWatch((ended) => this.#follow(electionGroup, ended)));
    this.#groups.set(electionGroup, shared);
    try {
      yield* shared.watch(electionGroup, signal);
    } finally {
      const isOver = shared.subscription?.ended ?? true;
      if (isOver && this.#groups.get(electionGroup) === shared) this.#groups.delete(electionGroup);
    }
  }
}
