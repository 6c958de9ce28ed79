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
  #vacantSince: Instant | null = null;

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
    const vacantFor = this.vacantFor;
    const isOver = leader !== null && leader.expiresIn !== null && leader.expiresIn <= 0;
    this.#seen = isOver && leader.termId !== known ? null : leader;
    this.#at = instant(this.#clock);
    this.#vacantSince = this.current === null ? before(this.#at, vacantFor ?? 0) : null;
    return this.#seen?.termId !== known;
  }

  /** Takes note that nobody leads from now on, as far as is known: the own term is over. */
  vacate(): void {
    this.#seen = null;
    this.#vacantSince = this.#at = instant(this.#clock);
  }

  /** Knows nobody, and nothing of when somebody led, as at first. */
  forget(): void {
    this.#seen = null;
    this.#vacantSince = null;
  }

  /**
   * For how many milliseconds nobody has been known to lead; null while somebody is, and before the first look. The
   * time since a lease expired that nobody has looked at since counts.
   */
  get vacantFor(): number | null {
    if (this.#vacantSince !== null) return elapsedSince(this.#clock, this.#vacantSince);
    if (this.#seen === null || this.#seen.expiresIn === null) return null;
    const overdue = elapsedSince(this.#clock, this.#at) - this.#seen.expiresIn;
    return overdue >= 0 ? overdue : null;
  }

  /** The leader as it was last seen, expired or not. */
  get last(): LeaderInfo | null {
    return this.#seen;
  }
}

function before({ monotonic, wall }: Instant, ms: number): Instant {
  return { monotonic: monotonic - ms, wall: wall - ms };
}
