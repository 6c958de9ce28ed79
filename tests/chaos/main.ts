/**
 * The long run: `deno task chaos -- --faults 500 --backend redis`. Without `--backend`, every backend, one after the
 * other. Prints a row of a Markdown table for each; ends with 1 if anything happened that must not.
 */

import { parseArgs } from "@std/cli";
import { chaos, CONTESTED, isClean } from "./chaos.ts";
import { HEAD, rowOf } from "./report.ts";

const { faults, seed, backend: chosen } = parseArgs(Deno.args.filter((argument) => argument !== "--"), {
  string: ["faults", "seed", "backend"],
  collect: ["backend"],
  default: { faults: "100", seed: "1" },
  unknown: (argument) => {
    console.error(`Cannot understand "${argument}": known are --faults N, --seed N, --backend NAME`);
    Deno.exit(64);
  },
});

const asked = [chosen].flat().filter((name) => typeof name === "string");
const backends = asked.length > 0 ? asked : CONTESTED;
console.log(HEAD);
let clean = true;
for (const backend of backends) {
  const result = await chaos({ backend, faults: Number(faults), seed: Number(seed) });
  console.log(rowOf(result));
  for (const line of [...result.overlaps.values(), ...result.regressions]) console.error(`${backend}: ${line}`);
  clean &&= isClean(result);
}
Deno.exit(clean ? 0 : 1);
