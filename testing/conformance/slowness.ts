/**
 * The slowness of the machine at the moment, so that bounds that are about time say something of the provider, and not
 * of what else runs.
 *
 * @module
 */

import { systemClock } from "../../src/time/clock.ts";

/** The number of pieces of work of a measurement. One takes less than what schedulers give a process at a time. */
const PIECES = 30;
/** The work in a piece: about half a millisecond. */
const STEPS = 150_000;
/** After how long it is plain how slow the machine is, in milliseconds. */
const ENOUGH_MS = 200;
/** The time for which a measurement counts, in milliseconds. */
const FRESH_MS = 3_000;
/** Beyond that, waiting longer helps nobody. */
const MOST = 10;

let latest = 1;
let measuredAt = -Infinity;

/**
 * Returns how many times as long as on an idle machine things take: 1 to 10. Measured, within some milliseconds of
 * work, where the last measurement is three seconds old; a machine that was slow a moment ago is believed to get faster
 * only gradually.
 */
export function slowness(): number {
  const now = systemClock.monotonic();
  if (now - measuredAt < FRESH_MS) return latest;
  latest = Math.min(MOST, Math.max(measure(), latest * 0.7));
  measuredAt = systemClock.monotonic();
  return latest;
}

/** Returns how long to be patient for what should take `ms` milliseconds. */
export function patience(ms: number): number {
  return Math.ceil(ms * slowness());
}

/** The least of the times is that of a piece that nothing interrupts; the rest of the time others had the processor. */
function measure(): number {
  // Compiled by then.
  for (let i = 0; i < 5; i++) work();
  let [total, least] = [0, Infinity];
  let done = 0;
  while (done < PIECES && total < ENOUGH_MS) {
    done++;
    const start = systemClock.monotonic();
    work();
    const took = systemClock.monotonic() - start;
    total += took;
    least = Math.min(least, took);
  }
  const factor = total / (done * Math.max(least, 0.01));
  // Below that it is noise.
  return factor < 1.5 ? 1 : factor;
}

let kept = 1;

function work(): void {
  for (let i = 0; i < STEPS; i++) kept = Math.imul(kept ^ (kept >>> 15), 0x2c1b3c6d) + i;
}
