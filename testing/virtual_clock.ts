/**
 * A clock that moves only when a test says so.
 *
 * @module
 */

import type { Clock } from "../src/time/clock.ts";

/** The difference between a {@linkcode VirtualClock} and a clock derived from it. */
export interface Skew {
  /** Milliseconds by which its wall clock is ahead. @default 0 */
  readonly offset?: number;
  /** The rate at which it runs: 1.001 gains a millisecond in a second. @default 1 */
  readonly rate?: number;
}

interface Timer {
  readonly at: number;
  readonly order: number;
  readonly callback: () => void;
}

/**
 * A {@linkcode Clock} on which nothing happens until {@linkcode VirtualClock.advance} is called.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { VirtualClock } from "@multilock/core/testing";
 *
 * const clock = new VirtualClock();
 * let rang = false;
 * clock.setTimer(() => rang = true, 1_000);
 * await clock.advance(1_000);
 * assert(rang);
 * ```
 */
export class VirtualClock implements Clock {
  #now = 0;
  #order = 0;
  readonly #epoch: number;
  readonly #timers = new Set<Timer>();

  /** Makes a clock whose wall clock starts at `epochMs`. */
  constructor(epochMs: number = Date.UTC(2026, 0, 1)) {
    this.#epoch = epochMs;
  }

  monotonic(): number {
    return this.#now;
  }

  wall(): number {
    return this.#epoch + this.#now;
  }

  setTimer(callback: () => void, delayMs: number): () => void {
    const timer = { at: this.#now + Math.max(delayMs, 0), order: this.#order++, callback };
    this.#timers.add(timer);
    return () => this.#timers.delete(timer);
  }

  /** The number of timers that are set. */
  get pending(): number {
    return this.#timers.size;
  }

  /**
   * Moves on by `ms`, and runs every timer that falls due on the way, in order. Before each, and at the end, promises
   * that can settle do so.
   */
  async advance(ms: number): Promise<void> {
    const end = this.#now + ms;
    await settle();
    for (let next = this.#next(); next !== undefined && next.at <= end; next = this.#next()) {
      this.#timers.delete(next);
      this.#now = Math.max(this.#now, next.at);
      next.callback();
      await settle();
    }
    this.#now = end;
  }

  /** Moves the time on without running timers, as a suspended process would see it when it resumes. */
  jump(ms: number): void {
    this.#now += ms;
  }

  /** Returns a clock that follows this one with an offset and a rate of its own. */
  skewed({ offset = 0, rate = 1 }: Skew): Clock {
    return {
      monotonic: () => this.#now * rate,
      wall: () => this.#epoch + offset + this.#now * rate,
      setTimer: (callback, delayMs) => this.setTimer(callback, delayMs / rate),
    };
  }

  #next(): Timer | undefined {
    let first: Timer | undefined;
    for (const timer of this.#timers) {
      if (first === undefined || timer.at < first.at || (timer.at === first.at && timer.order < first.order)) {
        first = timer;
      }
    }
    return first;
  }
}

/** Lets every promise that can settle do so: a turn of the event loop comes only after all microtasks. */
function settle(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}
