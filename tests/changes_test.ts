import assert from "node:assert/strict";
import process from "node:process";
import { test } from "node:test";
import { Backlog } from "../src/changes/backlog.ts";
import type { LeadershipChange } from "../src/changes/change.ts";
import { ChangeHub } from "../src/changes/hub.ts";
import { VirtualClock } from "../testing/virtual_clock.ts";
import { acquired, changed, history, lost, random, show } from "./changes_fixture.ts";

function setUp() {
  const clock = new VirtualClock();
  return { clock, hub: new ChangeHub(clock) };
}

test("subscribe() delivers what is published after it was called, when nothing has been read yet", async () => {
  const { hub } = setUp();
  hub.publish(changed(null, "before"));
  const stream = hub.subscribe({ leading: false });
  hub.publish(acquired("1"));
  hub.publish(lost("1"));
  assert.equal((await stream.next()).value?.type, "acquired");
  assert.equal((await stream.next()).value?.type, "lost");
});

test("publish() wakes the read that waits, when several read at once, in their order", async () => {
  const { hub, clock } = setUp();
  const stream = hub.subscribe({ leading: false });
  const reads = [stream.next(), stream.next(), stream.next()];
  await clock.advance(0);
  hub.publish(acquired("1"));
  hub.publish(lost("1"));
  hub.close();
  const types = (await Promise.all(reads)).map((result) => result.value?.type);
  assert.deepEqual(types, ["acquired", "lost", undefined]);
});

test("publish() reaches every subscriber, when one of them has left", async () => {
  const { hub } = setUp();
  const [first, second, third] = [1, 2, 3].map(() => hub.subscribe({ leading: false }));
  await second?.return();
  hub.publish(acquired("1"));
  hub.close();
  assert.deepEqual((await first?.toArray())?.map(show), ["+1"]);
  assert.deepEqual(await second?.toArray(), []);
  assert.deepEqual((await third?.toArray())?.map(show), ["+1"]);
});

test("publish() does not look at the change, when nobody listens", async () => {
  const { hub } = setUp();
  const untouchable = new Proxy(acquired("1"), {
    get: () => assert.fail("it was read"),
    ownKeys: () => assert.fail("it was copied"),
  });
  hub.publish(untouchable);
  const stream = hub.subscribe({ leading: false });
  assert.equal(hub.active, true);
  await stream.return();
  assert.equal(hub.active, false);
  hub.publish(untouchable);
});

test("publish() says nothing, when a change changed nothing", async () => {
  const { hub } = setUp();
  const stream = hub.subscribe({ leading: false });
  hub.publish(changed(null, null));
  hub.publish(changed("a", "a"));
  hub.publish(changed("a", "b"));
  hub.close();
  assert.deepEqual((await stream.toArray()).map(show), ["a>b"]);
});

test("subscribe() delivers some types only, when told which, and refuses unknown ones", async () => {
  const { hub } = setUp();
  const stream = hub.subscribe({ leading: false, types: ["lost"] });
  for (const change of [acquired("1"), lost("1"), changed(null, "x"), acquired("2"), lost("2")]) hub.publish(change);
  hub.close();
  assert.deepEqual((await stream.toArray()).map(show), ["-1", "-2"]);
  assert.throws(() => hub.subscribe({ leading: false, types: ["gained" as "lost"] }), {
    name: "TypeError",
    message: 'Cannot subscribe to "gained": the types of changes are acquired, lost, changed',
  });
});

test("close() ends every stream after what is queued, when it is read or not, and later ones at once", async () => {
  const { hub, clock } = setUp();
  const waiting = hub.subscribe({ leading: false });
  const read = waiting.next();
  const unread = hub.subscribe({ leading: true });
  await clock.advance(0);
  hub.close();
  assert.deepEqual(await read, { done: true, value: undefined });
  hub.publish(acquired("late"));
  assert.deepEqual(await unread.toArray(), []);
  assert.deepEqual(await hub.subscribe({ leading: false }).toArray(), []);
  assert.equal(hub.active, false);
});

test("subscribe() ends with the reason of its signal after what is queued, when it aborts", async () => {
  const { hub } = setUp();
  const controller = new AbortController();
  const stream = hub.subscribe({ leading: false, signal: controller.signal });
  hub.publish(acquired("1"));
  const reason = new Error("enough");
  controller.abort(reason);
  assert.equal(hub.active, false);
  hub.publish(lost("1"));
  assert.equal((await stream.next()).value?.type, "acquired");
  await assert.rejects(stream.next(), reason);
  assert.deepEqual(await stream.next(), { done: true, value: undefined });
});

test("subscribe() rejects the read that waits, when its signal aborts, and the first, when it has aborted before", async () => {
  const { hub, clock } = setUp();
  const controller = new AbortController();
  const read = hub.subscribe({ leading: false, signal: controller.signal }).next();
  await clock.advance(0);
  controller.abort(new Error("now"));
  await assert.rejects(read, /now/);
  await assert.rejects(hub.subscribe({ leading: false, signal: controller.signal }).toArray(), /now/);
  assert.equal(hub.active, false);
});

test("throttle() and debounce() deliver what they hold and then reject, when the signal aborts", async () => {
  for (const operator of ["throttle", "debounce"] as const) {
    const clock = new VirtualClock();
    const hub = new ChangeHub(clock);
    const controller = new AbortController();
    const stream = hub.subscribe({ leading: true, signal: controller.signal })[operator](100);
    const read = stream.next();
    hub.publish(lost("0"));
    await clock.advance(1);
    controller.abort(new Error("left"));
    assert.equal((await read).value?.type, "lost");
    await assert.rejects(stream.next(), /left/);
    assert.equal(clock.pending, 0);
  }
});

test("subscribe() raises no unhandled rejection, when its signal aborts and nobody reads", async () => {
  const { hub, clock } = setUp();
  const unhandled: unknown[] = [];
  const onUnhandled = (reason: unknown) => unhandled.push(reason);
  process.on("unhandledRejection", onUnhandled);
  const controller = new AbortController();
  const { signal } = controller;
  const unread = hub.subscribe({ leading: false, signal });
  void hub.subscribe({ leading: false, signal }).next(); // Read, but nobody looks at what came of it.
  const chained = hub.subscribe({ leading: false, signal }).map(show).throttle(10).buffer({ count: 2 }).debounce(10);
  void chained.next();
  await clock.advance(0);
  controller.abort(new Error("unseen"));
  await clock.advance(100);
  process.off("unhandledRejection", onUnhandled);
  assert.deepEqual(unhandled, []);
  await assert.rejects(unread.next(), /unseen/);
});

test("subscribe() leaves no listener on its signal, when the stream is left or has ended", async () => {
  const { hub } = setUp();
  const { signal } = new AbortController();
  let listeners = 0;
  const add = signal.addEventListener.bind(signal);
  const remove = signal.removeEventListener.bind(signal);
  signal.addEventListener = (...args: Parameters<typeof add>) => (listeners++, add(...args));
  signal.removeEventListener = (...args: Parameters<typeof remove>) => (listeners--, remove(...args));
  const left = hub.subscribe({ leading: false, signal });
  hub.subscribe({ leading: false, signal });
  assert.equal(listeners, 2);
  await left.return();
  assert.equal(listeners, 1);
  hub.close();
  assert.equal(listeners, 0);
});

test("return() ends the read that waits, when it is called meanwhile", async () => {
  const { hub, clock } = setUp();
  const stream = hub.subscribe({ leading: false });
  const reads = [stream.next(), stream.next()];
  await clock.advance(0);
  await stream.return();
  assert.deepEqual(await Promise.all(reads), [{ done: true, value: undefined }, { done: true, value: undefined }]);
  assert.equal(hub.active, false);
});

test("a stream leaves the hub, when its reader breaks, throws or disposes", async () => {
  const { hub } = setUp();
  const publish = () => hub.publish(acquired("1"));
  const broken = hub.subscribe({ leading: false });
  publish();
  for await (const _ of broken) break;
  assert.equal(hub.active, false);
  const failing = hub.subscribe({ leading: false });
  publish();
  await assert.rejects(async () => {
    for await (const change of failing) throw new Error(change.type);
  }, /acquired/);
  assert.equal(hub.active, false);
  {
    await using _stream = hub.subscribe({ leading: false });
    assert.equal(hub.active, true);
  }
  assert.equal(hub.active, false);
});

test("a slow reader gets one `changed` for several in a row, and none, when in the end nothing is different", async () => {
  const { hub } = setUp();
  const stream = hub.subscribe({ leading: false });
  const published = [
    ...[changed(null, "a"), changed("a", null), changed(null, "b"), acquired("1"), lost("1")],
    ...[changed(null, "c"), changed("c", null), acquired("2"), lost("2"), changed(null, "d")],
  ];
  for (const change of published) hub.publish(change);
  hub.close();
  assert.deepEqual((await stream.toArray()).map(show), [">b", "+1", "-1", "+2", "-2", ">d"]);
});

test("a slow reader still gets alternation, the latest state and a `lost` (E1, E3), when it reads at random", async () => {
  for (let seed = 1; seed <= 30; seed++) {
    const next = random(seed);
    const leading = next() < 0.5;
    const { hub, clock } = setUp();
    const stream = hub.subscribe({ leading });
    const read: LeadershipChange[] = [];
    const reader = stream.forEach(async (change) => {
      read.push(change);
      if (next() < 0.5) await clock.advance(0);
    });
    const published = history(6_000, next, leading);
    for (const change of published) {
      hub.publish(change);
      if (next() < 0.02) await clock.advance(0);
    }
    hub.close();
    await reader;
    assert(read.length < published.length && read.length > 1_000, `${read.length} read`);
    assertFaithful(read, published);
  }
});

test("Backlog stays within its bound and forgets whole terms, oldest first, when nobody reads", () => {
  for (const [bound, leading] of [[3, false], [3, true], [4, false], [10, true], [1_024, false]] as const) {
    const backlog = new Backlog(bound);
    const published = history(4_000, random(bound), leading);
    for (const [index, change] of published.entries()) {
      backlog.add(change);
      assert(backlog.size <= 2 * bound + 1, `${backlog.size} after ${index}`);
    }
    const kept: LeadershipChange[] = [];
    for (let change = backlog.take(); change !== undefined; change = backlog.take()) kept.push(change);
    assertFaithful(kept, published);
    // A `lost` that the reader is waiting for comes first, and of the terms that follow the latest are kept.
    const transitions = published.filter((change) => change.type !== "changed").map(show);
    const keptTransitions = kept.filter((change) => change.type !== "changed").map(show);
    if (leading) assert.equal(keptTransitions.shift(), transitions.shift());
    assert.deepEqual(keptTransitions, transitions.slice(-keptTransitions.length));
  }
});

test("Backlog forgets nothing, when what it held has been read", () => {
  const backlog = new Backlog(4);
  for (const change of history(400, random(1), false).filter(({ type }) => type !== "changed")) {
    backlog.add(change);
    assert.equal(backlog.take(), change);
  }
  const last = history(40, random(2), false).filter(({ type }) => type !== "changed").slice(0, 4);
  for (const change of last) backlog.add(change);
  assert.deepEqual(last.map(() => backlog.take()), last);
});

test("Backlog keeps the newest, when only one kind of transition is let through", () => {
  const backlog = new Backlog(3);
  for (let term = 1; term <= 10; term++) {
    backlog.add(changed(null, `x${term}`));
    backlog.add(lost(String(term)));
  }
  const kept: string[] = [];
  for (let change = backlog.take(); change !== undefined; change = backlog.take()) kept.push(show(change));
  assert.deepEqual(kept, [">x8", "-8", ">x9", "-9", ">x10", "-10"]);
});

/** Asserts that who read `read` was told the truth, although not all, of what was `published`. */
function assertFaithful(read: readonly LeadershipChange[], published: readonly LeadershipChange[]): void {
  const transitions = read.filter((change) => change.type !== "changed");
  const first = published.find((change) => change.type !== "changed");
  assert.equal(transitions[0]?.type, first?.type);
  for (const [index, change] of transitions.entries()) {
    const before = transitions[index - 1];
    if (before === undefined) continue;
    assert.notEqual(change.type, before.type);
    // A `lost` ends the very term that the reader was told of.
    if (change.type === "lost") assert.equal(change.previous?.termId, before.current?.termId);
  }
  assert.equal(transitions.at(-1), published.findLast((change) => change.type !== "changed"));
  assert.equal(read.at(-1)?.current?.termId, published.at(-1)?.current?.termId);
  assert(transitions.some((change) => change.lostLeadership) || !published.some((change) => change.lostLeadership));
}
