/** Nothing fails in silence: failures for good, the last error, and warnings that nobody asked for. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { permanently, providerError } from "../src/call.ts";
import { elect } from "../src/elect.ts";
import { LeaderElection } from "../src/election.ts";
import { ElectionError, ProviderError } from "../src/errors.ts";
import { everythingTo, warningsTo } from "../src/logger.ts";
import type { ElectionOptions } from "../src/options.ts";
import type { Provider } from "../src/provider.ts";
import { systemClock } from "../src/time/clock.ts";
import { VirtualClock } from "../testing/virtual_clock.ts";
import { Stage } from "./stage.ts";

/** A provider whose `acquire` and `read` fail as `failure` says, as long as that is not null. */
function failing(stage: Stage, failure: () => Error | null): Provider {
  const store = stage.open();
  const unless = <T>(work: () => Promise<T>) => {
    const error = failure();
    return error === null ? work() : Promise.reject(providerError("memory", "acquire", "g", error));
  };
  return stage.wrap(store, {
    acquire: (request, options) => unless(() => store.acquire(request, options)),
    renew: (lease, options) => unless(() => store.renew(lease, options)),
    read: (group, options) => unless(() => store.read(group, options)),
  });
}

test("providerError() is permanent for what was marked so, and for nothing else", () => {
  assert.equal(providerError("p", "read", "g", permanently(new Error("wrong password"))).permanent, true);
  assert.equal(providerError("p", "read", "g", new Error("refused")).permanent, false);
  assert.equal(providerError("p", "read", "g", "text").permanent, false);
});

for (const observer of [false, true]) {
  test(`start() rejects and has stopped, when the first look of ${observer ? "an observer" : "a participant"} fails for good`, async () => {
    const stage = new Stage();
    let failure: Error | null = permanently(new Error("wrong password"));
    const warnings: string[] = [];
    const logger = { debug() {}, info() {}, warn: (message: string) => void warnings.push(message) };
    const election = new LeaderElection(failing(stage, () => failure), {
      ...{ electionGroup: "g", clock: stage.clock, logger, observer },
    });
    const waiting = assert.rejects(election.waitForLeader(), /it was stopped/);
    await assert.rejects(stage.finish(election.start()), (error) => error instanceof ProviderError && error.permanent);
    await waiting;
    assert.equal(election.status.role, "stopped");
    // Who started it has been told.
    assert.deepEqual(warnings, []);
    assert.match(String(election.status.lastError?.error), /wrong password/);
    assert.equal(stage.clock.pending, 0);
    // Mended, it starts like new.
    failure = null;
    await stage.finish(election.start());
    assert.equal(election.isLeader, !observer);
    assert.equal(election.status.lastError, null);
    await stage.finish(election.stop());
  });
}

test("elect() rejects, when the first look fails for good", async () => {
  const stage = new Stage();
  const provider = failing(stage, () => permanently(new Error("unknown database")));
  const electing = elect(provider, { electionGroup: "g", clock: stage.clock, logger: null });
  await assert.rejects(stage.finish(electing), /unknown database/);
});

test("a backend that is down at the start is waited for, and a later failure for good ends nothing", async () => {
  const stage = new Stage();
  let failure: Error | null = new Error("connection refused");
  const election = new LeaderElection(failing(stage, () => failure), {
    ...{ electionGroup: "g", clock: stage.clock, logger: null },
  });
  await stage.finish(election.start());
  assert.equal(election.status.role, "follower");
  assert.match(String(election.status.lastError?.error), /connection refused/);
  failure = permanently(new Error("the password was changed"));
  await stage.clock.advance(60_000);
  assert.equal(election.status.role, "follower");
  assert.match(String(election.status.lastError?.error), /the password was changed/);
  failure = null;
  await stage.clock.advance(10_000);
  assert.deepEqual([election.isLeader, election.status.lastError], [true, null]);
  failure = permanently(new Error("the password was changed again"));
  await stage.clock.advance(6_000);
  assert.match(String(election.status.lastError?.error), /again/);
  assert.equal(election.isLeader, true, "until its deadline");
  failure = null;
  await stage.clock.advance(6_000);
  assert.equal(election.status.lastError, null);
  await stage.finish(election.stop());
});

test("a wait says what failed last, when it is aborted or the election stops, and only then", async () => {
  const stage = new Stage();
  let failure: Error | null = new Error("connection refused");
  const election = new LeaderElection(failing(stage, () => failure), {
    ...{ electionGroup: "g", clock: stage.clock, logger: null, observer: true },
  });
  await stage.finish(election.start());
  const said = /Cannot wait in election "g": .*; the last failure was: Cannot .*: connection refused$/;
  const [plain, reasoned] = [new AbortController(), new AbortController()];
  const [one, two] = [plain, reasoned].map(({ signal }) => election.waitForLeader({ signal }));
  plain.abort();
  await assert.rejects(one as Promise<unknown>, (error) => {
    assert.ok(error instanceof ElectionError && error.cause === plain.signal.reason);
    assert.equal(error.name, "AbortError");
    assert.match(error.message, said);
    return true;
  });
  // A reason of the caller's own is what the caller looks for.
  const reason = new Error("enough");
  reasoned.abort(reason);
  await assert.rejects(two as Promise<unknown>, (error) => error === reason);
  const waiting = assert.rejects(election.waitForLeader(), said);
  await stage.finish(election.stop());
  await waiting;

  failure = null;
  await stage.finish(election.start());
  const controller = new AbortController();
  const well = election.waitForLeader({ signal: controller.signal });
  controller.abort();
  await assert.rejects(well, (error) => error === controller.signal.reason);
  await stage.finish(election.stop());
});

test("run() of an election that was never started rejects, and one that is being started runs", async () => {
  const stage = new Stage();
  const election = new LeaderElection(stage.open(), { electionGroup: "g", clock: stage.clock });
  const running = election.run(() => assert.fail("it must not run"));
  await assert.rejects(running, /^ElectionError: Cannot run in election "g": it was never started; call start\(\)$/);
  const starting = election.start();
  assert.equal(await stage.finish(election.run((term) => Promise.resolve(term.token))), 1n);
  await starting;
  await stage.finish(election.stop());
});

test("enableDetailedLogging tells every call, its outcome and duration, and nothing does without it", async () => {
  const stage = new Stage();
  const calls: string[] = [];
  const note = (message: string, { operation, outcome, durationMs, error }: Record<string, unknown> = {}) => {
    if (message !== "a call has ended") return;
    assert.ok(typeof durationMs === "number" && durationMs >= 0);
    assert.equal(error instanceof Error, outcome === "failed");
    calls.push(`${operation} ${outcome}`);
  };
  const logger = { debug: note, info() {}, warn() {} };
  let failure: Error | null = new Error("connection refused");
  const provider = failing(stage, () => failure);
  const make = (participantId: string, more: Partial<ElectionOptions>) =>
    new LeaderElection(provider, { electionGroup: "g", participantId, clock: stage.clock, logger, ...more });
  const quiet = make("quiet", { enableDetailedLogging: false });
  await stage.finish(quiet.start());
  await stage.finish(quiet.stop());
  assert.equal(calls.length, 0);

  const told = make("told", { enableDetailedLogging: true, healthCheck: () => true });
  await stage.finish(told.start());
  assert.deepEqual(calls.splice(0), ["healthCheck healthy", "acquire failed"]);
  failure = null;
  await stage.clock.advance(10_000);
  assert.ok(told.isLeader);
  assert.ok(calls.includes("acquire acquired") && calls.includes("renew renewed"), calls.join());
  calls.length = 0;
  const follower = make("follower", { enableDetailedLogging: true });
  await stage.finish(follower.start());
  await stage.finish(follower.getCurrentLeader());
  // The second look is for what may have happened before the hints came.
  assert.deepEqual(calls.splice(0), ["acquire held", "acquire held", "read told leads"]);
  await stage.finish(follower.stop());
  await stage.finish(told.stop());
  assert.ok(calls.includes("release released"), calls.join());
});

test("without a logger, what is detailed is written too, as text", () => {
  const lines: string[] = [];
  const logger = everythingTo(
    (text) => void lines.push(text),
    warningsTo((text) => void lines.push(text), systemClock),
  );
  const names = { electionGroup: "g", participantId: "p" };
  logger.debug("a call has ended", { ...names, operation: "renew", error: new Error("no"), token: undefined });
  logger.info("acquired leadership", { ...names, token: 7n });

  for (let i = 0; i < 2; i++) logger.warn("a look failed", { ...names, error: new Error("refused") });
  assert.deepEqual(lines, [
    '@multilock/core: a call has ended in election "g" (operation: renew, error: no)',
    '@multilock/core: acquired leadership in election "g" (token: 7)',
    '@multilock/core: a look failed in election "g": refused',
  ]);
});

test("warnings are written at once, and then at most once a minute, with a count", async () => {
  const clock = new VirtualClock();
  const lines: string[] = [];
  const logger = warningsTo((text) => void lines.push(text), clock);
  const warn = (why: string) => logger.warn("a look failed", { electionGroup: "g", error: new Error(why) });
  for (let i = 0; i < 3; i++) warn("refused");
  warn("no route");
  await clock.advance(59_000);
  warn("refused");
  assert.deepEqual(lines, [
    '@multilock/core: a look failed in election "g": refused',
    '@multilock/core: a look failed in election "g": no route',
  ]);
  await clock.advance(1_000);
  warn("refused");
  assert.match(lines[2] ?? "", /refused \(3 more times in between\)$/);
  logger.info("nothing");
  logger.debug("nothing");
  assert.equal(lines.length, 3);
});

test("a logger that lacks a method is refused, and null silences", () => {
  const stage = new Stage();
  const make = (logger: unknown) => new LeaderElection(stage.open(), { electionGroup: "g", logger: logger as null });
  for (const wrong of [{}, { warn() {} }, "console", 7]) assert.throws(() => make(wrong), /Cannot use logger/);
  make(null);
  make(console);
  make(undefined);
});
