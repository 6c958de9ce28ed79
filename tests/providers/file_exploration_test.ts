/**
 * The whole protocol of the file provider in orders that are drawn: three participants whose leases differ, calls that
 * are asked again, given up and carried out late, evictions, sweeps, deaths, and a pause at any step.
 *
 * `ELECT_FILE_SEEDS=FROM-TO` walks other seeds than the gate's.
 */

import assert from "node:assert/strict";
import { existsSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { after, test } from "node:test";
import { Explorer } from "./file/explorer.ts";

/** In memory where that can be had: the walks are about orders, not about disks. */
const parent = await mkdtemp(join(existsSync("/dev/shm") ? "/dev/shm" : tmpdir(), "elect-exploration-"));
after(() => rm(parent, { recursive: true, force: true }));

const TURNS = 150;
const PART = 100;
const [from = 1, to = 600] = seedsAsked()?.split("-").map(Number) ?? [];

/** Deno asks for a permission that a test may not have. */
function seedsAsked(): string | undefined {
  return process.env["ELECT_FILE_SEEDS"];
}

/** A small generator (mulberry32): the same walk for the same seed. */
function randomFrom(seed: number): (below: number) => number {
  let state = seed;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return Math.floor(((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32 * below);
  };
}

const counts: Record<string, number> = {};

for (let first = from; first <= to; first += PART) {
  const last = Math.min(to, first + PART - 1);
  test(`no two lead, no token comes twice and nobody is locked out, in whatever order (seeds ${first} to ${last})`, async () => {
    for (let seed = first; seed <= last; seed++) {
      const directory = join(parent, String(seed));
      const explorer = new Explorer(directory, randomFrom(seed));
      try {
        await explorer.walk(TURNS);
      } catch (error) {
        const story = explorer.log.join("\n  ");
        throw new Error(`seed ${seed}: ${error instanceof Error ? error.message : error}\n  ${story}`, {
          cause: error,
        });
      }
      for (const [what, count] of Object.entries(explorer.counts)) counts[what] = (counts[what] ?? 0) + count;
      await rm(directory, { recursive: true, force: true });
    }
  });
}

test("the walks come to everything that they are about", () => {
  for (const [what, count] of Object.entries(counts)) assert.ok(count > (to - from) / 10, `${what}: ${count}`);
});
