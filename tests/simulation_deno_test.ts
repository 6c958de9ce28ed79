/** Runs the deterministic simulation over many seeds, and lets it find every mutant. */

import { deepEqual, equal, notEqual, ok } from "node:assert/strict";
import { makeScenario, shrink, simulate } from "../testing/simulation.ts";
import { hunt } from "./mutants/hunt.ts";
import { MUTANTS } from "./mutants/mutants.ts";
import { inParallel, runInThread } from "./simulation_threads.ts";

/** The gate's seeds; the environment can ask for more, or for others. */
const SEEDS = Number(Deno.env.get("ELECT_SIMULATION_SEEDS") ?? 5_000);
const FROM = Number(Deno.env.get("ELECT_SIMULATION_FROM") ?? 1);
/** How many seeds go to a thread at a time. */
const CHUNK = 250;
/** Within how many seeds each mutant must be found. */
const MOST_SEEDS = 2_000;

Deno.test(`simulate() finds nothing, in ${SEEDS} seeds from ${FROM}`, async () => {
  const root = new URL("../", import.meta.url).href;
  const chunks = Array.from({ length: Math.ceil(SEEDS / CHUNK) }, (_, index) => ({
    root,
    from: FROM + index * CHUNK,
    count: Math.min(CHUNK, SEEDS - index * CHUNK),
  }));
  const reports = await inParallel(chunks, (job) => runInThread(job, 120_000));
  for (const { failure } of reports) {
    if (failure === null) continue;
    throw new Error(
      `seed ${failure.seed} violates ${failure.property}: ${failure.what}\n${await explain(failure.seed)}`,
    );
  }
  equal(reports.reduce((sum, { seeds }) => sum + seeds, 0), SEEDS);
  // A simulation in which nobody ever leads would find nothing either.
  ok(reports.reduce((sum, { terms }) => sum + terms, 0) > 2 * SEEDS);
});

Deno.test("simulate() takes the same course, when it runs the same scenario again", async () => {
  for (const seed of [3, 17, 81]) {
    const [first, second] = [await simulate(makeScenario(seed)), await simulate(makeScenario(seed))];
    deepEqual([second.events, second.timeline()], [first.events, first.timeline()]);
    notEqual((await simulate(makeScenario(seed + 1))).timeline(), first.timeline());
  }
});

Deno.test(`simulate() finds each of ${MUTANTS.length} mutants, within ${MOST_SEEDS} seeds`, async () => {
  const survivors = (await hunt(MUTANTS, MOST_SEEDS)).filter(({ property, mutant, overlap }) =>
    property === null || (mutant.overlaps && overlap === null)
  );
  deepEqual(survivors.map(({ mutant, what }) => `${mutant.name}: ${what}`), []);
});

Deno.test("hunt() reports a mutant whose text is not there, or there twice", async () => {
  const file = "src/clock.ts";
  const [gone, twice] = await hunt([
    { name: "gone", file, find: "no such text", replace: "" },
    { name: "twice", file, find: "monotonic", replace: "" },
  ], 1);
  ok(/stands in src\/clock.ts 0 times/.test(gone?.what ?? ""));
  ok(/stands in src\/clock.ts \d+ times, not once/.test(twice?.what ?? ""));
});

/** The failing history, cut down, and the command that shows it again. */
async function explain(seed: number): Promise<string> {
  const smallest = await simulate(await shrink(makeScenario(seed)));
  return `Replay: deno run -A tests/simulate.ts --seed ${seed}\n${smallest.timeline()}`;
}
