/**
 * What does importing `mod.ts` take over an empty module, in processes of each runtime? On Deno from the checkout, on
 * Bun and Node as JSR's npm layer has it, in JavaScript. Beside it the same code in one file: the rest is the price of
 * many modules, which the runtime loads one by one.
 */

import { packForNpm } from "../../tests/getting_in/published.ts";
import { execute } from "../../tests/runner/command.ts";
import { oldestNode, programOf } from "../../tests/runner/runtimes.ts";
import { type Measurement, median, type Setting } from "../measurement.ts";

/** How each runtime is had, and told of its flags. */
const RUNTIMES: Readonly<Record<string, { program(): Promise<string>; readonly flags: readonly string[] }>> = {
  deno: { program: () => Promise.resolve(Deno.execPath()), flags: ["run", "--no-check", "--no-config", "-A"] },
  bun: { program: () => programOf("bun"), flags: [] },
  "node 24": { program: () => programOf("node"), flags: [] },
  "node 22": { program: oldestNode, flags: [] },
};
/** Deno makes `process` when it is asked for, so it is not. */
const MEMORY = "(globalThis.Deno ?? process).memoryUsage().rss / 1048576";

/** Measures it; the backend does not matter. */
export async function* start({ runs, quick }: Setting): AsyncIterable<Measurement> {
  const directory = await Deno.makeTempDir({ prefix: "elect-bench-" });
  try {
    const npm = `${(await packForNpm(directory)).directory}/mod.js`;
    const bundle = `${directory}/bundle.mjs`;
    await bundleOf(npm, bundle);
    const empty = `${directory}/empty.mjs`;
    await Deno.writeTextFile(empty, "export const nothing = 1;\n");
    for (const [runtime, { program, flags }] of Object.entries(RUNTIMES)) {
      const mod = runtime === "deno" ? new URL("../../mod.ts", import.meta.url).href : npm;
      const modules = { empty, "mod.ts": mod, "in one file": bundle };
      const command = [await program(), ...flags];
      const found = new Map(Object.keys(modules).map((name) => [name, [] as (readonly [number, number])[]]));
      // The first of each fills caches.
      for (let run = 0; run <= (quick ? 3 : 4 * runs); run++) {
        for (const [name, module] of Object.entries(modules)) {
          const importer = `${directory}/${name.replaceAll(" ", "_")}_of_${runtime.replace(" ", "_")}.mjs`;
          const numbers = await importing(module, importer, command);
          if (run > 0) found.get(name)?.push(numbers);
        }
      }
      const column = (name: string, index: 0 | 1) => (found.get(name) ?? []).map((numbers) => numbers[index]);
      for (const name of ["mod.ts", "in one file"]) {
        const over = (index: 0 | 1) => column(name, index).map((value) => value - median(column("empty", index)));
        const line = { suite: "start", backend: runtime };
        yield { ...line, what: `${name}: time`, unit: "ms", runs: over(0) };
        yield { ...line, what: `${name}: memory`, unit: "MiB", runs: over(1) };
      }
    }
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

/** Imports `module` in a process of its own, from the file `importer`; returns milliseconds and resident mebibytes. */
async function importing(module: string, importer: string, command: readonly string[]): Promise<[number, number]> {
  const text = `const start = performance.now(); await import(${JSON.stringify(module)});
    console.log(performance.now() - start, ${MEMORY});`;
  await Deno.writeTextFile(importer, text);
  const { ok, output } = await execute({ argv: [...command, importer], limitMs: 60_000 });
  const [ms = NaN, mebibytes = NaN] = output.trim().split(" ").map(Number);
  if (!ok || Number.isNaN(ms + mebibytes)) throw new Error(`Cannot import ${module} by ${command[0]}: ${output}`);
  return [ms, mebibytes];
}

/** Writes `module` and what it loads at once into one file; what it loads late stays outside. */
async function bundleOf(module: string, bundle: string): Promise<void> {
  const outside = ["@opentelemetry/api", "*/providers/file.js"].map((each) => `--external=${each}`);
  const argv = [Deno.execPath(), "bundle", "--quiet", "--no-config", ...outside, "--output", bundle, module];
  const { ok, output } = await execute({ argv, cwd: new URL(`file://${bundle.replace(/[^/]*$/, "")}`) });
  if (!ok) throw new Error(`Cannot bundle: ${output}`);
}
