/** What an application that has set OpenTelemetry up sends to its collector, on each runtime. */

import assert from "node:assert/strict";
import { fileURLToPath } from "node:url";
import { eventually, onEachRuntime, programOn } from "../cli/elect.ts";
import { patience } from "../slowness.ts";
import { attributesOf, Collector } from "./collector.ts";

const APP = fileURLToPath(new URL("app.ts", import.meta.url));

onEachRuntime(
  "an application with OpenTelemetry sends metrics, and spans linked to those of terms",
  async (runtime) => {
    await using collector = await Collector.start();
    const program = await programOn(runtime);
    const child = new Deno.Command(program, {
      args: runtime === "deno" ? ["run", "--quiet", "--allow-all", APP] : [APP],
      env: {
        NO_COLOR: "1",
        OTEL_DENO: "true",
        OTEL_EXPORTER_OTLP_ENDPOINT: collector.url,
        OTEL_EXPORTER_OTLP_PROTOCOL: "http/json",
        OTEL_METRIC_EXPORT_INTERVAL: "100",
        OTEL_BSP_SCHEDULE_DELAY: "100",
      },
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    // The exporter of Deno 2.9.6 was seen to hang for ever as its process ended, deaf to SIGTERM.
    const limit = setTimeout(() => child.kill("SIGKILL"), patience(30_000));
    const { success, stdout, stderr } = await child.output();
    clearTimeout(limit);
    const said = new TextDecoder().decode(stdout);
    assert.ok(success || (runtime === "deno" && said === "done\n"), said + new TextDecoder().decode(stderr));
    const { metrics, spans } = collector;
    await eventually(() => spans.some(({ name }) => name === "multilock.term"), () => JSON.stringify(spans));

    const named = (name: string) => {
      const found = metrics.filter((each) => each.name === `multilock.election.${name}`);
      assert.ok(found.length > 0, `${name} among ${[...new Set(metrics.map((each) => each.name))]}`);
      const points = found.flatMap(({ points }) => points);
      for (const point of points) {
        const { group, provider } = attributesOf(point);
        assert.deepEqual([group, provider], ["observed", "memory"], name);
      }
      return { unit: found[0]?.unit, points };
    };
    assert.ok(named("is_leader").points.some((point) => Number(point.asInt ?? point.asDouble) === 1));
    assert.ok(named("term.token").points.some((point) => Number(point.asInt ?? point.asDouble) === 1));
    const left = named("validity.remaining");
    assert.equal(left.unit, "s");
    assert.ok(left.points.every(({ asDouble = 1 }) => asDouble > 0 && asDouble < 13.485));
    assert.deepEqual(named("terms").points.map((point) => attributesOf(point)["reason"]).at(-1), "released");
    assert.ok(named("renewals").points.some((point) => attributesOf(point)["outcome"] === "renewed"));
    for (const name of ["renew.duration", "acquire.duration", "drain.duration"]) {
      const { unit, points } = named(name);
      assert.equal(unit, "s");
      assert.ok(points.some(({ count, sum = 0 }) => Number(count) > 0 && sum < 60), name);
    }

    const [term] = spans.filter(({ name }) => name === "multilock.term");
    assert.ok(term);
    assert.equal(attributesOf(term)["reason"], "released");
    const [acquire] = spans.filter(({ name }) => name === "multilock.acquire");
    assert.deepEqual(term.links?.map(({ spanId }) => spanId), [acquire?.spanId]);
    for (const name of ["multilock.renew", "multilock.release"]) {
      const calls = spans.filter((each) => each.name === name);
      assert.ok(calls.length > 0, name);
      for (const { links, traceId } of calls) {
        assert.deepEqual(links?.map(({ spanId }) => spanId), [term.spanId], name);
        assert.notEqual(traceId, term.traceId);
      }
    }
    const [work] = spans.filter(({ name }) => name === "work");
    assert.deepEqual([work?.parentSpanId, work?.traceId], [term.spanId, term.traceId]);

    const all = JSON.stringify([metrics, spans]);
    assert.ok(
      !all.includes("observed-metadata") && !all.includes("observed-participant"),
      "neither leaves the process",
    );
  },
);

Deno.test("without OpenTelemetry its API is not loaded", async () => {
  const directory = await Deno.makeTempDir({ prefix: "elect-telemetry-" });
  try {
    // Without an import map the bare name leads nowhere, and without npm the other import does not, either.
    const core = new URL("../../mod.ts", import.meta.url);
    await Deno.writeTextFile(
      `${directory}/main.ts`,
      `import { elect } from "${core}";
const election = await elect("memory:", { electionGroup: "g", logger: { debug() {}, info() {}, warn: console.log } });
console.log(election.isLeader, election.stats().begun);
await election.stop();
`,
    );
    for (const [enabled, expected] of [["", /^true 1\n$/], ["true", /^OpenTelemetry is set up, but [^]*true 1\n$/]]) {
      const { stdout, stderr } = await new Deno.Command(Deno.execPath(), {
        args: ["run", "--quiet", "--allow-all", "--no-config", "--no-npm", "--no-check", `${directory}/main.ts`],
        cwd: directory,
        env: { NO_COLOR: "1", OTEL_DENO: String(enabled), OTEL_EXPORTER_OTLP_ENDPOINT: "http://127.0.0.1:1" },
      }).output();
      assert.match(new TextDecoder().decode(stdout), expected as RegExp, new TextDecoder().decode(stderr));
    }
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
});
