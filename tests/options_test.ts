import assert from "node:assert/strict";
import { test } from "node:test";
import { LeaderElection } from "../src/election.ts";
import { ConfigError } from "../src/errors.ts";
import { checkMetadata, checkName, type ElectionOptions, resolveOptions } from "../src/options.ts";
import { Stage } from "./stage.ts";

const base: ElectionOptions = { electionGroup: "g" };

test("resolveOptions() fills in the defaults of the design", () => {
  const config = resolveOptions(base);
  const { heartbeatInterval, heartbeatTimeout, electionInterval, lockTimeout, requestTimeout, drainTimeout } = config;
  assert.deepEqual(
    { heartbeatInterval, heartbeatTimeout, electionInterval, lockTimeout, requestTimeout, drainTimeout },
    {
      heartbeatInterval: 5_000,
      heartbeatTimeout: 15_000,
      electionInterval: 5_000,
      lockTimeout: 5_000,
      requestTimeout: 5_000,
      drainTimeout: 5_000,
    },
  );
  assert.deepEqual([config.maxRetryAttempts, config.retryBaseDelay, config.retryMaxDelay], [3, 100, 5_000]);
  assert.equal(config.validFor, 15_000 * 0.999 - 1_500);
  assert.match(config.participantId, /^[A-Za-z0-9_.-]+-\d+-[0-9a-f]{8}$/);
  assert.notEqual(resolveOptions(base).participantId, config.participantId);
});

test("resolveOptions() derives what was not given from heartbeatTimeout", () => {
  const { heartbeatInterval, requestTimeout, validFor } = resolveOptions({ ...base, heartbeatTimeout: "3s" });
  assert.deepEqual([heartbeatInterval, requestTimeout], [1_000, 1_000]);
  assert.equal(validFor, 3_000 * 0.999 - 300);
});

test("names that no backend should see are refused, with the rule and the value", () => {
  for (const name of ["", "a/b", "a\n", "a b", "a'b", 'a"b', "\u00e4", "a".repeat(256), "../x\0"]) {
    assert.throws(
      () => resolveOptions({ electionGroup: name }),
      (error: Error) => error instanceof TypeError && /electionGroup .* must match/.test(error.message),
      JSON.stringify(name),
    );
    assert.throws(() => resolveOptions({ ...base, participantId: name }), /participantId .* must match/);
  }
  assert.equal(checkName("electionGroup", "A-z_0.9".padEnd(255, "x")).length, 255);
});

test("metadata over its limits is refused", () => {
  const many = (n: number) => Object.fromEntries(Array.from({ length: n }, (_, i) => [`k${i}`, "v"]));
  assert.equal(Object.keys(checkMetadata(many(100))).length, 100);
  assert.throws(() => checkMetadata(many(101)), /101 entries: it must have at most 100/);
  checkMetadata({ ["k".repeat(255)]: "v".repeat(4_000) });
  assert.throws(() => checkMetadata({ ["k".repeat(256)]: "v" }), RangeError);
  assert.throws(() => checkMetadata({ k: "v".repeat(4_001) }), /4001 characters .* at most 4000/);
  assert.throws(() => checkMetadata({ k: 1 } as unknown as Record<string, string>), TypeError);
  assert.throws(() => checkMetadata([] as unknown as Record<string, string>), TypeError);
  const values = Object.fromEntries(Array.from({ length: 17 }, (_, i) => [`k${i}`, "v".repeat(4_000)]));
  assert.throws(() => checkMetadata(values), /of 68\d\d\d bytes: as JSON in UTF-8 it must have at most 65536/);
  const disguised = Object.assign(Object.create({ toJSON: () => ({}) }), values);
  assert.throws(() => checkMetadata(disguised), RangeError);
  let reads = 0;
  const changing = {
    get k() {
      return reads++ === 0 ? "v" : "v".repeat(99_999);
    },
  };
  assert.deepEqual(checkMetadata(changing), { k: "v" });
  for (const half of [{ k: "\ud800" }, { "\ud800": "v" }]) assert.throws(() => checkMetadata(half), /well-formed/);
  for (const zero of [{ k: "a\0" }, { "\0": "v" }]) assert.throws(() => checkMetadata(zero), /U\+0000/);
});

test("checkMetadata() copies, so that its owner may change it afterwards, and nobody else", () => {
  const mine: Record<string, string> = { zone: "a" };
  const checked = checkMetadata(mine);
  mine.zone = "b";
  assert.deepEqual(checked, { zone: "a" });
  assert.ok(Object.isFrozen(checked));
});

test("timing is refused, when an interval and a slow call can outlast what is valid of the lease, or just do", () => {
  const exact = { ...base, heartbeatTimeout: 1_000, safetyMargin: 100, clockRateError: 0 };
  resolveOptions({ ...exact, heartbeatInterval: 500, requestTimeout: 399 });
  for (const requestTimeout of [400, 401, 5_000]) {
    assert.throws(() => resolveOptions({ ...exact, heartbeatInterval: 500, requestTimeout }), ConfigError);
  }
  for (const safetyMargin of [101, 5_000]) {
    assert.throws(
      () => resolveOptions({ ...exact, heartbeatInterval: 500, requestTimeout: 399, safetyMargin }),
      ConfigError,
    );
  }
  assert.throws(
    () => resolveOptions({ ...exact, heartbeatInterval: 500, requestTimeout: 399, clockRateError: 0.01 }),
    ConfigError,
  );
});

test("every malformed option is refused by the constructor, before any call", () => {
  const stage = new Stage();
  const cases: [Partial<Record<keyof ElectionOptions, unknown>>, new () => Error][] = [
    [{ heartbeatTimeout: "15 s" }, TypeError],
    [{ heartbeatTimeout: "15" }, TypeError],
    [{ heartbeatTimeout: -1 }, RangeError],
    [{ heartbeatTimeout: 0 }, RangeError],
    [{ heartbeatTimeout: NaN }, RangeError],
    [{ heartbeatTimeout: Infinity }, RangeError],
    [{ heartbeatTimeout: {} }, TypeError],
    [{ heartbeatInterval: 0 }, RangeError],
    [{ electionInterval: 0 }, RangeError],
    [{ lockTimeout: 0 }, RangeError],
    [{ clockRateError: 1 }, RangeError],
    [{ clockRateError: "0" }, RangeError],
    [{ maxRetryAttempts: -1 }, RangeError],
    [{ maxRetryAttempts: 1.5 }, TypeError],
    [{ autoStart: "no" }, TypeError],
    [{ observer: 1 }, TypeError],
    [{ healthCheck: true }, TypeError],
    [{ signal: {} }, TypeError],
    [{ safetyMargin: "20s" }, ConfigError as unknown as new () => Error],
  ];
  for (const [options, type] of cases) {
    const provider = stage.open();
    assert.throws(
      () => new LeaderElection(provider, { ...base, ...options } as ElectionOptions),
      (error: unknown) => error instanceof type,
      JSON.stringify(options),
    );
  }
});

test("the constructor refuses a lease that the provider cannot keep", () => {
  const stage = new Stage();
  const memory = stage.open();
  const provider: typeof memory = Object.create(memory, {
    capabilities: { value: { ...memory.capabilities, minTimeout: 15_000, maxTimeout: 60_000 } },
    name: { value: "slow" },
  });
  assert.throws(
    () => new LeaderElection(provider, { ...base, heartbeatTimeout: "10s" }),
    /heartbeatTimeout 10000 with slow: it must be between 15000 and 60000 ms/,
  );
  assert.throws(() => new LeaderElection(provider, { ...base, heartbeatTimeout: "61s" }), RangeError);
});
