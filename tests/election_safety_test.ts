/** Safety of the election: S1 to S11 of docs/proof.md. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { ConfigError, LeadershipLostError } from "../src/errors.ts";
import { resolveOptions } from "../src/options.ts";
import { abortOf, gate, Stage } from "./stage.ts";

/** What the defaults allow: 15 s less a thousandth less a tenth. */
const VALID_MS = 13_485;

test("a leader whose heartbeats fail steps down by its deadline, before another leads", async () => {
  const stage = new Stage();
  const [a, b] = [stage.actor("a"), stage.actor("b")];
  await stage.start(a);
  await stage.start(b);
  a.provider.faults.renew = { fail: true };
  const { term } = a.election;
  await stage.clock.advance(VALID_MS - 1);
  assert.equal(a.election.isLeader, true);
  assert.equal(b.election.isLeader, false);
  await stage.clock.advance(1);
  assert.equal(a.election.isLeader, false);
  assert.equal(term?.signal.aborted, true);
  assert.equal(term?.signal.reason.reason, "expired");
  await stage.clock.advance(2_000);
  assert.equal(b.election.isLeader, true);
});

test("an answer to acquire that comes after the lease could expire is no right to lead", async () => {
  const stage = new Stage();
  const a = stage.actor("a", { lockTimeout: "30s" });
  a.provider.faults.acquire = { delayAnswerMs: VALID_MS };
  const tokens: (bigint | undefined)[] = [];
  void a.election.changes({ types: ["acquired"] }).forEach(({ current }) => void tokens.push(current?.token));
  const started = a.election.start();
  await stage.clock.advance(1);
  delete a.provider.faults.acquire;
  await stage.finish(started);
  await stage.clock.advance(1_000);
  // What was granted too late was given back, so the next look won at once, with a larger token.
  assert.deepEqual(tokens, [2n]);
});

test("validity counts from before the request, not from the answer", async () => {
  const stage = new Stage();
  const a = stage.actor("a");
  a.provider.faults.acquire = { delayAnswerMs: 4_000 };
  await stage.start(a);
  a.provider.faults.renew = { hang: true };
  assert.equal(a.election.term?.remaining, VALID_MS - 4_000);
  await stage.clock.advance(VALID_MS - 4_000);
  assert.equal(a.election.isLeader, false);
});

test("a renewal's validity counts from before its request too", async () => {
  const stage = new Stage();
  const a = stage.actor("a");
  await stage.start(a);
  a.provider.faults.renew = { delayAnswerMs: 3_000 };
  await stage.clock.advance(5_000 + 3_000);
  // Sent a little before 5 s, since heartbeats share slots; answered 3 s later.
  const { remaining = 0 } = a.election.term ?? {};
  assert.ok(remaining <= VALID_MS - 3_000, `${remaining}`);
  assert.ok(remaining > VALID_MS - 3_000 - 1_000, `${remaining}`);
});

test("timing in which an interval and a slow call outlast the lease is refused", () => {
  const timing = { heartbeatTimeout: 11_000, heartbeatInterval: 8_000, requestTimeout: 10_000 };
  assert.throws(() => resolveOptions({ electionGroup: "g", ...timing }), ConfigError);
  assert.throws(
    () => resolveOptions({ electionGroup: "g", heartbeatTimeout: "1s", heartbeatInterval: "2s" }),
    (error: Error) => error instanceof ConfigError && /heartbeatInterval \+ requestTimeout/.test(error.message),
  );
  resolveOptions({ electionGroup: "g", heartbeatTimeout: 11_000, heartbeatInterval: 3_000, requestTimeout: 3_000 });
});

test("after stop and start the heartbeats run again", async () => {
  const stage = new Stage();
  const a = stage.actor("a");
  await stage.start(a);
  await stage.finish(a.election.stop());
  await stage.start(a);
  assert.equal(a.election.isLeader, true);
  await stage.during(60_000, () => assert.equal(a.election.isLeader, true));
  assert.equal(a.election.status.token, 2n);
});

test("waitForLeadership() rejects, when the election stops", async () => {
  const stage = new Stage();
  const [a, b] = [stage.actor("a"), stage.actor("b")];
  await stage.start(a);
  await stage.start(b);
  const waiting = b.election.waitForLeadership();
  const run = b.election.run(() => Promise.reject(new Error("work must not start")));
  const refused = [assert.rejects(waiting, /it was stopped/), assert.rejects(run, /it was stopped/)];
  await stage.finish(b.election.stop());
  await Promise.all(refused);
});

test("after stop isLeader is false, lost was published and the lease is released", async () => {
  const stage = new Stage();
  const a = stage.actor("a");
  const changes = a.election.changes();
  await stage.start(a);
  const { term } = a.election;
  await stage.finish(a.election.stop());
  assert.equal(a.election.isLeader, false);
  assert.equal(term?.isValid, false);
  assert.equal(a.election.status.role, "stopped");
  assert.deepEqual((await changes.toArray()).map(({ type, reason }) => [type, reason]), [
    ["acquired", undefined],
    ["lost", "stopped"],
  ]);
  assert.equal(await stage.store.read("g", { signal: AbortSignal.timeout(1_000) }), null);
});

for (const fault of [{ fail: true }, { hang: true }, { loseAnswer: true }]) {
  test(`stop() steps down and ends, when release goes wrong: ${Object.keys(fault)}`, async () => {
    const stage = new Stage();
    const a = stage.actor("a");
    await stage.start(a);
    a.provider.faults.release = fault;
    await stage.finish(a.election.stop());
    assert.equal(a.election.isLeader, false);
    assert.equal(a.election.status.role, "stopped");
    assert.equal(stage.clock.pending, 0);
  });
}

test("of two participants with the same id only one leads, and the late release of one frees nothing", async () => {
  const stage = new Stage();
  const [a, b] = [stage.actor("same"), stage.actor("same")];
  await stage.start(a);
  await stage.start(b);
  await stage.during(20_000, () => assert.deepEqual([a.election.isLeader, b.election.isLeader], [true, false]));
  a.provider.faults.release = { delayRequestMs: 3_000 };
  a.provider.faults.renew = { hang: true };
  const stopped = a.election.stop();
  // The lease is taken over by eviction, before the release of the old term arrives.
  const leader = await stage.store.read("g", { signal: AbortSignal.timeout(1_000) });
  await stage.store.release({ electionGroup: "g", termId: leader?.termId ?? "" }, {
    signal: AbortSignal.timeout(1_000),
  });
  await stage.clock.advance(100);
  assert.equal(b.election.isLeader, true);
  await stage.finish(stopped);
  await stage.during(20_000, () => assert.equal(b.election.isLeader, true));
});

test("wall clocks that are hours off change nothing", async () => {
  const stage = new Stage();
  const a = stage.actor("a", {}, { offset: -7_200_000 });
  const b = stage.actor("b", {}, { offset: 7_200_000 });
  await stage.start(a);
  await stage.start(b);
  await stage.during(60_000, () => assert.deepEqual([a.election.isLeader, b.election.isLeader], [true, false]));
  a.provider.faults.renew = { hang: true };
  a.provider.faults.acquire = { hang: true };
  await stage.clock.advance(17_000);
  assert.deepEqual([a.election.isLeader, b.election.isLeader], [false, true]);
});

test("a machine that slept with its monotonic clock stopped has lost, at the first read", async () => {
  const stage = new Stage();
  let slept = 0;
  const clock = { ...stage.clock.skewed({}), wall: () => stage.clock.wall() + slept };
  const a = stage.actor("a", { clock });
  await stage.start(a);
  a.provider.faults.renew = { hang: true };
  const { term } = a.election;
  slept = VALID_MS;
  assert.equal(a.election.isLeader, false);
  assert.throws(() => term?.assertValid(), LeadershipLostError);
  // The signal follows within a second of the machine's resuming, although its timer is not due for long.
  await stage.clock.advance(1_000);
  assert.equal(term?.signal.aborted, true);
});

test("the lease is kept while work drains, and released after", async () => {
  const stage = new Stage();
  const [a, b] = [stage.actor("a", { drainTimeout: "1h" }), stage.actor("b")];
  const drained = gate();
  await stage.start(a);
  await stage.start(b);
  let draining = false;
  const run = a.election.run(async (term) => {
    await abortOf(term.signal);
    draining = true;
    await drained.promise;
    assert.equal(term.isValid, true);
    draining = false;
    return "done";
  });
  await stage.clock.advance(1_000);
  const stopped = a.election.stop();
  await stage.during(60_000, () => {
    assert.equal(draining, true);
    assert.deepEqual([a.election.isLeader, b.election.isLeader], [false, false]);
  });
  drained.resolve();
  assert.equal(await stage.finish(run), "done");
  await stage.finish(stopped);
  await stage.clock.advance(20);
  assert.equal(b.election.isLeader, true);
});

test("a drain that does not end is cut off after drainTimeout", async () => {
  const stage = new Stage();
  const [a, b] = [stage.actor("a", { drainTimeout: "2s" }), stage.actor("b")];
  await stage.start(a);
  await stage.start(b);
  void a.election.run(() => new Promise(() => {}));
  await stage.clock.advance(10);
  const stopped = a.election.stop();
  await stage.during(1_950, () => assert.equal(b.election.isLeader, false));
  await stage.clock.advance(100);
  assert.equal(b.election.isLeader, true);
  await stage.finish(stopped);
});

test("tokens grow over release, expiry and stop", async () => {
  const stage = new Stage();
  const a = stage.actor("a");
  const tokens: bigint[] = [];
  void a.election.changes({ types: ["acquired"] }).forEach(({ current }) => void tokens.push(current?.token ?? 0n));
  await stage.start(a);
  await stage.finish(a.election.releaseLeadership({ cooldown: 0 }));
  await stage.clock.advance(1_000);
  a.provider.faults.renew = { fail: true };
  await stage.clock.advance(20_000);
  await stage.finish(a.election.stop());
  await stage.start(a);
  tokens.push(a.election.term?.token ?? 0n);
  assert.ok(tokens.length >= 4, tokens.join());
  for (let i = 1; i < tokens.length; i++) assert.ok((tokens[i] ?? 0n) > (tokens[i - 1] ?? 0n), tokens.join());
});

test("no call outlives its bound or the lease", async () => {
  const stage = new Stage();
  const a = stage.actor("a", { drainTimeout: 0 });
  await stage.start(a);
  a.provider.faults.renew = { hang: true };
  await stage.clock.advance(VALID_MS);
  assert.equal(a.election.isLeader, false);
  // The first was sent at the interval, and gave up after requestTimeout; so there was a second in time.
  assert.equal(a.provider.calls.filter((operation) => operation === "renew").length, 2);
});

test("a renewal that arrives after the lease expired does not renew", async () => {
  const stage = new Stage();
  const [a, b] = [stage.actor("a"), stage.actor("b")];
  await stage.start(a);
  await stage.start(b);
  a.provider.faults.renew = { delayRequestMs: 14_000 };
  let overlaps = 0;
  await stage.during(60_000, () => overlaps += Number(a.election.isLeader && b.election.isLeader));
  assert.equal(overlaps, 0);
  assert.equal(b.election.isLeader, true);
});

test("stopping one of two elections on a shared provider leaves the other's lease alone", async () => {
  const stage = new Stage();
  const [a, b] = [stage.actor("a"), stage.actor("b", { electionGroup: "h" })];
  await stage.start(a);
  await stage.start(b);
  await stage.finish(a.election.stop());
  await stage.during(20_000, () => assert.equal(b.election.isLeader, true));
});

test("S6: term.signal aborts by the deadline, when the backend hangs during a drain", async () => {
  const stage = new Stage();
  const a = stage.actor("a", { drainTimeout: "1h" });
  await stage.start(a);
  const { term } = a.election;
  void a.election.run(() => new Promise(() => {}));
  await stage.clock.advance(10);
  a.provider.faults.renew = { hang: true };
  a.provider.faults.release = { hang: true };
  const stopped = a.election.stop();
  assert.equal(term?.signal.aborted, true);
  assert.equal(term?.isValid, true);
  await stage.clock.advance(VALID_MS);
  assert.equal(term?.isValid, false);
  await stage.finish(stopped);
});

test("S7: the same participant does not lead again before the work of its last term has settled", async () => {
  const stage = new Stage();
  const a = stage.actor("a");
  await stage.start(a);
  const slow = gate();
  let running = 0;
  let terms = 0;
  const run = a.election.run(async () => {
    assert.equal(++running, 1);
    terms++;
    if (terms === 1) await slow.promise;
    running--;
    return terms;
  });
  await stage.clock.advance(10);
  a.provider.faults.renew = { fail: true };
  await stage.clock.advance(VALID_MS);
  delete a.provider.faults.renew;
  await stage.during(60_000, () => assert.equal(a.election.isLeader, false));
  await assert.rejects(a.election.tryAcquireLeadership(), /work of the last term has not settled/);
  slow.resolve();
  assert.equal(await stage.finish(run), 2);
});

test("S8: an acquire whose outcome is unknown does not lead", async () => {
  const stage = new Stage();
  const a = stage.actor("a");
  a.provider.faults.acquire = { loseAnswer: true };
  await stage.start(a);
  await stage.during(10_000, () => assert.equal(a.election.isLeader, false));
});

test("S9: no term begins after stop, when an acquire is granted meanwhile", async () => {
  const stage = new Stage();
  const a = stage.actor("a");
  a.provider.faults.acquire = { delayRequestMs: 1_000 };
  void a.election.start();
  await stage.clock.advance(500);
  const changes = a.election.changes();
  await stage.finish(a.election.stop());
  assert.deepEqual(await changes.toArray(), []);
  assert.equal(a.election.isLeader, false);
  assert.equal(await stage.store.read("g", { signal: AbortSignal.timeout(1_000) }), null);
});

test("S9: stop() has the last word over a start() that waits for the end of an earlier stop()", async () => {
  const stage = new Stage();
  const a = stage.actor("a");
  await stage.start(a);
  const stopping = a.election.stop();
  const starting = a.election.start();
  await stage.finish(Promise.all([stopping, starting, a.election.stop()]));
  assert.equal(a.election.status.role, "stopped");
  await stage.finish(a.election.start());
  assert.equal(a.election.isLeader, true);
});

test("S10: an observer never writes", async () => {
  const stage = new Stage();
  const [a, b] = [stage.actor("a"), stage.actor("b", { observer: true })];
  await stage.start(b);
  await stage.start(a);
  await stage.clock.advance(30_000);
  await stage.finish(b.election.releaseLeadership());
  await b.election.updateMetadata({ a: "b" });
  await assert.rejects(b.election.tryAcquireLeadership(), /only observes/);
  await assert.rejects(b.election.waitForLeadership(), /only observes/);
  await stage.finish(b.election.stop());
  assert.deepEqual([...new Set(b.provider.calls)], ["read"]);
});
