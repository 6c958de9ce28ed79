/** Calls that meet: one loop owns the term, and requests come to it one after another. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { elect } from "../src/elect.ts";
import { LeaderElection } from "../src/election.ts";
import type { CallOptions, Provider } from "../src/provider.ts";
import { registerProvider } from "../src/registry.ts";
import { memoryProvider } from "../providers/memory.ts";
import { type Actor, gate, Stage } from "./stage.ts";

/** Lets somebody outside of all elections hold the lease of the group `g`. */
async function hold(stage: Stage, heartbeatTimeout = 60_000): Promise<() => Promise<unknown>> {
  const request = { electionGroup: "g", participantId: "other", termId: crypto.randomUUID(), heartbeatTimeout };
  await stage.store.acquire({ ...request, metadata: {} }, soon());
  return () => stage.store.release(request, soon());
}

function soon(): CallOptions {
  return { signal: AbortSignal.timeout(1_000) };
}

function count(actor: Actor, operation: string): number {
  return actor.provider.calls.filter((each) => each === operation).length;
}

/** A signal, and how many listen to it. */
function countedSignal(): { controller: AbortController; listeners(): number } {
  const controller = new AbortController();
  const { signal } = controller;
  const listeners = new Set<unknown>();
  const [add, remove] = [signal.addEventListener.bind(signal), signal.removeEventListener.bind(signal)];
  signal.addEventListener = (...args: Parameters<typeof add>) => (listeners.add(args[1]), add(...args));
  signal.removeEventListener = (...args: Parameters<typeof remove>) => (listeners.delete(args[1]), remove(...args));
  return { controller, listeners: () => listeners.size };
}

test("tryAcquireLeadership() joins the term that the campaign wins meanwhile, and sends no second acquire", async () => {
  const stage = new Stage();
  const free = await hold(stage);
  let slow = false;
  const a = stage.actor("a", {
    healthCheck: async () => {
      if (slow) await new Promise<void>((resolve) => stage.clock.setTimer(resolve, 300));
      return true;
    },
  });
  await stage.start(a);
  await stage.clock.advance(50);
  slow = true;
  const seen: string[] = [];
  void a.election.changes({ types: ["acquired", "lost"] }).forEach(({ type }) => void seen.push(type));
  const trying = a.election.tryAcquireLeadership();
  await free();
  const first = await stage.finish(a.election.waitForLeadership());
  const { outcome, ...rest } = await stage.finish(trying);
  assert.equal(outcome, "elected");
  assert.equal("term" in rest && rest.term.termId, first.termId);
  await stage.finish(a.election.releaseLeadership({ cooldown: 0 }));
  await stage.clock.advance(2_000);
  assert.equal(a.election.isLeader, true);
  assert.deepEqual(seen, ["acquired", "lost", "acquired"]);
});

test("tryAcquireLeadership() is answered by a look that begins after the call", async () => {
  const stage = new Stage();
  const free = await hold(stage);
  const a = stage.actor("a");
  a.provider.faults.acquire = { delayAnswerMs: 500 };
  const started = a.election.start();
  await stage.clock.advance(100);
  await free();
  // The look that is under way was refused before that.
  const { outcome } = await stage.finish(a.election.tryAcquireLeadership());
  assert.equal(outcome, "elected");
  await started;
});

test("tryAcquireLeadership() asks once while a follower waits, and a leader neither asks nor watches", async () => {
  const stage = new Stage();
  const free = await hold(stage);
  const store = stage.open();
  let watches = 0;
  const provider = stage.wrap(store, {
    async *watch(group, options) {
      watches++;
      try {
        if (store.watch) yield* store.watch(group, options);
      } finally {
        watches--;
      }
    },
  });
  const election = new LeaderElection(provider, { electionGroup: "g", clock: stage.clock });
  await stage.finish(election.start());
  await stage.clock.advance(100);
  assert.equal(watches, 1);
  await free();
  assert.equal((await stage.finish(election.tryAcquireLeadership())).outcome, "elected");
  await stage.clock.advance(20_000);
  assert.deepEqual([election.isLeader, watches], [true, 0]);
  await stage.finish(election.stop());
});

test("tryAcquireLeadership() waits for the end of a step-down", async () => {
  const stage = new Stage();
  const a = stage.actor("a");
  await stage.start(a);
  a.provider.faults.release = { delayRequestMs: 400 };
  const first = a.election.term;
  const released = a.election.releaseLeadership();
  const trying = a.election.tryAcquireLeadership();
  await stage.clock.advance(399);
  assert.equal(count(a, "acquire"), 1);
  const result = await stage.finish(trying);
  assert.ok(result.outcome === "elected" && result.term.token > (first?.token ?? 0n));
  await released;
});

for (const chained of ["turn", "tick"] as const) {
  test(`releaseLeadership() comes after a try that was asked for before it, when chained by a ${chained}`, async () => {
    const stage = new Stage();
    const free = await hold(stage);
    const a = stage.actor("a");
    await stage.start(a);
    await stage.clock.advance(50);
    await free();
    const trying = a.election.tryAcquireLeadership();
    if (chained === "tick") await Promise.resolve();
    const released = a.election.releaseLeadership();
    assert.equal((await stage.finish(trying)).outcome, "elected");
    await stage.finish(released);
    assert.equal(a.election.isLeader, false);
    assert.equal(await stage.store.read("g", soon()), null);
    await stage.clock.advance(4_000);
    assert.equal(a.election.isLeader, false, "it cools down");
  });
}

test("stop() waits for the end of whatever goes on, and nothing renews after it", async () => {
  const stage = new Stage();
  const a = stage.actor("a");
  await stage.start(a);
  a.provider.faults.release = { delayAnswerMs: 300 };
  const calls = [
    a.election.releaseLeadership({ cooldown: 0 }),
    a.election.tryAcquireLeadership().catch(() => {}),
    a.election.releaseLeadership({ cooldown: 0 }),
  ];
  await stage.clock.advance(350);
  await stage.finish(Promise.all([...calls, a.election.stop()]));
  assert.equal(a.election.status.role, "stopped");
  assert.equal(await stage.store.read("g", soon()), null);
  const { length } = a.provider.calls;
  await stage.clock.advance(60_000);
  assert.equal(a.provider.calls.length, length);
});

test("an evicted term ends as one, and the participant leads again under a larger token", async () => {
  const stage = new Stage();
  const a = stage.actor("a");
  await stage.start(a);
  const { term: first } = a.election;
  assert.ok(first);
  await stage.store.release(first, soon());
  await stage.clock.advance(6_000);
  assert.equal(first.signal.aborted, true);
  assert.equal(first.signal.reason.reason, "lost");
  assert.ok((a.election.term?.token ?? 0n) > first.token);
});

test("an unhealthy answer that comes after its term leaves the next one alone", async () => {
  const stage = new Stage();
  let answer: Promise<boolean> | boolean = true;
  const a = stage.actor("a", { healthCheck: () => answer });
  await stage.start(a);
  const late = gate<boolean>();
  answer = late.promise;
  await stage.clock.advance(5_000); // A heartbeat has asked.
  answer = true;
  await stage.finish(a.election.releaseLeadership({ cooldown: 0 }));
  await stage.clock.advance(200);
  const { term } = a.election;
  assert.ok(term?.isValid);
  late.resolve(false);
  await stage.clock.advance(1_000);
  assert.equal(a.election.term, term);
});

test("start({ signal }) stops an election that was open already, when the signal aborts", async () => {
  const stage = new Stage();
  const a = stage.actor("a");
  await stage.start(a);
  const { controller, listeners } = countedSignal();
  for (let i = 0; i < 10; i++) await stage.finish(a.election.start(controller));
  assert.equal(listeners(), 1);
  controller.abort();
  assert.equal(a.election.isLeader, false);
  await stage.clock.advance(100);
  assert.equal(a.election.status.role, "stopped");
});

test("start({ signal }) that waits for a stop does not start, when the signal aborts meanwhile", async () => {
  const stage = new Stage();
  const a = stage.actor("a");
  await stage.start(a);
  const work = gate();
  void a.election.run(() => work.promise).catch(() => {});
  await stage.clock.advance(1);
  const stopped = a.election.stop();
  const { controller, listeners } = countedSignal();
  // The abort is the last word on both.
  const starts = [a.election.start(), a.election.start(controller)];
  await stage.clock.advance(10);
  controller.abort();
  work.resolve();
  await stage.finish(Promise.all([stopped, ...starts]));
  await stage.clock.advance(1_000);
  assert.deepEqual([a.election.status.role, listeners()], ["stopped", 0]);
});

test("the last word counts, when a start() that waits for a stop is aborted and another follows", async () => {
  const stage = new Stage();
  const a = stage.actor("a");
  await stage.start(a);
  a.provider.faults.release = { delayAnswerMs: 100 };
  const stopped = a.election.stop();
  const controller = new AbortController();
  const first = a.election.start(controller);
  controller.abort();
  const second = a.election.start();
  await stage.finish(Promise.all([stopped, first, second]));
  assert.equal(a.election.isLeader, true);
});

test("no call leaves a listener on its signal", async () => {
  const stage = new Stage();
  const a = stage.actor("a");
  const { controller, listeners } = countedSignal();
  const { signal } = controller;
  await stage.finish(a.election.start({ signal }));
  for (let i = 0; i < 3; i++) {
    await stage.finish(a.election.tryAcquireLeadership({ signal }));
    await stage.finish(a.election.waitForLeadership({ signal }));
    await stage.finish(a.election.run(() => Promise.resolve(), { signal }));
    await stage.clock.advance(6_000);
  }
  assert.equal(listeners(), 1, "start() listens as long as it runs");
  await stage.finish(a.election.stop());
  assert.equal(listeners(), 0);
});

test("run() begins no work, when its signal aborts in the turn in which it leads", async () => {
  const stage = new Stage();
  const a = stage.actor("a");
  await stage.start(a);
  let begun = 0;
  for (const abortFirst of [true, false]) {
    const controller = new AbortController();
    if (abortFirst) void a.election.waitForLeadership().then(() => controller.abort());
    const run = a.election.run(() => Promise.resolve(begun++), controller);
    if (!abortFirst) controller.abort();
    assert.equal(await stage.finish(run), undefined);
    await stage.clock.advance(6_000);
  }
  assert.equal(begun, 0);
});

test("run() returns after its lease is free again", async () => {
  const stage = new Stage();
  const a = stage.actor("a");
  await stage.start(a);
  a.provider.faults.release = { delayRequestMs: 200, delayAnswerMs: 200 };
  await stage.finish(a.election.run(() => Promise.resolve()));
  assert.equal(await stage.store.read("g", soon()), null);
});

test("a term that a wall clock has ended gives its lease back, and somebody leads at once", async () => {
  const stage = new Stage();
  let ahead = 0;
  const clock = { ...boundClock(stage), wall: () => stage.clock.wall() + ahead };
  const a = stage.actor("a", { clock });
  const b = stage.actor("b");
  await stage.start(a);
  await stage.start(b);
  await stage.clock.advance(6_000);
  ahead = 3_600_000;
  await stage.clock.advance(1_100); // It is noticed within a second.
  await stage.clock.advance(100);
  assert.deepEqual([a.election.isLeader, b.election.isLeader], [false, true]);
});

test("a lease whose release has failed is freed by a later look", async () => {
  const stage = new Stage();
  const [a, b] = [stage.actor("a"), stage.actor("b", { electionInterval: 300 })];
  await stage.start(a);
  await stage.start(b);
  a.provider.faults.release = { fail: true };
  await stage.finish(a.election.releaseLeadership({ cooldown: "1h" }));
  delete a.provider.faults.release;
  await stage.clock.advance(1_000);
  assert.equal(b.election.isLeader, true);
});

test("a grant that nobody waits for any more is freed by a later look", async () => {
  const stage = new Stage();
  let isFit = true;
  const a = stage.actor("a", { healthCheck: () => isFit, lockTimeout: 100, electionInterval: 500 });
  a.provider.faults.acquire = { delayRequestMs: 2_000 };
  await stage.start(a);
  delete a.provider.faults.acquire;
  isFit = false;
  await stage.clock.advance(1_900);
  assert.ok(count(a, "release") > 0, "what may have been granted is given back");
  await stage.clock.advance(101);
  assert.equal((await stage.store.read("g", soon()))?.leaderId, "a", "it has come late");
  await stage.clock.advance(1_200);
  assert.equal(await stage.store.read("g", soon()), null);
});

test("a release is tried again at once, when it fails once", async () => {
  const stage = new Stage();
  const a = stage.actor("a");
  await stage.start(a);
  a.provider.faults.release = { fail: true };
  const stopped = a.election.stop();
  await stage.clock.advance(1);
  delete a.provider.faults.release;
  await stage.finish(stopped);
  assert.ok(count(a, "release") > 1);
  assert.equal(await stage.store.read("g", soon()), null);
});

test("heartbeats find a backend that is well again before the deadline, whatever the back-off was", async () => {
  for (const wellAgainAt of [7_000, 9_000, 11_000, 12_500]) {
    const stage = new Stage();
    const a = stage.actor("a", { random: () => 0.999 });
    await stage.start(a);
    await stage.clock.advance(4_000);
    a.provider.faults.renew = { fail: true };
    await stage.clock.advance(wellAgainAt - 4_000);
    delete a.provider.faults.renew;
    await stage.clock.advance(20_000);
    assert.equal(a.election.term?.token, 1n, `well again after ${wellAgainAt} ms`);
  }
});

test("the back-off between heartbeats begins anew, when one has succeeded", async () => {
  const stage = new Stage();
  const a = stage.actor("a", { random: () => 0.999 });
  await stage.start(a);
  const triesIn = async (ms: number) => {
    const before = count(a, "renew");
    a.provider.faults.renew = { fail: true };
    await stage.clock.advance(ms);
    delete a.provider.faults.renew;
    return count(a, "renew") - before;
  };
  await stage.clock.advance(4_000);
  const first = await triesIn(4_000);
  await stage.clock.advance(5_000);
  const before = count(a, "renew");
  while (count(a, "renew") === before) await stage.clock.advance(10);
  await stage.clock.advance(4_000);
  assert.equal(await triesIn(4_000), first);
});

test("updateMetadata() sends what came while an earlier one was on its way", async () => {
  const stage = new Stage();
  const a = stage.actor("a");
  await stage.start(a);
  a.provider.faults.renew = { delayAnswerMs: 100 };
  const first = a.election.updateMetadata({ load: "1" });
  await stage.clock.advance(1);
  const others = ["2", "3"].map((load) => a.election.updateMetadata({ load }));
  await stage.finish(Promise.all([first, ...others]));
  assert.deepEqual((await stage.store.read("g", soon()))?.metadata, { load: "3" });
  assert.equal(count(a, "renew"), 2, "those that wait travel together");
});

test("a term outlives metadata that the backend does not take", async () => {
  const stage = new Stage();
  const store = stage.open();
  let refused = 0;
  const provider = stage.wrap(store, {
    renew(lease, options) {
      if (options.metadata === undefined) return store.renew(lease, options);
      refused++;
      return Promise.reject(new Error("the disk is full"));
    },
  });
  const election = new LeaderElection(provider, { electionGroup: "g", clock: stage.clock });
  await stage.finish(election.start());
  await assert.rejects(stage.finish(election.updateMetadata({ load: "high" })), /the disk is full/);
  await stage.clock.advance(120_000);
  assert.equal(election.term?.token, 1n);
  assert.ok(refused > 10, "it is tried again after each heartbeat");
  await stage.finish(election.stop());
});

test("looks at a vacant group are quick again, when somebody has led in between", async () => {
  const stage = new Stage();
  const a = stage.actor("a", { observer: true, electionInterval: "1h" });
  await stage.start(a);
  const looksIn = async (ms: number) => {
    const before = count(a, "read");
    await stage.clock.advance(ms);
    return count(a, "read") - before;
  };
  await looksIn(60_000);
  assert.ok(await looksIn(1_000) <= 1, "they have slowed down");
  const free = await hold(stage);
  while (a.election.status.currentLeader === null) await stage.clock.advance(10);
  await free();
  assert.ok(await looksIn(1_000) >= 3);
});

test("a leader that was first seen in its last instant is told of when it turns out to live", async () => {
  const stage = new Stage();
  await hold(stage);
  const store = stage.open();
  let first = true;
  const provider = stage.wrap(store, {
    async acquire(request, options) {
      const answer = await store.acquire(request, options);
      if (answer.acquired || answer.leader === null || !first) return answer;
      first = false;
      return { acquired: false, leader: { ...answer.leader, expiresIn: 0 } };
    },
  });
  const election = new LeaderElection(provider, { electionGroup: "g", clock: stage.clock });
  const seen: (string | undefined)[] = [];
  void election.changes().forEach(({ current }) => void seen.push(current?.leaderId));
  await stage.finish(election.start());
  await stage.clock.advance(1_000);
  assert.deepEqual([election.status.currentLeader?.leaderId, seen], ["other", ["other"]]);
  await stage.finish(election.stop());
});

test("elect() closes what it opened, when its signal aborts meanwhile", async () => {
  let open = 0;
  const opening = gate();
  registerProvider({
    name: "closing",
    protocols: ["closing:"],
    async open(): Promise<Provider> {
      await opening.promise;
      open++;
      const memory = memoryProvider({ name: "closing" });
      return new Proxy(memory, {
        get(target, key) {
          if (key === Symbol.asyncDispose) return () => (open--, Promise.resolve());
          const value = Reflect.get(target, key);
          return typeof value === "function" ? value.bind(target) : value;
        },
      });
    },
  });
  const controller = new AbortController();
  const electing = elect("closing:", { electionGroup: "g", signal: controller.signal });
  controller.abort(new Error("no more"));
  opening.resolve();
  await assert.rejects(electing, /no more/);
  assert.equal(open, 0);
});

function boundClock(stage: Stage) {
  const { clock } = stage;
  return {
    monotonic: () => clock.monotonic(),
    setTimer: (callback: () => void, delayMs: number) => clock.setTimer(callback, delayMs),
  };
}
