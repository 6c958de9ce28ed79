/** `elect check`: what it tries, how it judges, and its exit codes. */

import assert from "node:assert/strict";
import { judgeClock, judgeRoundTrip } from "../../cli/check/judgement.ts";
import { resolveOptions } from "../../src/options.ts";
import { elect, temporary } from "./elect.ts";
import { oddProvider } from "./odd_provider.ts";

interface Report {
  readonly version: string | null;
  readonly clockOffsetMs: number | null;
  readonly findings: { readonly about: string; readonly level: string; readonly text: string }[];
}

async function check(methods: string, ...flags: string[]): Promise<{ code: number; report: Report; text: string }> {
  await using place = await temporary();
  await Deno.writeTextFile(`${place.path}/odd.ts`, oddProvider(methods));
  const args = ["check", "--import", `${place.path}/odd.ts`, "--provider", "odd:", ...flags];
  const { code, stdout } = await elect([...args, "--json"]);
  const report: Report = JSON.parse(stdout);
  return { code, report, text: (await elect(args)).stdout };
}

const levels = ({ findings }: Report) => Object.fromEntries(findings.map(({ about, level }) => [about, level]));

Deno.test("elect check tries each permission, and with --observe none that writes", async () => {
  const { code, report, text } = await check("");
  assert.equal(code, 0);
  assert.deepEqual(levels(report), {
    "read": "ok",
    "watch": "ok",
    "groups": "ok",
    "acquire": "ok",
    "renew": "ok",
    "release": "ok",
    "round trip": "ok",
    "clock offset": "ok",
  });
  assert.match(text, /^ok {7}renew: renewed$/m);
  const observed = await check('acquire() { throw new Error("it writes"); }', "--observe");
  assert.equal(observed.code, 0);
  assert.deepEqual(Object.keys(levels(observed.report)), ["read", "watch", "groups", "round trip"]);
  assert.equal(observed.report.clockOffsetMs, null);
});

Deno.test("elect check exits 69, naming the permission that is missing, and goes on with the others", async () => {
  const { code, report, text } = await check('renew() { return Promise.reject(new Error("may not be renewed")); }');
  assert.equal(code, 69);
  const { renew, release } = levels(report);
  assert.deepEqual([renew, release], ["error", "ok"]);
  assert.match(text, /^error {4}renew: .*may not be renewed\n {9}remedy: docs\/backends\/odd\.md/m);
});

Deno.test("elect check exits 69 when the backend is not fit, and says what the backend says of itself", async () => {
  const sick = 'healthCheck: () => Promise.reject(new Error("not fit"))';
  const saying = (level: string) =>
    `inspect: () => Promise.resolve({ version: "Odd 1.2", findings: [{ about: "privilege", level: "${level}",
      text: "lacking", remedy: "grant it" }] })`;
  const { code, report, text } = await check(`${sick}, ${saying("error")}`);
  assert.equal(code, 69);
  assert.deepEqual([report.version, levels(report)], ["Odd 1.2", { health: "error", privilege: "error" }]);
  assert.match(text, /^error {4}health: not fit\nerror {4}privilege: lacking\n {9}remedy: grant it$/m);
  await using place = await temporary();
  for (const methods of [sick, `${sick}, ${saying("ok")}`, `${sick}, inspect: () => Promise.reject(new Error("no"))`]) {
    await Deno.writeTextFile(`${place.path}/odd.ts`, oddProvider(methods));
    const told = await elect(["check", "--import", `${place.path}/odd.ts`, "--provider", "odd:"]);
    assert.ok(told.code !== 0);
    assert.equal(told.stdout, "");
    assert.match(told.stderr, /not fit/);
  }
});

Deno.test("elect check takes a renewal or release that finds the lease gone for no success", async () => {
  const { code, report } = await check('renew: () => Promise.resolve("lost")');
  assert.deepEqual([code, levels(report)["renew"]], [69, "error"]);
  const released = await check('release: () => Promise.resolve("notHolder")');
  assert.deepEqual([released.code, levels(released.report)["release"]], [69, "error"]);
  assert.match(released.text, /^error {4}release: notHolder\n {9}remedy: /m);
});

Deno.test("elect check exits 1 for a warning with --strict, and 78 for a setting that is not safe", async () => {
  const saying = (level: string) =>
    `inspect: () => Promise.resolve({ version: "Odd 1.2\\u001b[31m", findings: [
      { about: "fsync", level: "${level}", text: "off", remedy: "fsync on" }] })`;
  const warned = await check(saying("warning"));
  assert.deepEqual([warned.code, (await check(saying("warning"), "--strict")).code], [0, 1]);
  assert.match(warned.text, /, Odd 1\.2\\u001b\[31m\n/);
  assert.match(warned.text, /^warning {2}fsync: off\n {9}remedy: fsync on$/m);
  assert.equal((await check(saying("error"))).code, 78);
  const failing = await check('inspect: () => Promise.reject(new Error("no answer"))');
  assert.deepEqual([failing.code, levels(failing.report)["settings"]], [0, "warning"]);
});

Deno.test("elect check measures the clock of the backend against this host's", async () => {
  const ahead = `acquire: async (...args) => {
    const answer = await memory.acquire(...args);
    return { ...answer, lease: { ...answer.lease, acquiredAt: new Date(Date.now() + 60_000) } };
  }`;
  const { report } = await check(ahead);
  assert.equal(levels(report)["clock offset"], "warning");
  assert.ok(Math.abs((report.clockOffsetMs ?? 0) - 60_000) < 30_000);
  // A backend that keeps times of its participants tells its own clock otherwise, or not at all.
  const telling = (offset: string) =>
    check(`${ahead}, inspect: () => Promise.resolve({ version: null, findings: [], clockOffsetMs: ${offset} })`);
  const { report: told } = await telling("-5_000");
  assert.deepEqual([told.clockOffsetMs, levels(told)["clock offset"]], [-5_000, "warning"]);
  const { report: silent } = await telling("null");
  assert.deepEqual([silent.clockOffsetMs, levels(silent)["clock offset"]], [null, undefined]);
});

Deno.test("judgements name the number and the limit that it crosses", () => {
  const config = resolveOptions({ electionGroup: "g", heartbeatTimeout: 3_000 });
  const trip = { rounds: 21, min: 1, median: 2, p95: 3, max: 4 };
  assert.equal(judgeRoundTrip(trip, config).level, "ok");
  assert.match(judgeRoundTrip({ ...trip, median: 300 }, config).text, /300 ms, over a quarter of requestTimeout/);
  assert.match(judgeRoundTrip({ ...trip, max: 600 }, config).text, /600 ms, over half of requestTimeout/);
  assert.match(judgeClock(-5_000).text, /5000 ms behind this host's/);
});
