/**
 * The time that a question to the backend takes, and its variation.
 *
 * @module
 */

import type { Provider } from "../../mod.ts";
import { systemClock } from "../../src/time/clock.ts";
import { patience } from "../target.ts";
import { CHECK_GROUP } from "./permissions.ts";

const ROUNDS = 21;

/** Times of questions, in milliseconds. */
export interface RoundTrip {
  readonly rounds: number;
  readonly min: number;
  readonly median: number;
  readonly p95: number;
  readonly max: number;
}

/** Returns how long `work` takes, in milliseconds. */
export async function timed(work: () => Promise<unknown>): Promise<number> {
  const start = systemClock.monotonic();
  await work();
  return systemClock.monotonic() - start;
}

/** Asks again and again, one question after the other. */
export async function measureRoundTrip(provider: Provider): Promise<RoundTrip> {
  const times: number[] = [];
  for (let round = 0; round < ROUNDS; round++) {
    times.push(await timed(() => provider.read(CHECK_GROUP, patience())));
  }
  times.sort((a, b) => a - b);
  const at = (share: number) => times[Math.floor(share * (times.length - 1))] ?? 0;
  return { rounds: ROUNDS, min: at(0), median: at(0.5), p95: at(0.95), max: at(1) };
}
