/**
 * Replays a seed of the simulation, or measures how long the mutants live.
 *
 *   deno task simulate --seed 439      the smallest history that fails as this seed does, as a timeline
 *   deno task simulate --mutants       rewrites the table of mutants in docs/proof.md
 */

import { parseArgs } from "@std/cli";
import { makeScenario, shrink, simulate } from "./simulation.ts";
import { hunt, type MutantReport } from "../mutants/hunt.ts";
import { MUTANTS } from "../mutants/mutants.ts";

const PROOF = new URL("../../docs/proof.md", import.meta.url);
const [BEGIN, END] = ["<!-- mutants: generated -->", "<!-- end of mutants -->"];

const { seed, mutants } = parseArgs(Deno.args, { string: ["seed"], boolean: ["mutants"] });
if (seed !== undefined) await replay(Number(seed));
else if (mutants === true) await writeTable();
else {
  console.error("usage: simulate --seed N | --mutants");
  Deno.exit(64);
}

async function replay(seed: number): Promise<void> {
  const scenario = await shrink(makeScenario(seed));
  const { violation, timeline } = await simulate(scenario);
  const { steps: _steps, faults: _faults, ...setting } = scenario;
  console.log(JSON.stringify(setting, null, 2));
  console.log(timeline());
  console.log(violation === null ? `seed ${seed}: nothing is violated` : `seed ${seed} violates ${violation.property}`);
}

async function writeTable(): Promise<void> {
  const text = await Deno.readTextFile(PROOF);
  const [before, after] = [text.indexOf(BEGIN), text.indexOf(END)];
  if (before < 0 || after < before) throw new Error(`Cannot write the table: ${BEGIN} is not in docs/proof.md`);
  const table = formatTable(await hunt(MUTANTS, 8_000));
  await Deno.writeTextFile(PROOF, `${text.slice(0, before + BEGIN.length)}\n\n${table}\n\n${text.slice(after)}`);
}

function formatTable(reports: readonly MutantReport[]): string {
  const rows = reports.map(({ mutant, property, seeds, overlap }) =>
    `| ${mutant.name} | \`${mutant.file}\` | ${property ?? "**survived**"} | ${seeds} | ${overlap ?? ""} |`
  );
  return [
    "| mutant | changed file | first violated | seeds needed | seeds until two lead at once |",
    "|---|---|---|---|---|",
    ...rows,
  ].join("\n");
}
