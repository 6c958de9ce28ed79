/** Waiting for what must come, however busy the machine is: time alone proves nothing there. */

import assert from "node:assert/strict";
import { sleep, systemClock } from "../src/time/clock.ts";
import { patience } from "./slowness.ts";

/** Between two looks, in milliseconds. */
const LOOK_MS = 10;

/** There is nothing yet. */
type Nothing = false | null | undefined;

/**
 * Looks until there is something, and returns it.
 *
 * @param what names it, for the error
 * @param limitMs how long that may take on an idle machine, in milliseconds
 */
export async function until<T>(
  what: string | (() => string),
  look: () => T | Nothing | Promise<T | Nothing>,
  limitMs = 30_000,
): Promise<T> {
  for (const start = systemClock.monotonic();;) {
    const found = await look();
    if (found !== false && found !== null && found !== undefined) return found;
    const isLate = systemClock.monotonic() - start >= patience(limitMs);
    assert.ok(!isLate, `waited in vain for ${typeof what === "string" ? what : what()}`);
    await sleep(systemClock, LOOK_MS);
  }
}
