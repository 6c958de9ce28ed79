/**
 * The pace at which a watch may ask.
 *
 * @module
 */

import { type Clock, sleep } from "../../src/time/clock.ts";

/** The shortest time from a query that was not blocked to the next, in milliseconds. */
const POLL_MS = 1_000;
/** The average time between two queries, in milliseconds, and the number of them that may follow each other at once. */
const SPACING_MS = 100;
const BURST = 10;

/**
 * Follows the index of a blocking query by Consul's rules, and bounds how often one is sent. An index that is missing,
 * no positive number (a gateway that drops unknown headers, a cache), has not grown, or went back blocks nothing: then
 * the watch polls, once a second. A key that changes all the time is looked at ten times a second.
 */
export class Pace {
  readonly #clock: Clock;
  #index = 0;
  /** When the next query is due, were they evenly spaced. */
  #dueAt = -Infinity;
  #sentAt = -Infinity;
  #isPolling = false;

  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /** The index to ask behind; 0 for an answer at once. */
  get index(): number {
    return this.#index;
  }

  /** Waits until the next query may be sent. */
  async turn(signal: AbortSignal): Promise<void> {
    const now = this.#clock.monotonic();
    this.#dueAt = Math.max(this.#dueAt, now) + SPACING_MS;
    const waitMs = this.#isPolling ? this.#sentAt + POLL_MS - now : this.#dueAt - now - BURST * SPACING_MS;
    if (waitMs > 0) await sleep(this.#clock, waitMs, signal);
    this.#sentAt = this.#clock.monotonic();
  }

  /**
   * Takes note of an answer: its index, 0 where it has none, and whether it came only when its time was over. An index
   * that went back is that of another log, a restored one.
   */
  note(index: number, isLate: boolean): void {
    this.#isPolling = index <= this.#index && !isLate;
    this.#index = index < this.#index ? 0 : index;
  }
}
