/** What is left in memory, for the tests that look for leaks. */

import { equal, ok } from "node:assert/strict";
import { getEventListeners } from "node:events";
import process from "node:process";
import v8 from "node:v8";
import vm from "node:vm";
import { type Clock, systemClock } from "../src/time/clock.ts";

/** What may be left of one round after all, in bytes: a round that leaves an object behind leaves more. */
const BYTES_PER_ROUND = 100;
/** By how much a heap differs from itself, whatever is done. */
const NOISE_BYTES = 1_000_000;

/** A clock that knows how many of its timers are set. */
export class CountingClock implements Clock {
  /** The timers that are set. */
  pending = 0;

  monotonic(): number {
    return systemClock.monotonic();
  }

  wall(): number {
    return systemClock.wall();
  }

  setTimer(callback: () => void, delayMs: number): () => void {
    let isSet = true;
    this.pending++;
    const clear = () => {
      if (isSet) this.pending--;
      isSet = false;
    };
    const cancel = systemClock.setTimer(() => {
      clear();
      callback();
    }, delayMs);
    return () => {
      clear();
      cancel();
    };
  }
}

/**
 * Does `round` again and again, and fails if the heap grows with it. The first fifth is not counted: that is when
 * caches fill and code is compiled.
 */
export async function heapStaysFlat(rounds: number, round: () => Promise<void>): Promise<void> {
  for (let done = 0; done < rounds / 5; done++) await round();
  const before = await heapUsed();
  for (let done = rounds / 5; done < rounds; done++) await round();
  const grown = await heapUsed() - before;
  const bound = NOISE_BYTES + 0.8 * rounds * BYTES_PER_ROUND;
  ok(grown < bound, `the heap grew by ${grown} bytes in ${0.8 * rounds} rounds`);
}

/** Fails if anybody still listens to `signal`. */
export function nobodyListens(signal: AbortSignal): void {
  equal(getEventListeners(signal, "abort").length, 0);
}

/** The bytes in use once everything that can be collected has been. */
async function heapUsed(): Promise<number> {
  const collect = collector();
  for (let times = 0; times < 3; times++) {
    // Finalizers and weak references are seen to between two turns of the event loop.
    await new Promise((resolve) => setTimeout(resolve, 10));
    collect();
  }
  return process.memoryUsage().heapUsed;
}

function collector(): () => void {
  const { Bun } = globalThis as { Bun?: { gc(force: boolean): void } };
  if (Bun !== undefined) return () => Bun.gc(true);
  v8.setFlagsFromString("--expose-gc");
  return vm.runInNewContext("gc");
}
