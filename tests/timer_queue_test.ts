import assert from "node:assert/strict";
import { test } from "node:test";
import type { Clock } from "../src/time/clock.ts";
import { TimerQueue } from "../src/time/timer_queue.ts";
import { VirtualClock } from "../testing/virtual_clock.ts";
import { nobodyListens } from "./leaks.ts";

test("timers fire in order and on time, over one timer of the clock", async () => {
  const clock = new VirtualClock();
  const queue = TimerQueue.of(clock);
  const fired: [number, number][] = [];
  const delays = Array.from({ length: 500 }, (_, i) => (i * 7_919) % 5_000);
  for (const delay of delays) queue.timer(() => void fired.push([delay, clock.monotonic()])).set(delay);
  assert.equal(clock.pending, 1);
  await clock.advance(5_000);
  assert.deepEqual(fired.map(([delay]) => delay), delays.toSorted((a, b) => a - b));
  assert.ok(fired.every(([delay, at]) => at === delay));
  assert.equal(clock.pending, 0);
});

test("a timer that is cleared or set anew does not fire as before", async () => {
  const clock = new VirtualClock();
  const queue = TimerQueue.of(clock);
  const fired: string[] = [];
  const [a, b, c] = ["a", "b", "c"].map((name) => queue.timer(() => void fired.push(name)));
  a?.set(10);
  b?.set(20);
  c?.set(30);
  a?.clear();
  a?.clear();
  b?.set(40);
  await clock.advance(100);
  assert.deepEqual(fired, ["c", "b"]);
  assert.equal(clock.pending, 0);
});

test("a timer can clear another that is due in the same moment, and set itself without a loop", async () => {
  const clock = new VirtualClock();
  const queue = TimerQueue.of(clock);
  const fired: string[] = [];
  const victim = queue.timer(() => void fired.push("victim"));
  const again = queue.timer(() => {
    fired.push("again");
    if (fired.length < 5) again.set(0);
  });
  queue.timer(() => victim.clear()).set(10);
  victim.set(10);
  again.set(10);
  await clock.advance(10);
  assert.deepEqual(fired, ["again", "again", "again", "again", "again"]);
});

test("a callback that throws does not keep the others from firing", async () => {
  const clock = new VirtualClock();
  const queue = TimerQueue.of(clock);
  let fired = 0;
  queue.timer(() => {
    throw new Error("mine");
  }).set(10);
  queue.timer(() => void fired++).set(10);
  await assert.rejects(clock.advance(10), /mine/);
  await clock.advance(10);
  assert.equal(fired, 1);
});

test("a timer that sets itself for now waits for the clock's next turn, so that others get theirs", async () => {
  const clock = new VirtualClock();
  let turns = 0;
  const counting: Clock = {
    monotonic: () => clock.monotonic(),
    wall: () => clock.wall(),
    setTimer: (callback, delayMs) => clock.setTimer(() => (turns++, callback()), delayMs),
  };
  let fired = 0;
  const again = TimerQueue.of(counting).timer(() => {
    if (++fired < 10) again.set(0);
  });
  again.set(0);
  await clock.advance(0);
  assert.deepEqual([fired, turns], [10, 10]);
});

test("a timer that may be early is never late", async () => {
  const clock = new VirtualClock();
  const queue = TimerQueue.of(clock);
  for (const delayMs of [499, 500, 750, 1_001]) {
    await clock.advance(13);
    let firedAt = NaN;
    const setAt = clock.monotonic();
    queue.timer(() => firedAt = clock.monotonic()).set(delayMs, 500);
    await clock.advance(delayMs);
    assert.ok(firedAt <= setAt + delayMs && firedAt > setAt + delayMs - 500, `${firedAt - setAt} of ${delayMs}`);
  }
});

test("timers that may be early share their moments", async () => {
  const clock = new VirtualClock();
  const queue = TimerQueue.of(clock);
  const moments = new Set<number>();
  for (let i = 0; i < 100; i++) {
    await clock.advance(13);
    queue.timer(() => void moments.add(clock.monotonic())).set(4_000, 500);
  }
  await clock.advance(5_000);
  // 1,300 ms of starts fall into three or four slots of 500 ms.
  assert.ok(moments.size <= 4, [...moments].join());
  assert.ok([...moments].every((at) => at % 500 === 0));
});

test("a jump of the wall clock brings what is due forward, within a second", async () => {
  const clock = new VirtualClock();
  let slept = 0;
  const sleepy = { ...clock.skewed({}), wall: () => clock.wall() + slept };
  let fired = false;
  TimerQueue.of(sleepy).timer(() => fired = true).set(60_000);
  await clock.advance(10_000);
  slept = 50_000;
  await clock.advance(1_000);
  assert.equal(fired, true);
});

test("a timer that is set after a jump of the wall clock lasts in full, and brings forward what was due before", async () => {
  const clock = new VirtualClock();
  let slept = 0;
  const sleepy = { ...clock.skewed({}), wall: () => clock.wall() + slept };
  const queue = TimerQueue.of(sleepy);
  const fired: [string, number][] = [];
  queue.timer(() => void fired.push(["before", clock.monotonic()])).set(900);
  await clock.advance(100);
  slept = 700;
  queue.timer(() => void fired.push(["after", clock.monotonic()])).set(2_000);
  await clock.advance(5_000);
  assert.deepEqual(fired, [["before", 200], ["after", 2_100]]);
});

test("a process that is held up between two reads of its clocks takes that for no jump", async () => {
  for (const heldUpAfter of ["monotonic", "wall"] as const) {
    for (let nth = 1; nth <= 3; nth++) {
      const clock = new VirtualClock();
      let reads = 0;
      const read = (which: "monotonic" | "wall") => {
        const value = clock[which]();
        if (which === heldUpAfter && ++reads === nth) clock.jump(700);
        return value;
      };
      const queue = TimerQueue.of({
        ...clock.skewed({}),
        monotonic: () => read("monotonic"),
        wall: () => read("wall"),
      });
      queue.timer(() => {}).set(60_000);
      let firedAt = 0;
      queue.timer(() => firedAt = clock.monotonic()).set(2_000);
      const earliest = 2_000 + (nth <= reads ? 700 : 0);
      await clock.advance(5_000);
      assert.ok(firedAt >= earliest, `held up after read ${nth} of ${heldUpAfter}: fired at ${firedAt}`);
    }
  }
});

test("a wall clock that steps backwards or drifts a little changes nothing", async () => {
  const clock = new VirtualClock();
  let off = 0;
  const unsteady = { ...clock.skewed({}), wall: () => clock.wall() + off };
  let firedAt = 0;
  TimerQueue.of(unsteady).timer(() => firedAt = clock.monotonic()).set(60_000);
  for (let i = 0; i < 700; i++) {
    off = i % 2 === 0 ? -3_600_000 : -3_600_000 + 20;
    await clock.advance(100);
  }
  assert.equal(firedAt, 60_000);
});

test("a wall clock that is adjusted by some milliseconds a second, again and again, brings nothing forward", async () => {
  const clock = new VirtualClock();
  let ahead = 0;
  const slewed = { ...clock.skewed({}), wall: () => clock.wall() + ahead };
  let firedAt = 0;
  TimerQueue.of(slewed).timer(() => firedAt = clock.monotonic()).set(60_000);
  for (let i = 0; i < 60; i++) {
    ahead += 20;
    await clock.advance(1_000);
  }
  assert.equal(firedAt, 60_000);
});

test("pause() leaves nothing on its signal, when it has ended", async () => {
  const clock = new VirtualClock();
  const { signal } = new AbortController();
  const paused = TimerQueue.of(clock).pause(1_000, signal);
  await clock.advance(1_000);
  await paused;
  nobodyListens(signal);
});

test("pause() returns early when its signal aborts, and leaves no timer", async () => {
  const clock = new VirtualClock();
  const controller = new AbortController();
  const paused = TimerQueue.of(clock).pause(60_000, controller.signal);
  controller.abort();
  await paused;
  assert.equal(clock.pending, 0);
  await TimerQueue.of(clock).pause(60_000, controller.signal);
});
