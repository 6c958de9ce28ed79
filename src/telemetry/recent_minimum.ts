/**
 * The smallest of the values that came lately.
 *
 * @module
 */

import type { Clock } from "../time/clock.ts";

/** For how long a value counts at least, in milliseconds; it counts for at most twice that. */
const WINDOW_MS = 60_000;

/**
 * The smallest value of the last one to two minutes: whoever asks once a minute sees every dip. Two windows, the one
 * before and the present one, so that nothing is kept for each value.
 */
export class RecentMinimum {
  readonly #clock: Clock;
  #began = -Infinity;
  #before = Infinity;
  #now = Infinity;

  /** Knows no value yet. */
  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** Takes note of `value`, measured at `now` of the monotonic clock. */
  add(value: number, now: number): void {
    this.#turn(now);
    this.#now = Math.min(this.#now, value);
  }

  /** Forgets every value. */
  clear(): void {
    this.#before = this.#now = Infinity;
  }

  /** The smallest; null if none came lately. */
  get value(): number | null {
    this.#turn(this.#clock.monotonic());
    const value = Math.min(this.#before, this.#now);
    return value === Infinity ? null : value;
  }

  #turn(now: number): void {
    const elapsed = now - this.#began;
    if (elapsed < WINDOW_MS) return;
    this.#before = elapsed < 2 * WINDOW_MS ? this.#now : Infinity;
    this.#now = Infinity;
    this.#began = now;
  }
}
