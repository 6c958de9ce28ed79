import assert from "node:assert/strict";
import { test } from "node:test";
import type { Clock } from "../src/time/clock.ts";
import type { LeadershipChange } from "../src/changes/change.ts";
import { ChangeHub } from "../src/changes/hub.ts";
import type { LeadershipChanges } from "../src/changes/stream.ts";
import { VirtualClock } from "../testing/virtual_clock.ts";
import { acquired, changed, history, lost, random, show, watched } from "./changes_fixture.ts";

/** What `got` has, as `time:change`. */
function timeline(got: readonly { readonly value: LeadershipChange; readonly at: number }[]): string[] {
  return got.map(({ value, at }) => `${at}:${show(value)}`);
}

test("buffer({ time }) delivers when the window ends, when nothing more comes", async () => {
  const { clock, hub, got } = watched((changes) => changes.buffer({ time: "100ms" }));
  await clock.advance(50);
  hub.publish(acquired("1"));
  await clock.advance(60);
  hub.publish(lost("1"));
  await clock.advance(39);
  assert.equal(got.length, 0);
  await clock.advance(1);
  assert.deepEqual(got.map(({ value, at }) => [at, value.map(show)]), [[150, ["+1", "-1"]]]);
  await clock.advance(1_000);
  assert.equal(got.length, 1);
  assert.equal(clock.pending, 0);
});

test("buffer() hands out an array that stays as it is, when the next one fills", async () => {
  for (const limits of [{ count: 2 }, { time: 10 }]) {
    const { clock, hub, got } = watched((changes) => changes.buffer(limits));
    for (const term of ["1", "2", "3"]) {
      hub.publish(acquired(term));
      hub.publish(lost(term));
      await clock.advance(10);
    }
    assert.deepEqual(got.map(({ value }) => value.map(show)), [["+1", "-1"], ["+2", "-2"], ["+3", "-3"]]);
    assert.equal(new Set(got.map(({ value }) => value)).size, 3);
  }
});

test("buffer() delivers the rest, when the election stops", async () => {
  for (const limits of [{ count: 10 }, { time: "1h" as const }]) {
    const { clock, hub, got, over } = watched((changes) => changes.buffer(limits));
    hub.publish(acquired("1"));
    await clock.advance(5);
    hub.publish(lost("1"));
    hub.close();
    await over;
    assert.deepEqual(got.map(({ value }) => value.map(show)), [["+1", "-1"]]);
    assert.equal(clock.pending, 0);
  }
});

test("buffer({ count, time }) ends a batch by whichever comes first, when both are given", async () => {
  const { clock, hub, got } = watched((changes) => changes.buffer({ count: 2, time: 100 }));
  for (const change of [acquired("1"), lost("1"), acquired("2")]) hub.publish(change);
  await clock.advance(99);
  assert.deepEqual(got.map(({ value }) => value.map(show)), [["+1", "-1"]]);
  await clock.advance(1);
  assert.deepEqual(got.map(({ value, at }) => [at, value.length]), [[0, 2], [100, 1]]);
});

test("buffer() makes batches of at most its count, or 1,024, when its reader is slow", async () => {
  for (const [limits, most] of [[{ count: 3 }, 3], [{ time: 1 }, 1_024]] as const) {
    const clock = new VirtualClock();
    const hub = new ChangeHub(clock);
    const stream = hub.subscribe({ leading: false }).buffer(limits);
    const first = stream.next();
    for (const change of history(1_000, random(1), false)) hub.publish(change);
    await clock.advance(2);
    for (const change of history(4_000, random(2), false)) {
      hub.publish(change);
      if (change.becameLeader) await Promise.resolve();
    }
    await clock.advance(2);
    hub.close();
    const sizes = [(await first).value?.length ?? 0, ...(await stream.toArray()).map((batch) => batch.length)];
    assert.equal(Math.max(...sizes), most);
    assert(sizes.every((size) => size > 0));
  }
});

test("throttle() delivers the first at once and the last of each window at its end, when many come", async () => {
  const { clock, hub, got } = watched((changes) => changes.throttle("100ms"));
  for (let index = 0; index < 25; index++) {
    hub.publish(changed(`${index}`, `${index + 1}`));
    await clock.advance(10);
  }
  await clock.advance(1_000);
  assert.deepEqual(timeline(got), ["0:0>1", "100:9>10", "200:19>20", "300:24>25"]);
  assert.equal(clock.pending, 0);
});

test("throttle() opens the next window when it delivers, when a busy machine fired its timer late", async () => {
  const { clock, hub, got } = watched((changes) => changes.throttle(100));
  hub.publish(changed("0", "1"));
  await clock.advance(0);
  hub.publish(changed("1", "2"));
  await clock.advance(0);
  clock.jump(150);
  await clock.advance(0);
  hub.publish(changed("2", "3"));
  await clock.advance(200);
  assert.deepEqual(timeline(got), ["0:0>1", "150:1>2", "250:2>3"]);
});

test("throttle() delivers when its timer fires, when the timer of the runtime is a little early", async () => {
  const virtual = new VirtualClock();
  const timers: number[] = [];
  // As the timers of some runtimes are, which round.
  const early: Clock = {
    monotonic: () => virtual.monotonic(),
    wall: () => virtual.wall(),
    setTimer: (callback, delayMs) => virtual.setTimer(callback, timers.push(delayMs) === 1 ? delayMs - 0.5 : delayMs),
  };
  const hub = new ChangeHub(early);
  const changes = hub.subscribe({ leading: false }).throttle(100);
  hub.publish(acquired("1"));
  await changes.next();
  hub.publish(lost("1"));
  const next = changes.next();
  await virtual.advance(200);
  assert.equal((await next).value?.type, "lost");
  assert.deepEqual(timers, [100]);
  await changes.return();
});

test("throttle() tells of a `lost` by the end of its window, when the leading change was `acquired`", async () => {
  const { clock, hub, got } = watched((changes) => changes.throttle(100));
  hub.publish(acquired("1"));
  await clock.advance(30);
  hub.publish(lost("1"));
  await clock.advance(70);
  assert.deepEqual(timeline(got), ["0:+1", "100:-1"]);
});

test("throttle() and debounce() deliver a `lost` with its `acquired`, when a later `acquired` would overwrite it", async () => {
  for (const operator of ["throttle", "debounce"] as const) {
    const { clock, hub, got } = watched((changes) => changes[operator](100), true);
    hub.publish(changed("z", "a"));
    await clock.advance(operator === "throttle" ? 0 : 100);
    assert.deepEqual(got.splice(0).map(({ value }) => show(value)), ["z>a"]);
    for (const change of [changed("a", "b"), lost("0"), changed(null, "c"), acquired("1")]) hub.publish(change);
    await clock.advance(100);
    assert.deepEqual(got.splice(0).map(({ value }) => show(value)), ["-0", "+1"]);
    const flapping = [
      lost("1"),
      acquired("2"),
      lost("2"),
      acquired("3"),
      lost("3"),
      changed(null, "d"),
      changed("d", "e"),
    ];
    for (const change of flapping) {
      hub.publish(change);
      await clock.advance(0);
    }
    await clock.advance(200);
    assert.deepEqual(got.map(({ value }) => show(value)), ["-1", "+3", "-3", "d>e"]);
  }
});

test("throttle() and debounce() keep the last only, when values are not changes or all are of one kind", async () => {
  for (const operator of ["throttle", "debounce"] as const) {
    const numbered = watched((changes) => changes.map((_, index) => index)[operator](100));
    const losses = watched((changes) => changes.filter((change) => !change.becameLeader)[operator](100));
    for (const { hub } of [numbered, losses]) {
      hub.publish(lost("0"));
      if (operator === "throttle") await Promise.all([numbered.clock.advance(0), losses.clock.advance(0)]);
      for (const term of ["1", "2", "3", "4", "5", "6"]) {
        hub.publish(changed(null, `x${term}`));
        hub.publish(acquired(term));
        hub.publish(lost(term));
      }
    }
    await Promise.all([numbered.clock.advance(100), losses.clock.advance(100)]);
    const leading = operator === "throttle" ? 1 : 0;
    assert.deepEqual(numbered.got.map(({ value }) => value).slice(leading), [18]);
    assert.deepEqual(losses.got.map(({ value }) => show(value)).slice(leading), ["-6"]);
  }
});

test("debounce() delivers one of a burst, when it has been quiet for the duration", async () => {
  const { clock, hub, got } = watched((changes) => changes.debounce("100ms"));
  for (let index = 0; index < 30; index++) {
    hub.publish(changed(`${index}`, `${index + 1}`));
    await clock.advance(50);
  }
  assert.equal(got.length, 0);
  await clock.advance(49);
  assert.equal(got.length, 0);
  await clock.advance(1);
  assert.deepEqual(timeline(got), ["1550:29>30"]);
  hub.publish(changed("30", "31"));
  await clock.advance(1_000);
  assert.deepEqual(timeline(got).slice(1), ["1650:30>31"]);
});

test("debounce() does not hold a `lost` longer than its duration, when others keep coming", async () => {
  const { clock, hub, got } = watched((changes) => changes.debounce(100), true);
  await clock.advance(20);
  hub.publish(lost("0"));
  for (let index = 0; index < 20; index++) {
    await clock.advance(15);
    hub.publish(changed(`${index}`, `${index + 1}`));
  }
  assert.deepEqual(timeline(got), ["120:-0", "120:5>6"]);
  await clock.advance(100);
  assert.deepEqual(timeline(got).slice(2), ["420:19>20"]);
});

test("throttle() and debounce() deliver what they hold at once, when the election stops", async () => {
  for (const operator of ["throttle", "debounce"] as const) {
    const { clock, hub, got, over } = watched((changes) => changes[operator]("1h"));
    hub.publish(acquired("1"));
    await clock.advance(1);
    hub.publish(lost("1"));
    await clock.advance(1);
    hub.close();
    await over;
    assert.deepEqual(got.map(({ value }) => show(value)), ["+1", "-1"]);
    assert.equal(clock.pending, 0);
  }
});

test("time operators tell at once what is overdue, in bounded memory, when their reader is slow", async () => {
  for (const operator of ["throttle", "debounce"] as const) {
    const clock = new VirtualClock();
    const hub = new ChangeHub(clock);
    const stream = hub.subscribe({ leading: false })[operator](100);
    const first = stream.next();
    hub.publish(changed(null, "a"));
    await clock.advance(100);
    assert.equal(show((await first).value as LeadershipChange), ">a");
    for (const change of history(500, random(3), false)) {
      hub.publish(change);
      await clock.advance(1);
    }
    await clock.advance(1_000);
    hub.publish(changed("y", "z"));
    await clock.advance(0);
    assert.equal(clock.pending, 0, "no timer runs while nobody waits");
    const overdue: LeadershipChange[] = [];
    for (let value = (await stream.next()).value; value !== undefined; value = (await stream.next()).value) {
      overdue.push(value);
      if (show(value) === "y>z") break;
    }
    assert(overdue.length <= 4 && overdue.some((change) => change.lostLeadership), `${overdue.map(show)}`);
    hub.publish(changed("z", "a"));
    await clock.advance(1_000);
    hub.publish(changed("a", "b"));
    await clock.advance(0);
    assert.equal(show((await stream.next()).value as LeadershipChange), "a>b");
    assert.equal(clock.monotonic(), 2_600);
  }
});

test("time operators run no timer and leave the hub, when their reader leaves while a window is open", async () => {
  const chains: ((changes: LeadershipChanges) => LeadershipChanges<unknown>)[] = [
    (changes) => changes.throttle(100),
    (changes) => changes.debounce(100),
    (changes) => changes.buffer({ time: 100 }),
    (changes) => changes.buffer({ count: 100 }),
    (changes) => changes.debounce(100).map(show).throttle(100).buffer({ time: 100 }).drop(0),
  ];
  for (const [index, chain] of chains.entries()) {
    const clock = new VirtualClock();
    const hub = new ChangeHub(clock);
    const stream = chain(hub.subscribe({ leading: false }));
    const first = stream.next();
    hub.publish(acquired("1"));
    await clock.advance(0);
    if (index === 0) await first;
    const reads = [first, stream.next()];
    hub.publish(lost("1"));
    await clock.advance(10);
    assert.equal(clock.pending, index === 3 ? 0 : 1);
    await stream.return();
    assert.equal(clock.pending, 0);
    assert.equal(hub.active, false);
    assert.deepEqual((await Promise.all(reads)).at(-1), { done: true, value: undefined });
    await clock.advance(1_000);
    assert.equal(clock.pending, 0);
  }
});

test("throttle() and debounce() keep E1 and E3 and hold no `lost` past its window, when changes come at random", async () => {
  for (let seed = 1; seed <= 40; seed++) {
    const operator = seed % 2 === 0 ? "throttle" : "debounce";
    const next = random(seed);
    const { clock, hub, got, over } = watched((changes) => changes[operator](100), seed % 4 < 2);
    const published: { readonly value: LeadershipChange; readonly at: number }[] = [];
    for (const value of history(200, next, seed % 4 < 2)) {
      published.push({ value, at: clock.monotonic() });
      hub.publish(value);
      await clock.advance(next() < 0.7 ? Math.floor(next() * 20) : Math.floor(next() * 250));
    }
    await clock.advance(100);
    hub.close();
    await over;
    const transitions = got.filter(({ value }) => value.type !== "changed");
    for (const [index, { value }] of transitions.entries()) {
      if (index > 0) assert.notEqual(value.type, transitions[index - 1]?.value.type);
    }
    assert.equal(got.at(-1)?.value, published.at(-1)?.value);
    // Each `lost` is told in time, or a later one is that the same window brought.
    for (const { value, at } of published.filter(({ value }) => value.lostLeadership)) {
      const told = transitions.some((each) => each.value.lostLeadership && each.at >= at && each.at <= at + 100);
      assert(told, `${operator} ${seed}: ${show(value)} of ${at} was not told by ${at + 100}`);
    }
    assert(got.length < published.length);
  }
});
