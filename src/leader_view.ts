/**
 * What a participant knows of the leader.
 *
 * @module
 */

import { type Clock, elapsedSince, type Instant, instant } from "./clock.ts";
import type { LeaderInfo } from "./provider.ts";

/** The leader as it was last seen, until its lease can have expired. */
export class LeaderView {
  readonly #clock: Clock;
  #seen: LeaderInfo | null = null;
  #at: Instant;

  /** Starts knowing nobody. */
  constructor(clock: Clock) {
    this.#clock = clock;
    this.#at = instant(clock);
  }

  /** The leader, with `expiresIn` counted down; null when nobody leads or what was seen has expired since. */
  get current(): LeaderInfo | null {
    const seen = this.#seen;
    if (seen === null || seen.expiresIn === null) return seen;
    const expiresIn = seen.expiresIn - elapsedSince(this.#clock, this.#at);
    return expiresIn > 0 ? { ...seen, expiresIn } : null;
  }

  /** Takes note of `leader`. Returns whether that is another term than before. */
  see(leader: LeaderInfo | null): boolean {
    const changed = leader?.termId !== this.#seen?.termId;
    this.#seen = leader;
    this.#at = instant(this.#clock);
    return changed;
  }

  /** The leader as it was last seen, expired or not. */
  get last(): LeaderInfo | null {
    return this.#seen;
  }
}
