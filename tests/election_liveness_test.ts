/** Liveness of the election: L1 to L7 of docs/proof.md. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { elect } from "../src/elect.ts";
import { LeaderElection } from "../src/election.ts";
import type { Provider } from "../src/provider.ts";
import { registerProvider } from "../src/registry.ts";
import { gate, Stage } from "./stage.ts";

test("tryAcquireLeadership() while leading returns the same term and disturbs nothing", async () => {
  const stage = new Stage();
  const [a, b] = [stage.actor("a"), stage.actor("b")];
  await stage.start(a);
  await stage.start(b);
  const { term } = a.election;
  const again = await stage.finish(a.election.tryAcquireLeadership());
  assert.ok(again.outcome === "elected" && again.term === term);
  const held = await stage.finish(b.election.tryAcquireLeadership());
  assert.equal(held.outcome === "held" && held.leader?.leaderId, "a");
  await stage.during(30_000, () => assert.deepEqual([a.election.isLeader, b.election.isLeader], [true, false]));
});

test("a release between the look and the subscription is not missed", async () => {
  const stage = new Stage();
  const [a, b] = [stage.actor("a"), stage.actor("b")];
  await stage.start(a);
  // The answer "held" is on its way while the lease is released: no hint can reach a subscriber that is not there yet.
  b.provider.faults.acquire = { delayAnswerMs: 100 };
  const started = b.election.start();
  await stage.clock.advance(10);
  delete b.provider.faults.acquire;
  await stage.finish(a.election.stop());
  await stage.finish(started);
  await stage.clock.advance(20);
  assert.equal(b.election.isLeader, true);
});

test("a waiter that comes when leadership is there already does not wait", async () => {
  const stage = new Stage();
  const a = stage.actor("a");
  await stage.start(a);
  assert.equal((await a.election.waitForLeadership()).token, 1n);
  assert.equal((await a.election.waitForLeader()).leaderId, "a");
});

for (const operation of ["acquire", "renew", "release", "read"] as const) {
  test(`stop() ends in bounded time, when ${operation} hangs, and leaves no timer`, async () => {
    const stage = new Stage();
    const a = stage.actor("a", { observer: operation === "read" });
    if (operation !== "acquire" && operation !== "read") await stage.start(a);
    a.provider.faults[operation] = { hang: true };
    void a.election.start();
    await stage.clock.advance(7_000);
    const before = stage.clock.monotonic();
    await stage.finish(a.election.stop());
    const took = stage.clock.monotonic() - before;
    assert.ok(took <= 5_000 + 5_000 + 3 * 5_000, `${took}`);
    await stage.clock.advance(0);
    assert.equal(stage.clock.pending, 0);
  });
}

test("calls to a hung backend do not pile up", async () => {
  const stage = new Stage();
  const a = stage.actor("a");
  a.provider.faults.acquire = { hang: true };
  void a.election.start();
  await stage.clock.advance(60_000);
  // Each holds its place for lockTimeout: at most one in five seconds.
  assert.ok(a.provider.calls.length <= 12, `${a.provider.calls.length}`);
  delete a.provider.faults.acquire;
  await stage.clock.advance(10_000);
  assert.equal(a.election.isLeader, true);
});

test("streams end on stop, and those that come after end at once", async () => {
  const stage = new Stage();
  const a = stage.actor("a");
  const before = a.election.changes().toArray();
  await stage.start(a);
  await stage.finish(a.election.stop());
  assert.equal((await before).length, 2);
  assert.deepEqual(await a.election.changes().toArray(), []);
  await assert.rejects(a.election.waitForLeadership(), /it was stopped/);
  await assert.rejects(a.election.waitForLeader(), /it was stopped/);
});

test("stop() ends streams and waits of an election that was never started", async () => {
  const stage = new Stage();
  const a = stage.actor("a");
  const [changes, waiting] = [a.election.changes().toArray(), a.election.waitForLeadership()];
  const refused = assert.rejects(waiting, /it was stopped/);
  await stage.finish(a.election.stop());
  assert.deepEqual(await changes, []);
  await refused;
});

test("a leader that released does not win again before its cool-down is over", async () => {
  const stage = new Stage();
  const a = stage.actor("a");
  await stage.start(a);
  await stage.finish(a.election.releaseLeadership({ cooldown: "8s" }));
  await stage.during(7_500, () => assert.equal(a.election.isLeader, false));
  await stage.clock.advance(1_000);
  assert.equal(a.election.isLeader, true);
});

test("followers do not look in phase", async () => {
  const stage = new Stage();
  const looks = new Set<number>();
  let seed = 0;
  const random = () => (seed = (seed * 16_807 + 11) % 2_147_483_647) / 2_147_483_647;
  // Without hints there is only the interval.
  const open = (): Provider => {
    const { watch: _, ...rest } = bind(stage.open());
    return { ...rest, acquire: (...of) => (looks.add(Math.round(stage.clock.monotonic())), rest.acquire(...of)) };
  };
  const leader = stage.actor("leader");
  await stage.start(leader);
  for (let i = 0; i < 20; i++) {
    void new LeaderElection(open(), { electionGroup: "g", participantId: `p${i}`, clock: stage.clock, random }).start();
  }
  await stage.clock.advance(1_000);
  looks.clear();
  await stage.clock.advance(5_000);
  assert.ok(looks.size >= 15, `${looks.size}`);
});

test("a backend that was down at start is found", async () => {
  const stage = new Stage();
  const a = stage.actor("a");
  a.provider.faults.acquire = { fail: true };
  await stage.start(a);
  assert.equal(a.election.status.role, "follower");
  await stage.clock.advance(120_000);
  delete a.provider.faults.acquire;
  await stage.clock.advance(5_000);
  assert.equal(a.election.isLeader, true);
});

test("a lease whose grant was lost on the way is led by the next look", async () => {
  const stage = new Stage();
  const [a, b] = [stage.actor("a"), stage.actor("b")];
  a.provider.faults.acquire = { loseAnswer: true };
  await stage.start(a);
  await stage.start(b);
  delete a.provider.faults.acquire;
  await stage.clock.advance(1_000);
  // The token shows that it is the first grant, found again, and not a second.
  assert.equal(a.election.term?.token, 1n);
});

test("a grant that was lost is given back on stop", async () => {
  const stage = new Stage();
  const a = stage.actor("a");
  a.provider.faults.acquire = { loseAnswer: true };
  await stage.start(a);
  await stage.finish(a.election.stop());
  assert.equal(await stage.store.read("g", { signal: AbortSignal.timeout(1_000) }), null);
});

test("a follower that stopped keeps nobody from leading", async () => {
  const stage = new Stage();
  const [a, b, c] = [stage.actor("a"), stage.actor("b"), stage.actor("c")];
  for (const actor of [a, b, c]) await stage.start(actor);
  await stage.finish(b.election.stop());
  await stage.finish(a.election.stop());
  await stage.clock.advance(20);
  assert.equal(c.election.isLeader, true);
});

test("nothing is left behind after stop", async () => {
  const stage = new Stage();
  const [a, b] = [stage.actor("a"), stage.actor("b")];
  await stage.start(a);
  await stage.start(b);
  await stage.clock.advance(100);
  await stage.finish(b.election.stop());
  await stage.finish(a.election.stop());
  assert.equal(stage.clock.pending, 0);
});

test("an election does not close a provider that it was given", async () => {
  const stage = new Stage();
  let closed = 0;
  const provider: Provider = { ...bind(stage.open()), [Symbol.asyncDispose]: () => Promise.resolve(void closed++) };
  const options = { participantId: "a", clock: stage.clock };
  const one = await stage.finish(elect(provider, { electionGroup: "one", ...options }));
  const two = await stage.finish(elect(provider, { electionGroup: "two", ...options }));
  await stage.finish(one.stop());
  assert.equal(closed, 0);
  assert.equal(two.isLeader, true);
});

test("elect() closes the provider that it opened on stop, and start() opens another", async () => {
  const stage = new Stage();
  let opened = 0;
  let closed = 0;
  registerProvider({
    name: "counting",
    protocols: ["counting:"],
    open() {
      opened++;
      return { ...bind(stage.open()), [Symbol.asyncDispose]: () => Promise.resolve(void closed++) };
    },
  });
  const election = await stage.finish(elect("counting:", { electionGroup: "g", clock: stage.clock }));
  await stage.finish(election.stop());
  assert.deepEqual([opened, closed], [1, 1]);
  await stage.finish(election.start());
  assert.equal(election.isLeader, true);
  await stage.finish(election.stop());
  assert.deepEqual([opened, closed], [2, 2]);
});

test("elect() does not start, when autoStart is false", async () => {
  const stage = new Stage();
  const provider = stage.open();
  const election = await elect(provider, { electionGroup: "g", clock: stage.clock, autoStart: false });
  await stage.clock.advance(10_000);
  assert.equal(election.status.role, "stopped");
  assert.equal(await provider.read("g", { signal: AbortSignal.timeout(1_000) }), null);
});

test("L1: a leader that vanished is succeeded within its lease and one look", async () => {
  const stage = new Stage();
  const [a, b] = [stage.actor("a"), stage.actor("b")];
  await stage.start(a);
  await stage.start(b);
  await stage.clock.advance(30_000);
  a.provider.faults.renew = a.provider.faults.acquire = { hang: true };
  await stage.clock.advance(15_000 + 200);
  assert.equal(b.election.isLeader, true);
});

test("L2: a graceful hand-off takes no more than the spread of a hint", async () => {
  const stage = new Stage();
  const [a, b] = [stage.actor("a"), stage.actor("b")];
  await stage.start(a);
  await stage.start(b);
  await stage.clock.advance(100);
  await stage.finish(a.election.releaseLeadership(), 1);
  await stage.clock.advance(10);
  assert.equal(b.election.isLeader, true);
});

test("L5: stop() ends, when closing the provider hangs", async () => {
  const stage = new Stage();
  const provider = { ...bind(stage.open()), [Symbol.asyncDispose]: () => new Promise<void>(() => {}) };
  registerProvider({ name: "hung-close", protocols: ["hung-close:"], open: () => provider });
  const election = await stage.finish(elect("hung-close:", { electionGroup: "g", clock: stage.clock }));
  await stage.finish(election.stop());
  assert.equal(stage.clock.pending, 0);
});

test("L6: start and stop can be repeated, and overlap", async () => {
  const stage = new Stage();
  const a = stage.actor("a");
  for (let i = 1; i <= 20; i++) {
    await stage.start(a);
    assert.equal(a.election.term?.token, BigInt(i));
    await stage.finish(a.election.stop());
  }
  const [stopped, started] = [a.election.stop(), a.election.start()];
  await stage.finish(Promise.all([stopped, started, a.election.start()]));
  assert.equal(a.election.isLeader, true);
  await stage.finish(Promise.all([a.election.stop(), a.election.stop()]));
  assert.equal(stage.clock.pending, 0);
});

test("L7: a leader whose every call takes nearly requestTimeout is never deposed", async () => {
  const stage = new Stage();
  const a = stage.actor("a");
  await stage.start(a);
  a.provider.faults.renew = { delayAnswerMs: 4_990 };
  await stage.during(120_000, () => assert.equal(a.election.isLeader, true));
});

test("start() resolves, when the backend hangs", async () => {
  const stage = new Stage();
  const a = stage.actor("a", { lockTimeout: "2s" });
  a.provider.faults.acquire = { hang: true };
  await stage.start(a);
  assert.equal(stage.clock.monotonic() >= 2_000 && stage.clock.monotonic() < 2_100, true);
});

test("start() resolves and the leader is seen, though work of an earlier term never settles", async () => {
  const stage = new Stage();
  const [a, b] = [stage.actor("a"), stage.actor("b")];
  await stage.start(a);
  const stuck = gate();
  void a.election.run(() => stuck.promise).catch(() => {});
  await stage.clock.advance(10);
  await stage.finish(a.election.stop());
  await stage.start(b);
  await stage.start(a);
  assert.equal(a.election.status.currentLeader?.leaderId, "b");
  await stage.finish(b.election.stop());
  await stage.during(20_000, () => assert.equal(a.election.isLeader, false));
  // Settled, it holds up nothing any more, and nobody waits for the next look that was planned.
  stuck.resolve();
  await stage.clock.advance(20);
  assert.equal(a.election.isLeader, true);
});

test("a logger that throws disturbs nothing", async () => {
  const stage = new Stage();
  const fail = () => {
    throw new Error("disk full");
  };
  const logger = { debug: fail, info: fail, warn: fail, error: fail };
  const a = stage.actor("a", { logger, enableDetailedLogging: true });
  a.provider.faults.acquire = { fail: true };
  await stage.start(a);
  delete a.provider.faults.acquire;
  await stage.clock.advance(1_000);
  assert.equal(a.election.isLeader, true);
  const changes = a.election.changes();
  await stage.finish(a.election.stop());
  assert.equal((await changes.toArray()).at(-1)?.type, "lost");
});

test("start() stops the election, when its signal or that of the options aborts", async () => {
  const stage = new Stage();
  const [one, two] = [new AbortController(), new AbortController()];
  const a = stage.actor("a", { signal: one.signal });
  await stage.finish(a.election.start({ signal: two.signal }));
  two.abort();
  await stage.clock.advance(100);
  assert.equal(a.election.status.role, "stopped");
  await stage.start(a);
  one.abort(new Error("enough"));
  await stage.clock.advance(100);
  assert.equal(a.election.status.role, "stopped");
  await assert.rejects(a.election.start(), /enough/);
});

test("a healthCheck that says no, fails or hangs makes the leader step down, and keeps it from campaigning", async () => {
  const stage = new Stage();
  for (const sick of [() => false, () => Promise.reject(new Error("sick")), () => new Promise<boolean>(() => {})]) {
    let check: () => boolean | Promise<boolean> = () => true;
    const a = stage.actor("a", { healthCheck: () => check() });
    const changes = a.election.changes({ types: ["lost"] });
    await stage.start(a);
    assert.equal(a.election.isLeader, true);
    check = sick;
    await stage.clock.advance(12_000);
    assert.equal(a.election.isLeader, false);
    assert.equal((await changes.next()).value?.reason, "unhealthy");
    assert.equal(await stage.store.read("g", { signal: AbortSignal.timeout(1_000) }), null);
    await stage.during(10_000, () => assert.equal(a.election.isLeader, false));
    await assert.rejects(stage.finish(a.election.tryAcquireLeadership()), /health check failed/);
    check = () => true;
    await stage.clock.advance(10_000);
    assert.equal(a.election.isLeader, true);
    await stage.finish(a.election.stop());
  }
});

test("tryAcquireLeadership() wins at once, during a cool-down", async () => {
  const stage = new Stage();
  const a = stage.actor("a");
  await stage.start(a);
  await stage.finish(a.election.releaseLeadership({ cooldown: "1h" }));
  const { outcome } = await stage.finish(a.election.tryAcquireLeadership());
  assert.equal(outcome, "elected");
  await stage.during(60_000, () => assert.equal(a.election.isLeader, true));
});

test("tryAcquireLeadership() rejects with what the provider threw, or its signal's reason", async () => {
  const stage = new Stage();
  const a = stage.actor("a");
  await assert.rejects(a.election.tryAcquireLeadership(), /it is not started/);
  a.provider.faults.acquire = { fail: true };
  await stage.start(a);
  await assert.rejects(stage.finish(a.election.tryAcquireLeadership()), /connection refused/);
  a.provider.faults.acquire = { hang: true };
  const controller = new AbortController();
  const attempt = a.election.tryAcquireLeadership({ signal: controller.signal });
  controller.abort(new Error("changed my mind"));
  await assert.rejects(attempt, /changed my mind/);
});

test("hints that break off are listened to again, and polling goes on meanwhile", async () => {
  const stage = new Stage();
  const broken = gate();
  let streams = 0;
  const inner = stage.open();
  const provider: Provider = {
    ...bind(inner),
    async *watch(group, options) {
      if (streams++ === 0) {
        yield;
        await broken.promise;
        throw new Error("broken");
      }
      if (inner.watch) yield* inner.watch(group, options);
    },
  };
  const a = stage.actor("a");
  await stage.start(a);
  const b = new LeaderElection(provider, { electionGroup: "g", participantId: "b", clock: stage.clock });
  await stage.finish(b.start());
  await stage.clock.advance(1_000);
  broken.resolve();
  await stage.clock.advance(1_000);
  assert.equal(streams, 2);
  await stage.finish(a.election.stop(), 1);
  await stage.clock.advance(10);
  assert.equal(b.isLeader, true);
});

/** The provider as a plain object, whose parts can be replaced. */
function bind(provider: Provider): Provider {
  const { name, capabilities } = provider;
  return {
    name,
    capabilities,
    acquire: provider.acquire.bind(provider),
    renew: provider.renew.bind(provider),
    release: provider.release.bind(provider),
    read: provider.read.bind(provider),
    ...(provider.watch && { watch: provider.watch.bind(provider) }),
    healthCheck: provider.healthCheck.bind(provider),
    [Symbol.asyncDispose]: () => provider[Symbol.asyncDispose](),
  };
}
