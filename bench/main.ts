/**
 * Measures this package beside the bare calls of its drivers, on servers that it starts by itself:
 *
 *     deno task bench                         every suite on every backend
 *     deno task bench redis postgres          these backends; also others that the tests can start, such as valkey
 *     deno task bench --suite handoff         this suite (more than once: these)
 *     deno task bench --quick                 the short form, within two minutes
 *     deno task bench --json FILE             writes the results, with machine, load, runtime and servers
 *     deno task bench --compare FILE          prints ratios to results that were written before
 *     deno task bench --pictures FILE         draws those results into docs/pictures/
 *
 * A server is used as it is where `ELECT_TEST_<NAME>_URL` names one. Absolute numbers mean little; ratios are within
 * one run. Nothing here is a test.
 */

import os from "node:os";
import process from "node:process";
import { parseArgs } from "node:util";
import { BACKENDS, EMBEDDED } from "../tests/permissions.ts";
import { findVariants, prepareBackend, stopBackends } from "../tests/runner/backends.ts";
import { versionOf } from "./backend.ts";
import type { Measurement, Suite } from "./measurement.ts";
import { drawPictures } from "./pictures.ts";
import { acquire } from "./suites/acquire.ts";
import { crash } from "./suites/crash.ts";
import { handOff } from "./suites/hand_off.ts";
import { heartbeat } from "./suites/heartbeat.ts";
import { idle } from "./suites/idle.ts";
import { scale } from "./suites/scale.ts";
import { start } from "./suites/start.ts";
import { format, table } from "./table.ts";

/** What is written as JSON. */
interface Report {
  readonly at: string;
  readonly machine: string;
  readonly runtime: string;
  /** The average load of the last minute, each time that a line was written: the least and the most. */
  readonly load: readonly [number, number];
  readonly servers: Readonly<Record<string, string>>;
  readonly measurements: readonly Measurement[];
}

const SUITES: Readonly<Record<string, Suite>> = { acquire, heartbeat, handoff: handOff, crash, idle, scale };
const QUICK = ["acquire", "heartbeat", "handoff", "scale"];
/** Those in which participants of several processes meet; `memory:` has none. */
const BETWEEN_PROCESSES = ["handoff", "crash"];
const RUNS = { quick: 3, full: 5 };
/** When the short form begins nothing any more, and when it ends, in milliseconds. */
const QUICK_MS = { lastBegin: 95_000, end: 112_000 };

const { values, positionals } = parseArgs({
  args: Deno.args,
  allowPositionals: true,
  options: {
    suite: { type: "string", multiple: true },
    quick: { type: "boolean", default: false },
    json: { type: "string" },
    compare: { type: "string" },
    pictures: { type: "string" },
  },
});
const suites = values.suite ?? (values.quick ? QUICK : [...Object.keys(SUITES), "start"]);
const usual = [...EMBEDDED, ...BACKENDS];
const known = [...usual, ...(await findVariants()).map(({ name }) => name)];
const unknown = [
  ...positionals.filter((name) => !known.includes(name)),
  ...suites.filter((name) => SUITES[name] === undefined && name !== "start"),
];
if (unknown.length > 0) {
  console.error(`Cannot measure "${unknown.join(" ")}": known are ${[...known, ...Object.keys(SUITES)].join(", ")}`);
  Deno.exit(64);
}
if (values.pictures !== undefined) {
  drawPictures((JSON.parse(Deno.readTextFileSync(values.pictures)) as Report).measurements);
  Deno.exit(0);
}
for (const signal of ["SIGINT", "SIGTERM"] as const) {
  process.on(signal, () => void stopBackends().finally(() => Deno.exit(130)));
}
const earlier = values.compare === undefined ? undefined : JSON.parse(Deno.readTextFileSync(values.compare)) as Report;

const measurements: Measurement[] = [];
const servers: Record<string, string> = {};
const setting = { quick: values.quick, runs: values.quick ? RUNS.quick : RUNS.full };
const backends = positionals.length > 0 ? positionals : usual;
const planned = backends.flatMap((backend) => suites.filter((name) => isOf(name, backend))).length;
const loads: number[] = [];
let begun = 0;
let failed = 0;

/** The short form ends in time, on whatever machine: nothing is begun late, and what is under way then is cut off. */
const startedAt = performance.now();
if (values.quick) setTimeout(() => void finish(), QUICK_MS.end);
for (const backend of backends) await measureBackend(backend);
if (suites.includes("start")) await run("start", "", "", start);
await finish();

async function finish(): Promise<never> {
  await stopBackends();
  console.log(
    `\nload ${loadRange().join(" to ")} on ${os.cpus().length} cores\n${table(measurements, earlier?.measurements)}`,
  );
  // What a driver keeps alive is of no interest any more.
  Deno.exit(failed > 0 ? 1 : 0);
}

function isLate(): boolean {
  return values.quick && performance.now() - startedAt > QUICK_MS.lastBegin;
}

function isOf(suite: string, backend: string): boolean {
  return SUITES[suite] !== undefined && !(backend === "memory" && BETWEEN_PROCESSES.includes(suite));
}

async function measureBackend(backend: string): Promise<void> {
  if (isLate()) return console.log(`skip   ${backend}: two minutes are over`);
  if (EMBEDDED.includes(backend)) {
    const directory = await Deno.makeTempDir({ prefix: "elect-bench-" });
    const url = { memory: "memory:bench", sqlite: `sqlite://${directory}/leases.db` }[backend];
    await measureOn(backend, url ?? `file://${directory}/leases/`);
    await Deno.remove(directory, { recursive: true });
    return;
  }
  try {
    const server = await prepareBackend(backend);
    await measureOn(backend, server.url);
    await server.stop();
  } catch (error) {
    console.log(`skip   ${backend}: ${String(error).replaceAll(/\s+/g, " ")}`);
  }
}

async function measureOn(backend: string, url: string): Promise<void> {
  const version = await versionOf(url).catch(() => null);
  if (version !== null) servers[backend] = version;
  for (const name of suites) {
    const suite = SUITES[name];
    if (suite === undefined || !isOf(name, backend)) continue;
    if (isLate()) return console.log(`skip   ${name} of ${backend}: two minutes are over`);
    await run(name, backend, url, suite);
  }
}

/** Runs a suite, and shows each line as it comes. What fails is named, and the others go on. */
async function run(name: string, backend: string, url: string, suite: Suite): Promise<void> {
  console.error(`begin  ${name} ${backend} (${++begun} of ${planned + (suites.includes("start") ? 1 : 0)})`);
  try {
    for await (const measurement of suite({ backend, url, ...setting })) {
      measurements.push(measurement);
      loads.push(os.loadavg()[0] ?? NaN);
      writeReport();
      const { what, unit, runs } = measurement;
      const each = runs.map(format).join(" ");
      console.log(`${name.padEnd(9)} ${measurement.backend.padEnd(10)} ${what.padEnd(26)} ${each} ${unit}`);
    }
  } catch (error) {
    failed++;
    console.log(`FAILED ${name} ${backend}: ${error instanceof Error ? error.message : String(error)}`);
  }
}

function loadRange(): [number, number] {
  return [Math.min(...loads), Math.max(...loads)];
}

/** Writes what is known by now: a run that is cut off leaves the rest. */
function writeReport(): void {
  if (values.json === undefined) return;
  const [cores, memory] = [os.cpus(), Math.round(os.totalmem() / 2 ** 30)];
  const report: Report = {
    at: new Date().toISOString(),
    machine: `${cores.length} x ${cores[0]?.model}, ${memory} GiB, ${os.type()} ${os.release()}`,
    runtime: `Deno ${Deno.version.deno}, V8 ${Deno.version.v8}`,
    load: loadRange(),
    servers,
    measurements,
  };
  Deno.writeTextFileSync(values.json, JSON.stringify(report, null, 2) + "\n");
}
