/**
 * Programs that a user would write first, and their run.
 *
 * @module
 */

import assert from "node:assert/strict";
import { execute, type Outcome } from "../runner/command.ts";

/**
 * Returns a program that leads once on the target in `ELECT_PROVIDER`, says so, and ends by itself. It is JavaScript,
 * and TypeScript too, for every runtime.
 *
 * @param core how it imports the package
 * @param provider how it imports the module of its provider
 */
export function firstProgram(core: string, provider: string): string {
  return `import { elect } from ${JSON.stringify(core)};
import ${JSON.stringify(provider)};
import process from "node:process";

const election = await elect(process.env["ELECT_PROVIDER"] ?? "", { electionGroup: "getting-in" });
const term = await election.waitForLeadership({ signal: AbortSignal.timeout(120_000) });
console.log(\`leads under token \${term.token}, \${term.isValid}\`);
await election.stop();
`;
}

/** What `firstProgram` says. */
export const LEADS = /^leads under token \d+, true$/m;

/** Runs a program to its end, which must be a good one, and returns what it said. */
export async function succeed(
  argv: readonly string[],
  cwd: string | URL,
  env: Readonly<Record<string, string>> = {},
): Promise<string> {
  const outcome: Outcome = await execute({ argv, cwd, env, limitMs: 300_000 });
  assert.ok(outcome.ok, `${argv.join(" ")}\n${outcome.output}`);
  return outcome.output;
}

/** The arguments of `deno run` in an empty folder: everything is allowed, and nothing of a project is found. */
export const DENO_RUN: readonly string[] = [
  Deno.execPath(),
  "run",
  "--quiet",
  "--allow-all",
  "--no-config",
  "--no-check",
  "--no-lock",
];

/** Returns the path of the module of a provider in the checkout. */
export function moduleOf(name: string): string {
  return `providers/${name.replaceAll("-", "_")}.ts`;
}
