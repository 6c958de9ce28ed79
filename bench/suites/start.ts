/** What does importing `mod.ts` take, beside an empty module? In processes of each runtime that is there. */

import { findProgram } from "../../tests/servers/process.ts";
import { type Measurement, median, type Setting } from "../measurement.ts";

const EMPTY = "const start = performance.now();\n";
const REPORT = "console.log(performance.now() - start, process.memoryUsage().rss / 1048576);\n";

/** Measures it; the backend does not matter. */
export async function* start({ runs, quick }: Setting): AsyncIterable<Measurement> {
  const mod = new URL("../../mod.ts", import.meta.url).href;
  const directory = await Deno.makeTempDir({ prefix: "elect-bench-" });
  try {
    await Deno.writeTextFile(`${directory}/empty.mjs`, EMPTY + REPORT);
    await Deno.writeTextFile(`${directory}/module.mjs`, `${EMPTY}await import("${mod}");\n${REPORT}`);
    for (const runtime of ["deno", "node", "bun"]) {
      const program = runtime === "deno" ? Deno.execPath() : await findProgram(runtime);
      if (program === null) {
        console.log(`skip   start of ${runtime}: it is not there`);
        continue;
      }
      const flags = runtime === "deno" ? ["run", "--no-check", "-A"] : [];
      const empty: number[][] = [];
      const module: number[][] = [];
      for (let run = 0; run < (quick ? 3 : 4 * runs); run++) {
        for (const [name, results] of [["empty", empty], ["module", module]] as const) {
          const { stdout } = await new Deno.Command(program, { args: [...flags, `${directory}/${name}.mjs`] }).output();
          const numbers = new TextDecoder().decode(stdout).trim().split(" ").map(Number);
          // The first fills caches.
          if (run > 0) results.push(numbers);
        }
      }
      if (!module.every(([ms]) => ms !== undefined && ms > 0)) {
        console.log(`skip   start of ${runtime}: it does not run TypeScript as it is`);
        continue;
      }
      const rss = (results: number[][]) => median(results.map(([, mebibytes = NaN]) => mebibytes));
      const line = { suite: "start", backend: runtime };
      yield { ...line, what: "import mod.ts", unit: "ms", runs: module.map(([ms = NaN]) => ms) };
      yield { ...line, what: "memory over an empty module", unit: "MiB", runs: [rss(module) - rss(empty)] };
    }
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}
