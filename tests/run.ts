/**
 * The driver behind `deno task test`: static checks, the tests on Deno, Bun and Node, and every provider's tests
 * against its real server, which it installs and starts where it may.
 *
 *     deno task test                 everything
 *     deno task test redis postgres  these backends alone
 *     deno task test static unit     the checks, or the tests without servers
 *     deno task test portable        those of them that need nothing that only Linux has
 *
 * `ELECT_REQUIRE_BACKENDS=redis,postgres` and `ELECT_REQUIRE_RUNTIMES=bun,node` turn what would be skipped into a
 * failure. `ELECT_TEST_<NAME>_URL` names a server to use; `ELECT_TEST_INSTALL=0` forbids to install packages, and
 * `ELECT_TEST_SERVERS=docker` has all servers from `docker-compose.yml`.
 */

import process from "node:process";
import type { Measurement } from "../bench/measurement.ts";
import { table } from "../bench/table.ts";
import { attack, type AttackReport } from "./mutants/attack.ts";
import { draw, listNames, loadList } from "./mutants/lists.ts";
import { BACKENDS, EMBEDDED, testFlags } from "./permissions.ts";
import { findVariants, prepareBackend, type ReadyBackend, stopBackends, type Variant } from "./runner/backends.ts";
import { endAll, execute, ROOT } from "./runner/command.ts";
import { type Counts, countTests, isByClock, NONE, sum, type TestCase, testCases } from "./runner/junit.ts";
import { programOf, type Runtime, RUNTIMES, searchPath, testCommand } from "./runner/runtimes.ts";
import { serverKinds } from "./servers/kinds.ts";

/** One line of the summary. */
interface Result {
  readonly what: string;
  readonly runtime: string;
  readonly counts: Counts;
  readonly note: string;
  /** What failed, and why: printed at once, and again before the summary. */
  readonly failures: string;
}

/** How a program comes to elect, on each backend with a server. */
const GETTING_IN = "tests/getting_in/backend_deno_test.ts";
/** What is done at the same time: most tests wait most of their time, also on the two cores of small machines. */
const WORKERS = 3;
/** How many mutants of each list are drawn, and after how long none is planted any more, in milliseconds. */
const SAMPLE = { count: 2, limitMs: 120_000 };

/** How many times tests that were late may run once more: a machine on which more are is too slow, or the tests are. */
const MOST_LATE = 3;

/** What needs no server, in parts that end within their time each; those that take longest come first. */
const PARTS: readonly { readonly name: string; readonly of: RegExp }[] = [
  { name: "proof", of: /^tests\/(simulation|model|linearizability|chaos\/)/ },
  { name: "elect serve", of: /^tests\/(cli\/serve|telemetry)\// },
  { name: "elect run", of: /^tests\/cli\/(guard_process|jobs|run|signals|streams|takeover|user)_/ },
  { name: "command line", of: /^tests\/cli\// },
  { name: "getting in", of: /^tests\/getting_in\// },
  { name: "embedded", of: /^tests\/(fencing\/|providers\/(memory|file|sqlite))/ },
  { name: "unit", of: /^/ },
];

const deno = Deno.execPath();
const reports = await Deno.makeTempDir({ prefix: "elect-test-reports-" });
const results: Result[] = [];
/** Tests that were late, and ran once more. */
const late: string[] = [];
/** What the short benchmarks found. */
const measured: Measurement[] = [];
const programs = new Map<Runtime, string>();

for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, async () => {
    await endAll(stopBackends);
    await Deno.remove(reports, { recursive: true });
    Deno.exit(130);
  });
}

await main(Deno.args);

async function main(args: readonly string[]): Promise<void> {
  const servers: Variant[] = [...BACKENDS.map((name) => ({ name, provider: name })), ...await findVariants()];
  const groups = ["static", "unit", "portable", ...EMBEDDED, ...servers.map(({ name }) => name)];
  const unknown = args.filter((arg) => !groups.includes(arg));
  if (unknown.length > 0) {
    console.error(`Cannot test "${unknown.join(" ")}": known are ${groups.join(", ")}`);
    Deno.exit(64);
  }
  const wanted = (group: string) => args.length === 0 || args.includes(group);
  // The drivers, where Bun and Node look for them.
  const installed = await execute({ argv: [deno, "install"] });
  if (!installed.ok) report("install", "deno", { ...NONE, failed: 1 }, installed.output);
  const files = await findTests();
  // Without a server they belong to the unit tests, unless they are asked for by name.
  const embedded = EMBEDDED.filter((name) => args.includes(name) && !wanted("unit"));
  const portable = args.includes("portable") && !wanted("unit");
  const tested = servers.filter(({ name }) => wanted(name)).map(({ inGate, ...server }) =>
    args.includes(server.name) ? server : { ...server, inGate }
  );
  const expectsTests = tested.length > 0 || embedded.length > 0 || portable || wanted("unit");
  if (expectsTests) await findRuntimes();
  const jobs: (() => Promise<void>)[] = [];
  // Those that take longest come first.
  if (wanted("unit")) jobs.push(...unitTests(files));
  if (portable) jobs.push(...unitTests(files.filter(isPortable)));
  for (const name of embedded) {
    const own = files.filter((file) => isOf(name, file));
    jobs.push(
      ...RUNTIMES.map((runtime) => () => runTests(name, runtime, own.filter((each) => runsOn(each, runtime)), ["-A"])),
    );
  }
  const [quick, slow] = await beginSlow(tested);
  for (const server of quick) jobs.push(() => backendTests(server, files));
  if (wanted("unit")) {
    // Those of the command line plant defects in what kills process groups: by hand, where nothing else runs.
    const lists = listNames().filter((name) => name !== "cli" && !BACKENDS.includes(name));
    for (const list of lists) jobs.push(() => sampleMutants(list));
    jobs.push(() => measure(EMBEDDED));
  }
  if (wanted("static")) jobs.push(...staticChecks());
  for (const server of slow) jobs.push(() => backendTests(server, files));
  await work(jobs);
  await stopBackends();
  await Deno.remove(reports, { recursive: true });
  summarize(expectsTests);
}

/**
 * Begins to install the servers for which that takes minutes, beside other tests. Returns the others, and those: they
 * are tested last.
 */
async function beginSlow(servers: readonly Variant[]): Promise<[Variant[], Variant[]]> {
  const kinds = await serverKinds();
  const split: [Variant[], Variant[]] = [[], []];
  for (const server of servers) {
    const kind = kinds.find(({ name }) => name === server.name);
    const isSlow = await kind?.isThere?.() === false;
    split[isSlow ? 1 : 0].push(server);
    // Whoever starts it waits for it, and is told why it failed.
    if (isSlow) kind?.install().catch(() => {});
  }
  return split;
}

async function work(jobs: (() => Promise<void>)[]): Promise<void> {
  await Promise.all(Array.from({ length: WORKERS }, async () => {
    for (let job = jobs.shift(); job !== undefined; job = jobs.shift()) await job();
  }));
}

/** Finds a program for each runtime. One that cannot be had is skipped by name. */
async function findRuntimes(): Promise<void> {
  await Promise.all(RUNTIMES.map(async (runtime) => {
    try {
      programs.set(runtime, await programOf(runtime));
    } catch (error) {
      skip(`runtime ${runtime}`, runtime, "ELECT_REQUIRE_RUNTIMES", runtime, String(error));
    }
  }));
}

/** The test files, by their paths in the checkout. */
async function findTests(directory = "tests"): Promise<string[]> {
  const found: string[] = [];
  for await (const { name, isDirectory } of Deno.readDir(new URL(`${directory}/`, ROOT))) {
    const path = `${directory}/${name}`;
    if (isDirectory) found.push(...await findTests(path));
    else if (name.endsWith("_test.ts")) found.push(path);
  }
  return found.sort();
}

/** The backend whose server a test file needs: `redis` for `tests/providers/redis_test.ts` and `redis_tls_test.ts`. */
function backendOf(file: string): string | undefined {
  return BACKENDS.find((name) => isOf(name, file));
}

function isOf(name: string, file: string): boolean {
  return new RegExp(`^tests/providers/${name.replaceAll("-", "_")}(_[a-z_]+)?_test\\.ts$`).test(file) ||
    file.startsWith(`tests/providers/${name.replaceAll("-", "_")}/`);
}

function staticChecks(): (() => Promise<void>)[] {
  const { exports }: { exports: Record<string, string> } = JSON.parse(
    Deno.readTextFileSync(new URL("deno.json", ROOT)),
  );
  const checks: Record<string, string[]> = {
    fmt: ["fmt", "--check"],
    lint: ["lint"],
    check: ["check", "."],
    doc: ["doc", "--lint", ...Object.values(exports)],
    publish: ["publish", "--dry-run", "--allow-dirty"],
  };
  return Object.entries(checks).map(([what, args]) => async () => {
    const { ok, output } = await execute({ argv: [deno, ...args], limitMs: 300_000 });
    report(what, "deno", ok ? NONE : { ...NONE, failed: 1 }, output);
  });
}

function unitTests(files: readonly string[]): (() => Promise<void>)[] {
  const left = files.filter((file) => backendOf(file) === undefined);
  const jobs = PARTS.flatMap((part) => {
    const { name } = part;
    const mine = left.filter((file) => PARTS.find(({ of }) => of.test(file)) === part);
    return RUNTIMES.map((runtime) => () =>
      runTests(name, runtime, mine.filter((file) => runsOn(file, runtime)), ["-A"])
    );
  });
  return [...jobs, async () => await runTests("examples in docs", "deno", await documented(), ["-A", "--doc"])];
}

/** Returns whether a test file names nothing that only Linux has, or only what people put on it. */
function isPortable(file: string): boolean {
  return !/\/proc\/|unshare|setpriv|SIGSTOP|tmux|nohup|"sh"|"ps"/.test(Deno.readTextFileSync(new URL(file, ROOT)));
}

function runsOn(file: string, runtime: Runtime): boolean {
  return runtime === "deno" || !file.endsWith("_deno_test.ts");
}

/** The modules whose examples run: all that are published. */
async function documented(): Promise<string[]> {
  const found = ["mod.ts"];
  for (const directory of ["src", "providers", "testing", "fencing"]) {
    for await (const { name, isFile } of Deno.readDir(new URL(`${directory}/`, ROOT))) {
      if (isFile && name.endsWith(".ts")) found.push(`${directory}/${name}`);
    }
  }
  return found.sort();
}

async function backendTests({ name, provider, inGate }: Variant, files: readonly string[]): Promise<void> {
  const own = files.filter((file) => backendOf(file) === provider);
  let backend: ReadyBackend | undefined;
  try {
    backend = await prepareBackend(name);
  } catch (error) {
    skip(name, "all", "ELECT_REQUIRE_BACKENDS", name, error instanceof Error ? error.message : String(error));
    // What needs no server has been run already.
    if (name !== provider) return;
  }
  if (inGate !== undefined) {
    await runTests(name, "deno", own.filter((file) => inGate.test(file)), ["-A"], backend);
    await backend?.stop();
    return;
  }
  const narrow = backend ? testFlags(provider, backend.url, backend.control, backend.detour) : ["-A"];
  const main = `tests/providers/${provider.replaceAll("-", "_")}_test.ts`;
  for (const runtime of RUNTIMES) {
    const mine = own.filter((file) => runsOn(file, runtime));
    if (runtime !== "deno") {
      await runTests(name, runtime, mine, [], backend);
      continue;
    }
    // The conformance run has the rights that the README names, and no more; what starts programs has a file of its
    // own.
    await runTests(name, runtime, mine.filter((file) => file === main), narrow, backend);
    const others = mine.filter((file) => file !== main);
    await runTests(name, runtime, backend && name === provider ? [...others, GETTING_IN] : others, ["-A"], backend);
  }
  if (listNames().includes(name)) await sampleMutants(name, backend);
  if (backend && name === provider) await measure([name], backend);
  await backend?.stop();
}

/** Runs the short benchmark. Its numbers are shown, and nothing of it is a test: the machine does other work. */
async function measure(names: readonly string[], backend?: ReadyBackend): Promise<void> {
  const path = `${reports}/${crypto.randomUUID()}.json`;
  const argv = [deno, "run", "-A", "--no-check", "--v8-flags=--expose-gc", "bench/main.ts", "--quick", "--json", path];
  const { output } = await execute({
    argv: [...argv, ...names],
    env: { PATH: searchPath(), ...backend?.env },
    limitMs: 120_000,
  });
  try {
    const { measurements }: { measurements: Measurement[] } = JSON.parse(await Deno.readTextFile(path));
    measured.push(...measurements);
  } catch (error) {
    console.log(`no benchmark of ${names.join(", ")}: ${error}\n${output}`);
  }
}

/**
 * Plants a few mutants of a list, drawn anew each time. All of them take too long for the gate: `deno task mutants`.
 */
async function sampleMutants(list: string, backend?: ReadyBackend): Promise<void> {
  const [seed = 0] = crypto.getRandomValues(new Uint32Array(1));
  const again = `deno task mutants -- ${list} --sample ${SAMPLE.count} --seed ${seed}`;
  console.log(`drawn  ${again}`);
  try {
    const drawn = draw(await loadList(list), SAMPLE.count, seed);
    const reports = await attack(drawn, { backend, limitMs: SAMPLE.limitMs });
    // Without a server most tests do not exist; what is skipped is named already. A test that fails without the mutant
    // has had its own run, and says nothing here.
    const isServerless = !backend && BACKENDS.includes(list);
    const isSkipped = ({ verdict, by }: AttackReport) =>
      verdict === "unfit" && (isServerless || by.startsWith("fails without the mutant"));
    const skipped = reports.filter(isSkipped).length;
    const alive = reports.filter((each) => each.verdict !== "killed" && !isSkipped(each));
    if (!isServerless) {
      for (const { mutant, by } of reports.filter(isSkipped)) console.log(`skip   ${mutant.name}: ${by}`);
    }
    const lines = alive.map(({ mutant, verdict, by }) => `${verdict}: ${mutant.name} ${by}`);
    const counts = { passed: reports.length - alive.length - skipped, failed: alive.length, skipped };
    report(`${list} mutants`, "deno", counts, [again, ...lines].join("\n"));
  } catch (error) {
    report(`${list} mutants`, "deno", { ...NONE, failed: 1 }, `${again}\n${error}`);
  }
}

async function runTests(
  what: string,
  runtime: Runtime,
  files: readonly string[],
  denoFlags: readonly string[],
  backend?: ReadyBackend,
): Promise<void> {
  const program = programs.get(runtime);
  if (files.length === 0 || program === undefined) return;
  const start = performance.now();
  const end = (counts: Counts, failures: string) => report(what, runtime, counts, failures, performance.now() - start);
  const run = async (some: readonly string[]) => {
    const path = `${reports}/${crypto.randomUUID()}.xml`;
    const argv = testCommand(runtime, program, some, path, denoFlags);
    const outcome = await execute({ argv, env: { PATH: searchPath(backend?.path), ...backend?.env } });
    return { argv, ...outcome, cases: testCases(await Deno.readTextFile(path).catch(() => "")) };
  };
  const { argv, ok, output, cases } = await run(files);
  const failed = cases.filter(({ outcome }) => outcome === "failed");
  const counts = countTests(cases);
  // A runner that fails without a failed test has crashed, or could not even load a file.
  if (!ok && failed.length === 0) {
    return end({ ...counts, failed: 1 }, `${argv.join(" ")}\n${lastLines(output, 100)}`);
  }
  // A test that was cancelled has no reason of its own: an error that nobody caught ended its file.
  const whyOf = ({ failure }: TestCase) => (failure || lastLines(output, 60)).replaceAll(/^/gm, "    ");
  const failures = failed.map((each) => `${each.name}\n${whyOf(each)}`).join("\n");
  if (!mayBeDueToMachine(failed)) return end(counts, failures);
  console.log(`again  ${what} on ${runtime}: ${failures}`);
  late.push(`${what} on ${runtime}: ${failures}`);
  // A test that a helper defines is reported under the helper's file: then all of them run.
  const areKnown = failed.every((each) => files.some((file) => each.file.endsWith(file)));
  const second = await run(files.filter((file) => !areKnown || failed.some((each) => each.file.endsWith(file))));
  if (second.ok) end({ ...counts, failed: 0, passed: counts.passed + failed.length }, "");
  else end(counts, failures);
}

/**
 * Returns whether all of these failed by a bound of time, and not too many did so. Their files then run once more: a
 * bound says something of the machine, too. Whatever is late is told before the summary.
 */
function mayBeDueToMachine(failed: readonly TestCase[]): boolean {
  return failed.length > 0 && late.length < MOST_LATE && failed.length <= MOST_LATE &&
    failed.every(isByClock);
}

/** Notes a result, with what failed if it is bad, and how many milliseconds it took. */
function report(what: string, runtime: string, counts: Counts, failures: string, ms?: number): void {
  const { passed, failed, skipped } = counts;
  const line = `${failed === 0 ? "ok    " : "FAILED"} ${what.padEnd(18)} ${runtime.padEnd(5)}`;
  const numbers = passed + failed + skipped > 0 ? `${passed} passed, ${failed} failed, ${skipped} skipped` : "";
  const time = ms === undefined ? "" : `, ${Math.round(ms / 1_000)} s`;
  console.log(`${line} ${numbers}${time}`.trimEnd());
  if (failed > 0) console.log(failures.trimEnd());
  results.push({ what, runtime, counts, note: "", failures: failed > 0 ? failures.trimEnd() : "" });
}

function lastLines(text: string, count: number): string {
  return text.trimEnd().split("\n").slice(-count).join("\n");
}

/** Notes that something is not there; where `variable` requires it, that is a failure. */
function skip(what: string, runtime: string, variable: string, name: string, reason: string): void {
  const required = (Deno.env.get(variable) ?? "").split(",").map((each) => each.trim()).includes(name);
  const note = reason.replaceAll(/\s+/g, " ");
  console.log(
    `${required ? "FAILED" : "skip  "} ${what.padEnd(18)} ${note}${required ? ` (${variable} requires it)` : ""}`,
  );
  results.push({
    what,
    runtime,
    counts: { ...NONE, [required ? "failed" : "skipped"]: 1 },
    note,
    failures: required ? note : "",
  });
}

function summarize(expectsTests: boolean): void {
  console.log("");
  for (const { what, runtime, failures } of results) {
    if (failures !== "") console.log(`FAILED ${what} on ${runtime}: ${failures}\n`);
  }
  for (const each of late) console.log(`late, and run once more: ${each}\n`);
  if (measured.length > 0) console.log(`${table(measured)}\n`);
  const rows = [...new Set(results.map(({ what }) => what))];
  for (const what of rows) {
    const cells = RUNTIMES.map((runtime) => {
      const mine = results.filter((each) => each.what === what && each.runtime === runtime);
      const { passed, failed } = sum(mine.map(({ counts }) => counts));
      return (mine.length === 0 ? "-" : failed > 0 ? `${failed} FAILED` : passed > 0 ? `${passed} ok` : "ok").padEnd(
        10,
      );
    });
    const note = results.find((each) => each.what === what && each.note !== "")?.note;
    console.log(`${what.padEnd(18)} ${cells.join(" ")}${note ? ` not run against a server: ${note}` : ""}`.trimEnd());
  }
  console.log(`${"".padEnd(18)} ${RUNTIMES.map((runtime) => runtime.padEnd(10)).join(" ")}`.trimEnd());
  const { passed, failed, skipped } = sum(results.map(({ counts }) => counts));
  console.log(`\n${passed} passed, ${failed} failed, ${skipped} skipped`);
  Deno.exit(failed > 0 || (expectsTests && passed === 0) ? 1 : 0);
}
