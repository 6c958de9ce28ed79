/** The numbers that an election keeps about itself. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { elect, type Measurement } from "../../mod.ts";
import { memoryProvider } from "../../providers/memory.ts";
import { resolveOptions } from "../../src/options.ts";
import { RecentMinimum } from "../../src/telemetry/recent_minimum.ts";
import { Telemetry } from "../../src/telemetry/telemetry.ts";
import { systemClock } from "../../src/time/clock.ts";
import { VirtualClock } from "../../testing/virtual_clock.ts";
import { gate, Stage } from "../stage.ts";

test("stats() counts terms, renewals and what was left of the term, when a leader renews and steps down", async () => {
  const stage = new Stage();
  const actor = stage.actor("a");
  const { election } = actor;
  assert.equal(election.stats().leaderless, null);
  await stage.start(actor);
  await stage.during(20_000, () => {});
  const { isLeader, token, begun, renewals, validity, renewDuration, acquireDuration } = election.stats();
  assert.deepEqual([isLeader, token, begun], [true, 1n, 1]);
  assert.ok(renewals.renewed >= 4 && renewals.failed === 0 && renewals.lost === 0);
  assert.equal(renewDuration.count, renewals.renewed);
  assert.equal(acquireDuration.count, 1);
  // 15 s less a thousandth and a tenth, of which at most 5 s have passed when a heartbeat is answered.
  assert.equal(validity.limit, 13.485);
  assert.ok(
    validity.smallest !== null && validity.smallest >= 8.485 && validity.smallest < 9.2,
    `${validity.smallest}`,
  );
  assert.equal(validity.remaining, validity.smallest);
  await stage.finish(election.releaseLeadership());
  const after = election.stats();
  assert.deepEqual([after.isLeader, after.token, after.terms.released], [false, null, 1]);
  assert.deepEqual([after.validity.remaining, after.validity.last], [null, null]);
  assert.equal(after.drainDuration.count, 1);
  await stage.finish(election.stop());
});

test("stats() shows a slow backend in what is left of the term, long before the term ends", async () => {
  const stage = new Stage();
  const actor = stage.actor("a");
  await stage.start(actor);
  await stage.during(20_000, () => {});
  const before = actor.election.stats().validity.smallest ?? 0;
  actor.provider.faults.renew = { fail: true };
  await stage.during(9_000, () => {});
  actor.provider.faults.renew = {};
  await stage.during(6_000, () => {});
  const { validity, renewals, providerErrors, isLeader } = actor.election.stats();
  assert.ok(isLeader);
  assert.ok(renewals.failed > 0 && providerErrors.renew === renewals.failed);
  assert.ok((validity.remaining ?? Infinity) < before - 3, `${validity.remaining} after ${before}`);
  assert.ok((validity.last ?? 0) > (validity.remaining ?? Infinity));
  assert.equal(validity.smallest, validity.remaining);
  await stage.finish(actor.election.stop());
});

test("a term begins with nothing of the validity of the one before", async () => {
  const stage = new Stage();
  const actor = stage.actor("a");
  const { election } = actor;
  await stage.start(actor);
  await stage.during(20_000, () => {});
  await stage.finish(election.releaseLeadership({ cooldown: 0 }));
  await stage.finish(election.waitForLeadership());
  const { begun, validity } = election.stats();
  assert.deepEqual([begun, validity.remaining, validity.last], [2, null, null]);
  assert.ok(validity.smallest !== null, "that of all terms stays");
  await stage.finish(election.stop());
});

test("a call that nobody waits for any more is no failure", async () => {
  const stage = new Stage();
  const actor = stage.actor("a");
  await stage.start(actor);
  actor.provider.faults.renew = { hang: true };
  await stage.during(6_000, () => {});
  await stage.finish(actor.election.stop());
  assert.equal(actor.provider.calls.filter((each) => each === "renew").length, 1);
  const { renewals, providerErrors } = actor.election.stats();
  assert.deepEqual([renewals, providerErrors.renew], [{ renewed: 0, lost: 0, failed: 0 }, undefined]);
});

test("stats() counts the time without a leader from when the lease of a crashed one has expired", async () => {
  const stage = new Stage();
  const crashed = await stage.store.acquire({
    electionGroup: "g",
    participantId: "crashed",
    termId: crypto.randomUUID(),
    heartbeatTimeout: 15_000,
    metadata: {},
  }, { signal: new AbortController().signal });
  assert.ok(crashed.acquired);
  const actor = stage.actor("b");
  await stage.start(actor);
  const measured: Measurement[] = [];
  const observer = stage.actor("c", { observer: true, onMeasurement: (each) => measured.push(each) });
  await stage.start(observer);
  assert.equal(observer.election.stats().leaderless, null);
  assert.equal(observer.election.stats().token, 1n);
  await stage.during(20_000, () => {});
  assert.equal(actor.election.isLeader, true);
  const { leaderlessDuration, token } = actor.election.stats();
  assert.equal(leaderlessDuration.count, 1);
  assert.ok(leaderlessDuration.max < 1, `${leaderlessDuration.max} s`);
  assert.equal(token, 2n);
  assert.equal(observer.election.stats().token, 2n);
  assert.equal(measured.filter(({ name }) => name === "leaderless.duration").length, 1);
  await stage.finish(actor.election.stop());
  await stage.during(5_000, () => {});
  assert.ok((observer.election.stats().leaderless ?? 0) >= 4, "nobody leads now, and it is counted while it lasts");
  await stage.finish(observer.election.stop());
});

test("stats() counts why terms ended, and how long work took to drain", async () => {
  const stage = new Stage();
  const actor = stage.actor("a");
  await stage.start(actor);
  const settle = gate();
  const running = actor.election.run(() => settle.promise).catch(() => {});
  await stage.clock.advance(10);
  const stopped = actor.election.stop();
  await stage.during(2_000, () => {});
  settle.resolve();
  await stage.finish(stopped);
  await stage.finish(running);
  const { terms, drainDuration } = actor.election.stats();
  assert.equal(terms.stopped, 1);
  assert.ok(drainDuration.max >= 2 && drainDuration.max < 2.5, `${drainDuration.max} s`);
});

test("a heartbeat costs the telemetry two readings of the clock, and whoever listens gets each number once", () => {
  const seen: Measurement[] = [];
  let readings = 0;
  const clock = { ...systemClock, monotonic: () => ++readings * 1_000 };
  for (const onMeasurement of [undefined, (each: Measurement) => seen.push(each)]) {
    const config = resolveOptions({ electionGroup: "g", clock, ...(onMeasurement && { onMeasurement }) });
    const telemetry = new Telemetry(config, "p", () => ({ ownToken: 1n, knownToken: 1n, vacantFor: null }));
    readings = 0;
    telemetry.answered(telemetry.begin("renew"), "renewed");
    telemetry.renewed(8_000);
    assert.equal(readings, 2);
    assert.equal(telemetry.stats.validity.remaining, 8);
  }
  assert.deepEqual(seen, [
    { name: "renewals", value: 1, outcome: "renewed" },
    { name: "renew.duration", value: 1, outcome: "renewed" },
    { name: "validity.remaining", value: 8 },
  ]);
});

test("onMeasurement() gets each measurement in seconds, and what it throws harms nothing", async () => {
  const seen: Measurement[] = [];
  await using election = await elect(memoryProvider({ name: "measured" }), {
    electionGroup: "g",
    heartbeatTimeout: 300,
    logger: null,
    onMeasurement(measurement) {
      seen.push(measurement);
      throw new Error("a subscriber's own");
    },
  });
  for (const signal = AbortSignal.timeout(20_000); seen.every(({ name }) => name !== "validity.remaining");) {
    assert.ok(!signal.aborted, "no renewal was measured");
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
  assert.ok(election.isLeader);
  await election.releaseLeadership();
  const [acquired] = seen;
  assert.ok(acquired?.name === "acquire.duration" && acquired.outcome === "acquired" && acquired.value < 20);
  assert.ok(seen.some((each) => each.name === "terms" && each.reason === "released"));
  assert.ok(seen.some((each) => each.name === "renewals" && each.outcome === "renewed"));
});

test("onMeasurement must be a function", async () => {
  await assert.rejects(
    elect("memory:", { electionGroup: "g", onMeasurement: "yes" as never }),
    /Cannot use onMeasurement "yes": it must be a function/,
  );
});

test("a minimum is that of the last one to two minutes", async () => {
  const clock = new VirtualClock();
  const minimum = new RecentMinimum(clock);
  assert.equal(minimum.value, null);
  minimum.add(3, clock.monotonic());
  minimum.add(5, clock.monotonic());
  await clock.advance(59_000);
  assert.equal(minimum.value, 3);
  await clock.advance(2_000);
  minimum.add(7, clock.monotonic());
  assert.equal(minimum.value, 3);
  await clock.advance(60_000);
  assert.equal(minimum.value, 7);
  await clock.advance(120_000);
  assert.equal(minimum.value, null);
});
