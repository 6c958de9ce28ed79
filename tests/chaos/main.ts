/**
 * The long run: `deno task chaos -- --faults 500 --backend redis`. Without `--backend`, every backend, one after the
 * other. Prints a row of a Markdown table for each; ends with 1 if anything happened that must not.
 */

import { parseArgs } from "node:util";
import { BACKENDS } from "../permissions.ts";
import { chaos, isClean } from "./chaos.ts";
import { HEAD, rowOf } from "./report.ts";

const { values } = parseArgs({
  args: Deno.args.filter((argument) => argument !== "--"),
  options: {
    faults: { type: "string", default: "100" },
    seed: { type: "string", default: "1" },
    backend: { type: "string", multiple: true },
  },
});

const backends = values.backend ?? ["file", ...BACKENDS.filter((name) => name !== "sqlserver")];
console.log(HEAD);
let clean = true;
for (const backend of backends) {
  const result = await chaos({ backend, faults: Number(values.faults), seed: Number(values.seed) });
  console.log(rowOf(result));
  for (const line of [...result.overlaps.values(), ...result.regressions]) console.error(`${backend}: ${line}`);
  clean &&= isClean(result);
}
Deno.exit(clean ? 0 : 1);
