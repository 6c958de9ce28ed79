/**
 * The leader, as a participant knows it.
 *
 * @module
 */

import { type Clock, elapsedSince, type Instant, instant } from "../time/clock.ts";
import type { LeaderInfo } from "../provider.ts";

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

  /**
   * Takes note of `leader`. Returns whether that is another term than before. A term that is first seen when it has
   * expired counts as nobody's: it is told of if it turns out to live.
   */
  see(leader: LeaderInfo | null): boolean {
    const known = this.#seen?.termId;
    const isOver = leader !== null && leader.expiresIn !== null && leader.expiresIn <= 0;
    this.#seen = isOver && leader.termId !== known ? null : leader;
    this.#at = instant(this.#clock);
    return this.#seen?.termId !== known;
  }

  /** The leader as it was last seen, expired or not. */
  get last(): LeaderInfo | null {
    return this.#seen;
  }
}
