/**
 * Checks the Promela models with spin, and that their broken variants fail: that of lease, deadline and fencing
 * (`proof/lease.pml`), and that of the file provider's protocol (`proof/file.pml`).
 */

import { ok } from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { aptInstall } from "./servers/process.ts";

const WHY_NOT = await install();

/**
 * A model: the assumptions under which it must hold, and its broken variants, each with the assertion that must refute
 * it.
 */
interface Model {
  readonly file: string;
  readonly holds: readonly (readonly string[])[];
  readonly refuted: readonly { readonly defines: readonly string[]; readonly by: RegExp }[];
}

const TWO_LEAD = /assertion violated\s+!\(.*role\[[01]\].*role\[[12]\]/;

const MODELS: readonly Model[] = [
  {
    file: "lease.pml",
    holds: [[], ["FENCE"]],
    refuted: [
      { defines: ["FROM_ANSWER", "ONLY_S1"], by: TWO_LEAD },
      { defines: ["NO_DRIFT", "ONLY_S1"], by: TWO_LEAD },
      { defines: ["LATE_RELEASE", "ONLY_S1"], by: TWO_LEAD },
      { defines: ["BY_NAME", "ONLY_S1", "TERMS=3", "LEASE=2"], by: TWO_LEAD },
      { defines: ["TOKEN_RESET"], by: /assertion violated\s+\(counter>lastToken\)/ },
      { defines: ["NO_FENCE", "FENCE"], by: /assertion violated\s+\(writeGrant/ },
    ],
  },
  {
    file: "file.pml",
    holds: [[], ["SWEEP"], ["TOUCHES=2"], ["LONG=3"], ["EVICTION", "CLAIMS=2"]],
    refuted: [
      { defines: ["NO_LOOK"], by: TWO_LEAD },
      { defines: ["LOOK_FIRST"], by: TWO_LEAD },
      { defines: ["NO_CHECK"], by: TWO_LEAD },
      { defines: ["TRUST_DEAD", "DEATH"], by: TWO_LEAD },
      { defines: ["OWN_LEASE", "LONG=3"], by: TWO_LEAD },
      { defines: ["NO_MARK", "EVICTION"], by: /assertion violated\s+!\(marked/ },
      { defines: ["SWEEP_ALL", "SWEEP", "EVICTION"], by: /assertion violated\s+\(\(n>lastToken\)/ },
    ],
  },
];

for (const { file, holds, refuted } of MODELS) {
  for (const defines of holds) {
    modelTest(`${[file, ...defines].join(" ")} holds in every reachable state`, async () => {
      const report = await check(file, defines);
      ok(/errors: 0/.test(report) && !/Search not completed|max search depth too small/.test(report), report);
    });
  }
  for (const { defines, by } of refuted) {
    modelTest(`${[file, ...defines].join(" ")} is refuted`, async () => {
      const report = await check(file, defines);
      ok(by.test(report), report);
    });
  }
}

function modelTest(name: string, run: () => Promise<void>): void {
  const skipped = WHY_NOT === undefined ? "" : ` (skipped: ${WHY_NOT})`;
  Deno.test({ name: name + skipped, ignore: WHY_NOT !== undefined, fn: run });
}

/** Generates, compiles and runs the checker; returns what it reports. */
async function check(file: string, defines: readonly string[]): Promise<string> {
  const model = fileURLToPath(new URL(`../proof/${file}`, import.meta.url));
  const cwd = await Deno.makeTempDir({ prefix: "lease-model-" });
  try {
    await command("spin", ["-a", ...defines.map((each) => `-D${each}`), model], cwd);
    await command("gcc", ["-w", "-O1", "-DSAFETY", "-DCOLLAPSE", "-DMEMLIM=4000", "-o", "checker", "pan.c"], cwd);
    return await command(`${cwd}/checker`, ["-m500000"], cwd);
  } finally {
    await Deno.remove(cwd, { recursive: true });
  }
}

async function command(program: string, args: string[], cwd: string): Promise<string> {
  const { success, stdout, stderr } = await new Deno.Command(program, { args, cwd }).output();
  const text = new TextDecoder().decode(stdout) + new TextDecoder().decode(stderr);
  if (!success) throw new Error(`Cannot run ${program} ${args.join(" ")}: ${text}`);
  return text;
}

/** Makes spin and gcc available; returns why it cannot. */
async function install(): Promise<string | undefined> {
  if (await present("spin", "-V") && await present("gcc", "--version")) return undefined;
  try {
    await aptInstall("spin", "gcc", "libc6-dev");
    return await present("spin", "-V") ? undefined : "spin and gcc were installed, but spin does not run";
  } catch (error) {
    return String(error);
  }
}

async function present(program: string, flag: string): Promise<boolean> {
  try {
    return (await new Deno.Command(program, { args: [flag], stdout: "null", stderr: "null" }).output()).success;
  } catch {
    return false;
  }
}
