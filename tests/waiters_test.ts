/** Waiting for a condition that others change. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Waiters } from "../src/participant/waiters.ts";
import { heapStaysFlat, nobodyListens } from "./leaks.ts";

test("wait() resolves at once, when its condition holds, and leaves nothing on its signal", async () => {
  const { signal } = new AbortController();
  assert.equal(await new Waiters().wait(() => "now", signal), "now");
  nobodyListens(signal);
});

test("wait() resolves with the first value that is not null, when check() is called, and looks no more then", async () => {
  const waiters = new Waiters();
  const { signal } = new AbortController();
  let value: number | null = null;
  let looks = 0;
  const waited = waiters.wait(() => (looks++, value), signal);
  waiters.check();
  value = 0;
  waiters.check();
  value = 1;
  waiters.check();
  assert.equal(await waited, 0);
  assert.equal(looks, 3);
  nobodyListens(signal);
});

test("wait() rejects with the reason, when its signal aborts or has aborted, and looks no more then", async () => {
  const waiters = new Waiters();
  const controller = new AbortController();
  const reason = new Error("enough");
  let looks = 0;
  const waited = waiters.wait(() => (looks++, null), controller.signal);
  controller.abort(reason);
  await assert.rejects(waited, (error) => error === reason);
  await assert.rejects(waiters.wait(() => "held all the same", controller.signal), (error) => error === reason);
  waiters.check();
  assert.equal(looks, 1);
});

test("rejectAll() rejects every wait, and what waits from then on is not touched", async () => {
  const waiters = new Waiters();
  const { signal } = new AbortController();
  const waits = [waiters.wait(() => null, signal), waiters.wait(() => null, undefined)];
  const settled = Promise.allSettled(waits);
  waiters.rejectAll("stopped");
  assert.deepEqual(await settled, waits.map(() => ({ status: "rejected", reason: "stopped" })));
  nobodyListens(signal);
  let value: string | null = null;
  const later = waiters.wait(() => value, undefined);
  value = "later";
  waiters.check();
  assert.equal(await later, "later");
});

test("race() comes to what its work does", async () => {
  const waiters = new Waiters();
  const { signal } = new AbortController();
  assert.equal(await waiters.race(Promise.resolve("done"), signal), "done");
  await assert.rejects(waiters.race(Promise.reject(new Error("failed")), signal), /failed/);
});

test("race() leaves nothing behind, when its work is done", async () => {
  const waiters = new Waiters();
  await heapStaysFlat(10_000, () => waiters.race(Promise.resolve(), undefined));
});

test("race() rejects before its work is done, when its signal aborts or rejectAll() is called", async () => {
  const waiters = new Waiters();
  const work = Promise.withResolvers<void>();
  const controller = new AbortController();
  const aborted = waiters.race(work.promise, controller.signal);
  controller.abort(new Error("enough"));
  await assert.rejects(aborted, /enough/);
  const stopped = waiters.race(work.promise, undefined);
  waiters.rejectAll(new Error("stopped"));
  await assert.rejects(stopped, /stopped/);
  // Nobody is left to hear of it.
  work.reject(new Error("late"));
});
