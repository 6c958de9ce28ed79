/** Nothing piles up: elections that start and stop, and terms that change hands, ten thousand times. */

import { equal, rejects } from "node:assert/strict";
import { test } from "node:test";
import { memoryProvider } from "../providers/memory.ts";
import { LeaderElection } from "../src/election.ts";
import { VirtualClock } from "../testing/virtual_clock.ts";
import { CountingClock, heapStaysFlat, nobodyListens } from "./leaks.ts";

const ROUNDS = 10_000;

test(`start() and stop() leave nothing behind, ${ROUNDS} times, of one election and of ever new ones`, async () => {
  const clock = new CountingClock();
  const provider = memoryProvider({ name: "leaks-start", clock });
  const { signal } = new AbortController();
  const options = { electionGroup: "leaks", participantId: "p", clock, signal };
  const lasting = new LeaderElection(provider, options);
  await heapStaysFlat(ROUNDS, async () => {
    await lasting.start();
    equal(lasting.isLeader, true);
    await lasting.stop();
    const fleeting = new LeaderElection(provider, options);
    const changes = fleeting.changes();
    await fleeting.start({ signal });
    await fleeting.stop();
    equal((await changes.toArray()).length, 2);
  });
  equal(clock.pending, 0);
  nobodyListens(signal);
});

test(`terms that change hands leave nothing behind, ${ROUNDS} times`, async () => {
  const clock = new VirtualClock();
  const { signal } = new AbortController();
  const open = (participantId: string) =>
    new LeaderElection(memoryProvider({ name: "leaks-terms", clock }), {
      electionGroup: "leaks",
      participantId,
      clock,
      signal,
      random: () => 0,
    });
  let [leader, follower] = [open("a"), open("b")];
  await leader.start();
  await follower.start();
  const seen = { a: 0, b: 0 };
  void leader.changes({ types: ["acquired"] }).forEach(() => void seen.a++);
  void follower.changes({ types: ["acquired"] }).forEach(() => void seen.b++);
  await heapStaysFlat(ROUNDS, async () => {
    const elected = follower.waitForLeadership({ signal });
    await leader.releaseLeadership({ cooldown: 1 });
    for (let waited = 0; waited < 100 && !follower.isLeader; waited++) await clock.advance(1);
    equal((await elected).isValid, true);
    await clock.advance(10);
    [leader, follower] = [follower, leader];
  });
  // The first term began before anybody subscribed.
  equal(seen.a + seen.b, ROUNDS);
  await Promise.all([leader.stop(), follower.stop()]);
  equal(clock.pending, 0);
  nobodyListens(signal);
});

test(`calls that are answered leave nothing on a signal that lasts, ${ROUNDS} times`, async () => {
  const provider = memoryProvider({ name: "leaks-lasting" });
  await using election = new LeaderElection(provider, { electionGroup: "leaks" });
  const { signal } = new AbortController();
  await election.start({ signal });
  await heapStaysFlat(ROUNDS, async () => {
    await election.tryAcquireLeadership({ signal });
    await election.waitForLeadership({ signal });
    await election.getCurrentLeader({ signal });
    await election.changes({ signal }).return();
  });
});

test("calls that are given up leave no listener on the caller's signal", async () => {
  const provider = memoryProvider({ name: "leaks-signal" });
  await using election = new LeaderElection(provider, { electionGroup: "leaks", observer: true });
  await election.start();
  const { signal } = new AbortController();
  for (let calls = 0; calls < 100; calls++) await election.getCurrentLeader({ signal });
  const waiting = election.waitForLeader({ signal });
  await election.stop();
  await rejects(waiting);
  nobodyListens(signal);
});

test("heapStaysFlat() rejects, when each round leaves something behind", async () => {
  const left: unknown[] = [];
  await rejects(
    heapStaysFlat(5_000, () => {
      left.push(Array.from({ length: 100 }, (_, index) => ({ index })));
      return Promise.resolve();
    }),
    /the heap grew by/,
  );
  equal(left.length, 5_000);
});
