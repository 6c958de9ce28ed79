/**
 * Measures what the tests miss: plants each mutant of a list in a copy of the checkout, and runs the tests that must
 * notice it on Deno, against the real server.
 *
 *     deno task mutants -- redis                        all of a list
 *     deno task mutants -- redis --only "token"         those whose names contain a text
 *     deno task mutants -- redis --sample 5 --seed 7    some, drawn at random
 *     deno task mutants -- redis --table                all, and their table in docs/proof.md
 *
 * Exits with 1 unless every one is killed. `ELECT_TEST_<NAME>_URL` and `ELECT_TEST_<NAME>_CONTROL` name a server to
 * use.
 */

import { parseArgs } from "@std/cli";
import process from "node:process";
import { BACKENDS } from "../permissions.ts";
import { prepareBackend, type ReadyBackend, stopBackends } from "../runner/backends.ts";
import { endAll } from "../runner/command.ts";
import { attack, type AttackReport } from "./attack.ts";
import { draw, listNames, loadList } from "./lists.ts";
import { writeTable } from "./table.ts";

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, async () => {
    await endAll(stopBackends);
    Deno.exit(130);
  });
}

const unknown: string[] = [];
// The `--` of `deno task mutants -- redis` comes along.
const options = parseArgs(Deno.args[0] === "--" ? Deno.args.slice(1) : Deno.args, {
  string: ["only", "sample", "seed"],
  boolean: ["table"],
  unknown: (argument, key) => key === undefined || unknown.push(argument),
});
const [name, ...more] = options._.map(String);
if (name === undefined || more.length > 0 || unknown.length > 0 || !listNames().includes(name)) {
  console.error(`usage: deno task mutants -- LIST [--only TEXT] [--sample N [--seed S]] [--table]`);
  console.error(`lists: ${listNames().join(", ")}`);
  Deno.exit(64);
}

let backend: ReadyBackend | undefined;
if (BACKENDS.includes(name)) backend = await prepareBackend(name).catch(withoutServer);
const reports = await attack(await chosen(name), { backend, onReport: print });
await backend?.stop();
const killed = reports.filter(({ verdict }) => verdict === "killed").length;
console.log(`\n${name}: ${killed} of ${reports.length} killed`);
if (options.table) await writeTable(name, reports);
Deno.exit(killed === reports.length && killed > 0 ? 0 : 1);

async function chosen(list: string) {
  const { only = "", sample } = options;
  const mutants = (await loadList(list)).filter((mutant) => mutant.name.includes(String(only)));
  if (sample === undefined) return mutants;
  const seed = Number(options.seed ?? crypto.getRandomValues(new Uint32Array(1))[0]);
  console.log(`seed ${seed}`);
  return draw(mutants, Number(sample), seed);
}

function print({ mutant, verdict, by, tookMs }: AttackReport): void {
  console.log(`${verdict.padEnd(8)} ${mutant.name}${by ? ` | ${by}` : ""} (${(tookMs / 1_000).toFixed(1)} s)`);
}

/** Some tests of a backend start a server of their own; the others then do not exist, and their mutants are unfit. */
function withoutServer(error: unknown): undefined {
  console.log(`without a server: ${error instanceof Error ? error.message : error}`);
}
