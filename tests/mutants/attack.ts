/** Plants mutants in a copy of the checkout, one after the other, and lets the tests look for each. */

import { addressesIn } from "../permissions.ts";
import type { ReadyBackend } from "../runner/backends.ts";
import { execute } from "../runner/command.ts";
import { type TestCase, testCases } from "../runner/junit.ts";
import { searchPath } from "../runner/runtimes.ts";
import { controlled } from "../servers/control.ts";
import { connectable } from "../servers/process.ts";
import { Checkout } from "./checkout.ts";
import type { MutantTest, ProviderMutant } from "./provider_mutant.ts";

/**
 * What became of a mutant. Only `killed` is good.
 *
 * - `killed`: a test failed with it, and passed without.
 * - `survived`: every test passed.
 * - `hung`: the time was over before a test had failed. The gate would notice, but after ten minutes and without saying
 *   what hangs, so it counts as survived: a test must bound what it waits for.
 * - `unfit`: it proves nothing, since it cannot be planted or loaded, or its tests fail, or are not there, without it.
 */
export type Verdict = "killed" | "survived" | "hung" | "unfit";

/** A mutant and what became of it. */
export interface AttackReport {
  readonly mutant: ProviderMutant;
  readonly verdict: Verdict;
  /** The test that failed; or why the mutant is unfit. */
  readonly by: string;
  /** How long the tests took with it, in milliseconds. */
  readonly tookMs: number;
}

/** How to attack. */
export interface AttackOptions {
  /** The server, where the tests need one. */
  readonly backend?: ReadyBackend | undefined;
  /** After that many milliseconds no further mutant is planted. @default no limit */
  readonly limitMs?: number;
  /** Hears of each mutant as it is done. */
  onReport?(report: AttackReport): void;
}

/** One run of some tests. */
interface Run {
  readonly cases: readonly TestCase[];
  readonly ok: boolean;
  readonly late: boolean;
  readonly output: string;
  readonly tookMs: number;
}

/**
 * What the tests do without a mutant: the filter that finds them, how long they take, and why they prove nothing, if
 * so.
 */
interface Baseline {
  readonly filter: string | undefined;
  readonly tookMs: number;
  readonly unfit?: string;
}

/** How long tests may take with a mutant beyond five times what they take without, in milliseconds. */
const PATIENCE_MS = 60_000;
/** How long they may take without. */
const BASELINE_LIMIT_MS = 300_000;

/** Attacks with each of `mutants`, in their order. Those for which no time was left are missing in the answer. */
export async function attack(mutants: readonly ProviderMutant[], options: AttackOptions = {}): Promise<AttackReport[]> {
  const { backend, limitMs = Infinity, onReport } = options;
  const start = performance.now();
  await using checkout = await Checkout.copy();
  const baselines = new Map<string, Baseline>();
  const reports: AttackReport[] = [];
  for (const mutant of mutants) {
    if (performance.now() - start > limitMs) break;
    const key = JSON.stringify([mutant.test.file, mutant.test.filter]);
    const baseline = baselines.get(key) ?? await withoutMutant(checkout, mutant.test, backend);
    baselines.set(key, baseline);
    const report = await attackWith(mutant, checkout, baseline, backend);
    reports.push(report);
    onReport?.(report);
  }
  return reports;
}

/** A test that fails without the mutant proves nothing when it fails with it. */
async function withoutMutant(checkout: Checkout, test: MutantTest, backend?: ReadyBackend): Promise<Baseline> {
  let { filter } = test;
  let run = await runTests(checkout, test.file, filter, BASELINE_LIMIT_MS, backend);
  if (filter !== undefined && run.ok && ran(run).length === 0) {
    filter = `/${filter}/`;
    run = await runTests(checkout, test.file, filter, BASELINE_LIMIT_MS, backend);
  }
  const [failed] = run.cases.filter(({ outcome }) => outcome === "failed");
  const { tookMs } = run;
  if (failed) return { filter, tookMs, unfit: `fails without the mutant: ${failed.name}` };
  if (!run.ok) return { filter, tookMs, unfit: `fails without the mutant: ${lastWords(run.output)}` };
  if (ran(run).length === 0) return { filter, tookMs, unfit: `no test of ${test.file} matches "${test.filter ?? ""}"` };
  return { filter, tookMs };
}

async function attackWith(
  mutant: ProviderMutant,
  checkout: Checkout,
  { filter, tookMs, unfit }: Baseline,
  backend?: ReadyBackend,
): Promise<AttackReport> {
  if (unfit !== undefined) return { mutant, verdict: "unfit", by: unfit, tookMs: 0 };
  let uproot: () => Promise<void>;
  try {
    uproot = await checkout.plant(mutant);
  } catch (error) {
    return { mutant, verdict: "unfit", by: error instanceof Error ? error.message : String(error), tookMs: 0 };
  }
  try {
    const run = await runTests(checkout, mutant.test.file, filter, PATIENCE_MS + 5 * tookMs, backend);
    return { mutant, ...judge(run), tookMs: run.tookMs };
  } finally {
    await uproot();
    await mend(backend);
  }
}

function judge(run: Run): { verdict: Verdict; by: string } {
  const [failed] = run.cases.filter(({ outcome }) => outcome === "failed");
  if (failed) return { verdict: "killed", by: failed.name };
  if (run.late) return { verdict: "hung", by: "" };
  if (run.ok) return { verdict: "survived", by: "" };
  // A module that cannot be loaded has no tests to list. One that has, and fails nevertheless, threw where nobody
  // caught it.
  if (run.cases.length === 0) return { verdict: "unfit", by: `does not load: ${lastWords(run.output)}` };
  return { verdict: "killed", by: "an error that nobody caught" };
}

async function runTests(
  checkout: Checkout,
  file: string,
  filter: string | undefined,
  limitMs: number,
  backend?: ReadyBackend,
): Promise<Run> {
  const path = await Deno.makeTempFile({ prefix: "elect-mutants-", suffix: ".xml" });
  const narrowed = filter === undefined ? [] : ["--filter", filter];
  // Not type-checked: what the compiler notices is another matter.
  const argv = [Deno.execPath(), "test", "-A", "--no-check", `--junit-path=${path}`, ...narrowed, file];
  const start = performance.now();
  const { ok, late, output } = await execute({
    argv,
    cwd: checkout.root,
    env: { PATH: searchPath(backend?.path), ...backend?.env },
    limitMs,
  });
  const tookMs = performance.now() - start;
  const xml = await Deno.readTextFile(path);
  await Deno.remove(path);
  return { cases: testCases(xml), ok, late, output, tookMs };
}

function ran({ cases }: Run): TestCase[] {
  return cases.filter(({ outcome }) => outcome !== "skipped");
}

/** Tests that failed halfway may have left the server frozen or dead. */
async function mend(backend: ReadyBackend | undefined): Promise<void> {
  if (backend?.control === undefined) return;
  const faults = controlled(backend.control);
  await faults.thaw();
  const ports = addressesIn(backend.url).map((address) => Number(address.split(":").at(-1)));
  await Promise.all(ports.map(connectable)).catch(() => faults.restart());
}

function lastWords(output: string): string {
  return output.trim().split("\n").filter((line) => line.trim() !== "").slice(-3).join(" ").slice(0, 300);
}
