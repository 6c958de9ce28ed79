/** Checks the Promela model of lease, deadline and fencing (`proof/lease.pml`) with spin, and that its broken variants fail. */

import { ok } from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { aptInstall } from "./servers/process.ts";

const MODEL = fileURLToPath(new URL("../proof/lease.pml", import.meta.url));
const WHY_NOT = await install();

/** Each broken variant, and the assertion by which spin must refute it. */
const REFUTED: readonly { defines: readonly string[]; by: RegExp }[] = [
  { defines: ["FROM_ANSWER", "ONLY_S1"], by: /assertion violated\s+!\(.*role\[0\].*role\[1\]/ },
  { defines: ["NO_DRIFT", "ONLY_S1"], by: /assertion violated\s+!\(.*role\[0\].*role\[1\]/ },
  { defines: ["LATE_RELEASE", "ONLY_S1"], by: /assertion violated\s+!\(.*role\[0\].*role\[1\]/ },
  { defines: ["BY_NAME", "ONLY_S1", "TERMS=3", "LEASE=2"], by: /assertion violated\s+!\(.*role\[0\].*role\[1\]/ },
  { defines: ["TOKEN_RESET"], by: /assertion violated\s+\(counter>lastToken\)/ },
  { defines: ["NO_FENCE", "FENCE"], by: /assertion violated\s+\(writeGrant/ },
];

for (const defines of [[], ["FENCE"]]) {
  modelTest(`${["lease.pml", ...defines].join(" ")} holds in every reachable state`, async () => {
    const report = await check(defines);
    ok(/errors: 0/.test(report) && !/Search not completed|max search depth too small/.test(report), report);
  });
}
for (const { defines, by } of REFUTED) {
  modelTest(`lease.pml ${defines.join(" ")} is refuted`, async () => {
    const report = await check(defines);
    ok(by.test(report), report);
  });
}

function modelTest(name: string, run: () => Promise<void>): void {
  const skipped = WHY_NOT === undefined ? "" : ` (skipped: ${WHY_NOT})`;
  Deno.test({ name: name + skipped, ignore: WHY_NOT !== undefined, fn: run });
}

/** Generates, compiles and runs the checker; returns what it reports. */
async function check(defines: readonly string[]): Promise<string> {
  const cwd = await Deno.makeTempDir({ prefix: "lease-model-" });
  try {
    await command("spin", ["-a", ...defines.map((each) => `-D${each}`), MODEL], cwd);
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
