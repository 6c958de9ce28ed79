/** The three runtimes, and how each runs tests and reports them. */

import { delimiter } from "node:path";
import { findProgram } from "../servers/process.ts";
import { patience } from "../slowness.ts";
import { execute } from "./command.ts";

/** The packages that bring what the machine lacks. */
const BUN_PACKAGE = "bun@1.4.5";
const NODE_PACKAGE = "node@24";
/** The oldest Node that the package runs on, as `src/floor.ts` and `engines` have it. */
const OLDEST_NODE_PACKAGE = "node@22.18.0";

/** A runtime. */
export type Runtime = "deno" | "bun" | "node";

/** All of them. */
export const RUNTIMES: readonly Runtime[] = ["deno", "bun", "node"];

/** Returns the program of a runtime; it is fetched from npm if the machine has none that fits. Throws if that fails. */
export async function programOf(runtime: Runtime): Promise<string> {
  if (runtime === "deno") return Deno.execPath();
  if (runtime === "bun") {
    return await findProgram("bun") ?? await fetchProgram(BUN_PACKAGE, ["bun", "-e", "console.log(process.execPath)"]);
  }
  const installed = await findProgram("node24", "node");
  if (installed && await runsTypeScript(installed)) return installed;
  return await fetchProgram(NODE_PACKAGE, ["node", "-p", "process.execPath"]);
}

/** Returns the program of the oldest Node that the package runs on, fetched from npm. Throws if that fails. */
export function oldestNode(): Promise<string> {
  return fetchProgram(OLDEST_NODE_PACKAGE, ["node", "-p", "process.execPath"]);
}

/** Node takes TypeScript as it is from 22.18 on. */
async function runsTypeScript(node: string): Promise<boolean> {
  const { ok, output } = await execute({ argv: [node, "-p", "process.features.typescript"], limitMs: 30_000 });
  return ok && output.trim() === "strip";
}

async function fetchProgram(name: string, ask: readonly string[]): Promise<string> {
  const npx = await findProgram("npx");
  if (npx === null) throw new Error(`Cannot fetch "${name}": there is no npx`);
  const { ok, output } = await execute({ argv: [npx, "-y", "--prefer-offline", "-p", name, ...ask], limitMs: 300_000 });
  const program = output.trim().split("\n").at(-1) ?? "";
  if (!ok || await findProgram(program) === null) throw new Error(`Cannot fetch "${name}": ${output.trim()}`);
  return program;
}

/** Returns the command that runs test files and writes a JUnit report. */
export function testCommand(
  runtime: Runtime,
  program: string,
  files: readonly string[],
  report: string,
  denoFlags: readonly string[],
): string[] {
  // Types are checked once, by themselves: each test command would check the whole package again.
  if (runtime === "deno") return [program, "test", "--no-check", ...denoFlags, `--junit-path=${report}`, ...files];
  if (runtime === "bun") {
    const flags = ["--timeout", String(patience(180_000)), "--reporter=junit", `--reporter-outfile=${report}`];
    return [program, "test", ...flags, ...files.map((file) => `./${file}`)];
  }
  const reporters = ["junit", report, "spec", "stdout"].map((value, i) =>
    i % 2 === 0 ? `--test-reporter=${value}` : `--test-reporter-destination=${value}`
  );
  // One file after the other, as the others do: files that share a server kill it for each other.
  return [program, "--test", "--test-concurrency=1", `--test-timeout=${patience(300_000)}`, ...reporters, ...files];
}

/**
 * Returns the search path for programs that tests start: with Deno on it, also where it came by npx. What is in
 * directory `first` is found before all else.
 */
export function searchPath(first?: string): string {
  const directory = Deno.execPath().replace(/[/\\][^/\\]*$/, "");
  return [first ?? "", directory, Deno.env.get("PATH") ?? ""].filter(Boolean).join(delimiter);
}
