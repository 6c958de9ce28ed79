/** The clock of the machine, and what waits by a clock. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { elapsedSince, instant, sleep, systemClock } from "../src/time/clock.ts";
import { VirtualClock } from "../testing/virtual_clock.ts";
import { nobodyListens } from "./leaks.ts";

test("setTimer() does not fire at once, when its delay is longer than a timer of the runtime", async () => {
  let fired = false;
  const cancel = systemClock.setTimer(() => fired = true, 2 ** 40);
  await new Promise((resolve) => setTimeout(resolve, 20));
  cancel();
  assert.equal(fired, false);
});

test("setTimer() does not fire, when it was cancelled, and fires, when its delay is negative", async () => {
  const fired: string[] = [];
  systemClock.setTimer(() => fired.push("cancelled"), 1)();
  await new Promise<void>((resolve) => systemClock.setTimer(() => resolve(void fired.push("negative")), -5));
  await new Promise((resolve) => setTimeout(resolve, 20));
  assert.deepEqual(fired, ["negative"]);
});

test("elapsedSince() takes the larger of both clocks, when one of them stands still or steps", () => {
  let [monotonic, wall] = [100, 1_000];
  const clock = { ...systemClock, monotonic: () => monotonic, wall: () => wall };
  const start = instant(clock);
  monotonic += 50;
  assert.equal(elapsedSince(clock, start), 50);
  wall += 5_000;
  assert.equal(elapsedSince(clock, start), 5_000);
  wall -= 9_000;
  assert.equal(elapsedSince(clock, start), 50);
});

test("sleep() rejects with the reason and leaves no timer, when its signal aborts or has aborted", async () => {
  const clock = new VirtualClock();
  const controller = new AbortController();
  const slept = sleep(clock, 1_000, controller.signal);
  assert.equal(clock.pending, 1);
  const reason = new Error("enough");
  controller.abort(reason);
  await assert.rejects(slept, (error) => error === reason);
  assert.equal(clock.pending, 0);
  await assert.rejects(sleep(clock, 1_000, controller.signal), (error) => error === reason);
  assert.equal(clock.pending, 0);
});

test("sleep() leaves nothing on its signal, when it has ended", async () => {
  const clock = new VirtualClock();
  const { signal } = new AbortController();
  const slept = sleep(clock, 1_000, signal);
  await clock.advance(1_000);
  await slept;
  nobodyListens(signal);
});
