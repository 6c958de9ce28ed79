/**
 * The long run: `deno task chaos -- --faults 500 --backend redis`. Without `--backend`, every backend, one after the other.
 * Prints a row of a Markdown table for each; ends with 1 if anything happened that must not.
 */

import { parseArgs } from "node:util";
import { BACKENDS } from "../permissions.ts";
import { chaos, type ChaosResult, isClean } from "./chaos.ts";

const { values } = parseArgs({
  args: Deno.args.filter((argument) => argument !== "--"),
  options: {
    faults: { type: "string", default: "100" },
    seed: { type: "string", default: "1" },
    backend: { type: "string", multiple: true },
  },
});

const backends = values.backend ?? ["file", ...BACKENDS.filter((name) => name !== "sqlserver")];
console.log(
  "| backend | faults | terms | overlaps | token regressions | longest leaderless | its bound | items done | lost | twice | refused | took |",
);
console.log("|---|---|---|---|---|---|---|---|---|---|---|---|");
let clean = true;
for (const backend of backends) {
  const result = await chaos({ backend, faults: Number(values.faults), seed: Number(values.seed) });
  console.log(row(result));
  for (const line of [...result.overlaps, ...result.regressions]) console.error(`${backend}: ${line}`);
  clean &&= isClean(result);
}
Deno.exit(clean ? 0 : 1);

function row(result: ChaosResult): string {
  const { backend, faults, terms, overlaps, regressions, leaderlessMs, boundMs, done, lost, doneTwice, fenced } =
    result;
  const seconds = (ms: number) => `${(ms / 1_000).toFixed(1)} s`;
  const cells = [backend, faults, terms, overlaps.length, regressions.length, seconds(leaderlessMs), seconds(boundMs)];
  return `| ${[...cells, done, lost, doneTwice, fenced, seconds(result.seconds * 1_000)].join(" | ")} |`;
}
