/** Runs the deterministic simulation over many seeds, and lets it find every mutant. */

import { deepEqual, equal, notEqual, ok } from "node:assert/strict";
import { allMeetings, makeScenario, shrink, simulate } from "./simulation/simulation.ts";
import { hunt } from "./mutants/hunt.ts";
import { MUTANTS } from "./mutants/mutants.ts";
import { inParallel, runInThread } from "./simulation/threads.ts";

/** The gate's seeds; the environment can ask for more, or for others. */
const SEEDS = Number(Deno.env.get("ELECT_SIMULATION_SEEDS") ?? 6_000);
const FROM = Number(Deno.env.get("ELECT_SIMULATION_FROM") ?? 1);
/** How many seeds go to a thread at a time. */
const CHUNK = 250;
/** Within how many seeds each mutant must be found. */
const MOST_SEEDS = 8_000;

Deno.test(`simulate() finds nothing, in ${SEEDS} seeds from ${FROM}`, async () => {
  const root = new URL("../", import.meta.url).href;
  const chunks = Array.from({ length: Math.ceil(SEEDS / CHUNK) }, (_, index) => ({
    root,
    from: FROM + index * CHUNK,
    count: Math.min(CHUNK, SEEDS - index * CHUNK),
  }));
  const reports = await inParallel(chunks, (job) => runInThread(job, 900_000));
  for (const { failure } of reports) {
    if (failure === null) continue;
    throw new Error(
      `seed ${failure.seed} violates ${failure.property}: ${failure.what}\n${await explain(failure.seed)}`,
    );
  }
  equal(reports.reduce((sum, { seeds }) => sum + seeds, 0), SEEDS);
  // A simulation in which nobody ever leads would find nothing either.
  ok(reports.reduce((sum, { terms }) => sum + terms, 0) > 2 * SEEDS);
  // Each pair of public calls has met, in each phase of a participant in which it can.
  const met = new Set(reports.flatMap(({ meetings }) => meetings));
  const missed = allMeetings().filter((meeting) => !met.has(meeting));
  console.log(
    `${allMeetings().length - missed.length} of ${allMeetings().length} meetings of two calls in a phase were seen`,
  );
  if (SEEDS >= 6_000) deepEqual(missed, []);
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
  const file = "src/time/clock.ts";
  const [gone, twice] = await hunt([
    { name: "gone", file, find: "no such text", replace: "" },
    { name: "twice", file, find: "monotonic", replace: "" },
  ], 1);
  ok(/stands in src\/time\/clock.ts 0 times/.test(gone?.what ?? ""));
  ok(/stands in src\/time\/clock.ts \d+ times, not once/.test(twice?.what ?? ""));
});

/** The failing history, cut down, and the command that shows it again. */
async function explain(seed: number): Promise<string> {
  const smallest = await simulate(await shrink(makeScenario(seed)));
  return `Replay: deno task simulate --seed ${seed}\n${smallest.timeline()}`;
}
