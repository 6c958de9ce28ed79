/** The seam to OpenTelemetry, against an API that keeps what it is told. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { OpenTelemetry } from "../../src/telemetry/opentelemetry.ts";

interface Made {
  readonly name: string;
  readonly kind: string;
  readonly unit: string;
}

interface Began {
  readonly name: string;
  readonly links: readonly string[];
  readonly root: boolean;
  readonly said: Record<string, unknown>;
  ends: number;
}

/** An API as `@opentelemetry/api` is one. */
class Recorder {
  readonly made: Made[] = [];
  readonly told: [name: string, value: number, attributes: unknown][] = [];
  readonly spans: Began[] = [];
  readonly callbacks = new Set<(result: { observe(gauge: object, value: number, attributes: object): void }) => void>();

  readonly metrics = {
    getMeter: () => {
      const instrument = (kind: string) => (name: string, { unit }: { unit: string }) => {
        this.made.push({ name, kind, unit });
        const tell = (value: number, attributes: object) => void this.told.push([name, value, attributes]);
        return { name, add: tell, record: tell };
      };
      return {
        createCounter: instrument("counter"),
        createHistogram: instrument("histogram"),
        createObservableGauge: instrument("gauge"),
        addBatchObservableCallback: (callback: never) => void this.callbacks.add(callback),
        removeBatchObservableCallback: (callback: never) => void this.callbacks.delete(callback),
      };
    },
  };
  readonly trace = {
    getTracer: () => ({
      startSpan: (
        name: string,
        options: { root: boolean; links: { context: { name: string } }[]; attributes: object },
      ) => {
        const links = options.links.map(({ context }) => context.name);
        const span: Began = { name, links, root: options.root, said: { ...options.attributes }, ends: 0 };
        this.spans.push(span);
        return {
          setAttribute: (key: string, value: unknown) => void (span.said[key] = value),
          setStatus: (status: object) => void (span.said["status"] = status),
          spanContext: () => span,
          end: () => void span.ends++,
        };
      },
    }),
    setSpan: (_context: unknown, span: unknown) => span,
  };
  readonly context = { active: () => "none", with: <T>(_context: unknown, work: () => T): T => work() };

  /** Collects the gauges. */
  observe(): [name: string, value: number, group: unknown][] {
    const seen: [string, number, unknown][] = [];
    const observe = (gauge: object, value: number, attributes: object) =>
      void seen.push([(gauge as Made).name, value, (attributes as { group?: unknown }).group]);
    for (const callback of this.callbacks) callback({ observe });
    return seen.sort();
  }
}

const attributes = { group: "g", provider: "p" };

test("names and units of metrics are those of the documentation, and as OpenTelemetry has them", () => {
  const api = new Recorder();
  new OpenTelemetry(api);
  const named = api.made.map(({ name, kind, unit }) => `${name.replace("multilock.election.", "")} ${kind} ${unit}`);
  assert.deepEqual(named.sort(), [
    "acquire.duration histogram s",
    "drain.duration histogram s",
    "is_leader gauge 1",
    "leaderless.duration histogram s",
    "provider.errors counter {error}",
    "renew.duration histogram s",
    "renewals counter {renewal}",
    "term.token gauge 1",
    "terms counter {term}",
    "validity.limit gauge s",
    "validity.remaining gauge s",
  ]);
  // Lower case, parts divided by dots, words by underscores, and no unit in the name.
  for (const { name } of api.made) assert.match(name, /^multilock\.election(\.[a-z]+(_[a-z]+)*)+$/);
});

test("gauges have what an election is when they are collected, and nothing once the last election has ended", () => {
  const api = new Recorder();
  const telemetry = new OpenTelemetry(api);
  let token: bigint | null = 7n;
  const leads = telemetry.meter(attributes, () => ({ leads: true, token, remaining: 8.4, limit: 13.5 }));
  let known: bigint | null = 6n;
  const watches = () => ({ leads: false, token: known, remaining: null, limit: 13.5 });
  const follows = telemetry.meter({ group: "h", provider: "p" }, watches);
  assert.equal(api.callbacks.size, 1);
  const name = (suffix: string) => `multilock.election.${suffix}`;
  const limits = [[name("validity.limit"), 13.5, "g"], [name("validity.limit"), 13.5, "h"]];
  assert.deepEqual(api.observe(), [
    [name("is_leader"), 0, "h"],
    [name("is_leader"), 1, "g"],
    [name("term.token"), 6, "h"],
    [name("term.token"), 7, "g"],
    ...limits,
    [name("validity.remaining"), 8.4, "g"],
  ]);
  token = known = null;
  assert.ok(api.observe().every(([each]) => each !== name("term.token")));
  leads.close();
  assert.deepEqual(api.observe().map(([, , group]) => group), ["h", "h"]);
  follows.close();
  assert.deepEqual([api.callbacks.size, api.observe()], [0, []]);
});

test("each measurement is told once, under its metric, with the group, the provider and what it names", () => {
  const api = new Recorder();
  const meter = new OpenTelemetry(api).meter(
    attributes,
    () => ({ leads: false, token: null, remaining: null, limit: 1 }),
  );
  meter.record({ name: "terms", value: 1, reason: "expired" });
  meter.record({ name: "renew.duration", value: 0.2, outcome: "failed" });
  meter.record({ name: "provider.errors", value: 1, operation: "renew" });
  // A gauge is collected, not told.
  meter.record({ name: "validity.remaining", value: 8 });
  assert.deepEqual(api.told, [
    ["multilock.election.terms", 1, { ...attributes, reason: "expired" }],
    ["multilock.election.renew.duration", 0.2, { ...attributes, outcome: "failed" }],
    ["multilock.election.provider.errors", 1, { ...attributes, operation: "renew" }],
  ]);
});

test("calls are spans of their own, linked to their term; a term to the call that won it", () => {
  const api = new Recorder();
  const meter = new OpenTelemetry(api).meter(
    attributes,
    () => ({ leads: false, token: null, remaining: null, limit: 1 }),
  );
  assert.equal(meter.startCall("read"), undefined);
  meter.startCall("acquire")?.end();
  meter.beginTerm(3n);
  const renewal = meter.startCall("renew");
  renewal?.fail(new RangeError("no answer"));
  renewal?.end();
  meter.endTerm("expired");
  meter.endTerm("released");
  meter.startCall("release")?.end();
  meter.startCall("acquire")?.end();
  assert.deepEqual(api.spans.map(({ name, links, root, ends }) => [name, links, root, ends]), [
    ["multilock.acquire", [], true, 1],
    ["multilock.term", ["multilock.acquire"], true, 1],
    ["multilock.renew", ["multilock.term"], true, 1],
    ["multilock.release", ["multilock.term"], true, 1],
    ["multilock.acquire", [], true, 1],
  ]);
  const [, term, renew] = api.spans;
  assert.deepEqual(term?.said, { ...attributes, token: "3", reason: "expired" });
  assert.deepEqual(renew?.said, {
    ...attributes,
    status: { code: 2, message: "no answer" },
    "error.type": "RangeError",
  });
});
