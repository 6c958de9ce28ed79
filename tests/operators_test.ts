import assert from "node:assert/strict";
import { test } from "node:test";
import type { LeadershipChange } from "../src/changes/change.ts";
import { ChangeHub } from "../src/changes/hub.ts";
import { LeadershipChanges } from "../src/changes/stream.ts";
import { VirtualClock } from "../testing/virtual_clock.ts";
import { acquired, changed, lost, show, watched } from "./changes_fixture.ts";

/** A stream of `values`, which counts how many were read and how often it was closed. */
function numbers(...values: number[]) {
  const counts = { read: 0, closed: 0 };
  const stream = new LeadershipChanges<number>({
    next: () => {
      const value = values[counts.read++];
      return Promise.resolve(value === undefined ? { done: true, value } : { done: false, value });
    },
    return: () => {
      counts.closed++;
      return Promise.resolve({ done: true, value: undefined });
    },
  }, { clock: new VirtualClock(), leading: false });
  return { counts, stream };
}

/** Publishes `changes` to a stream that was made by `operator`, ends it, and returns what it delivered. */
async function through<T>(
  operator: (changes: LeadershipChanges) => LeadershipChanges<T>,
  changes: LeadershipChange[],
  leading = false,
): Promise<T[]> {
  const hub = new ChangeHub(new VirtualClock());
  const stream = operator(hub.subscribe({ leading }));
  for (const change of changes) hub.publish(change);
  hub.close();
  return await stream.toArray();
}

test("filter() lets through what its predicate is true for, when that resolves later, and gives it the index", async () => {
  const { stream } = numbers(5, 6, 7, 8);
  const indices: number[] = [];
  const even = stream.filter(async (value, index) => {
    indices.push(index);
    return await Promise.resolve(value % 2 === 0);
  });
  assert.deepEqual(await even.toArray(), [6, 8]);
  assert.deepEqual(indices, [0, 1, 2, 3]);
});

test("map() replaces each value, when its mapper resolves later, and gives it the index", async () => {
  const { stream } = numbers(5, 6);
  const mapped = stream.map(async (value, index) => await Promise.resolve(`${index}:${value}`));
  assert.deepEqual(await mapped.toArray(), ["0:5", "1:6"]);
});

test("operators read nothing, when they are not read", async () => {
  const { stream, counts } = numbers(1, 2, 3);
  const chained = stream.filter(() => true).map((n) => n).drop(1).take(1).distinctUntilChanged().throttle(1).buffer({
    count: 1,
  });
  await Promise.resolve();
  assert.equal(counts.read, 0);
  assert.deepEqual(await chained.toArray(), [[2]]);
});

test("take() ends after its limit and closes the source, when more would come", async () => {
  const { stream, counts } = numbers(1, 2, 3);
  const two = stream.take(2);
  assert.equal((await two.next()).value, 1);
  assert.equal(counts.closed, 0);
  assert.equal((await two.next()).value, 2);
  assert.equal(counts.closed, 1);
  assert.deepEqual(await two.next(), { done: true, value: undefined });
  assert.equal(counts.read, 2);
});

test("take() ends at once and closes the source without reading, when its limit is 0", async () => {
  const { stream, counts } = numbers(1, 2, 3);
  assert.deepEqual(await stream.take(0).next(), { done: true, value: undefined });
  assert.deepEqual(counts, { read: 0, closed: 1 });
});

test("take() and drop() go to the end, when their limit is beyond it, and truncate fractions", async () => {
  assert.deepEqual(await numbers(1, 2).stream.take(5).toArray(), [1, 2]);
  assert.deepEqual(await numbers(1, 2).stream.take(Infinity).toArray(), [1, 2]);
  assert.deepEqual(await numbers(1, 2, 3).stream.take(1.9).toArray(), [1]);
  assert.deepEqual(await numbers(1, 2, 3).stream.drop(1.9).toArray(), [2, 3]);
  assert.deepEqual(await numbers(1, 2, 3).stream.drop(0).toArray(), [1, 2, 3]);
  assert.deepEqual(await numbers(1, 2, 3).stream.drop(-0.5).toArray(), [1, 2, 3]);
  assert.deepEqual(await numbers(1, 2, 3).stream.drop(Infinity).toArray(), []);
});

test("operators throw at once and close the source, when their argument is not valid", async () => {
  const bad = "no function" as unknown as () => boolean;
  const calls: [(stream: LeadershipChanges<number>) => unknown, string, RegExp][] = [
    [(stream) => stream.filter(bad), "TypeError", /^Cannot filter by "no function": it must be a function$/],
    [(stream) => stream.map(bad), "TypeError", /^Cannot map by "no function": it must be a function$/],
    [(stream) => stream.distinctUntilChanged(bad), "TypeError", /^Cannot compare by "no function"/],
    [(stream) => stream.take(-1), "RangeError", /^Cannot take "-1": it must be a number of at least 0$/],
    [(stream) => stream.take(NaN), "RangeError", /^Cannot take "NaN"/],
    [(stream) => stream.drop(-1), "RangeError", /^Cannot drop "-1"/],
    [(stream) => stream.drop("x" as unknown as number), "RangeError", /^Cannot drop "x"/],
    [(stream) => stream.throttle("1 s" as "1s"), "TypeError", /^Cannot use throttle "1 s"/],
    [(stream) => stream.debounce(-1), "RangeError", /^Cannot use debounce "-1"/],
    [(stream) => stream.buffer({}), "TypeError", /^Cannot buffer without limits: give "count", "time" or both$/],
    [(stream) => stream.buffer({ count: 1, tme: "1s" } as { count: number }), "TypeError", /did you mean "time"\?$/],
    [(stream) => stream.buffer({ count: 0 }), "RangeError", /^Cannot use buffer count "0"/],
    [(stream) => stream.buffer({ count: 1.5 }), "RangeError", /^Cannot use buffer count "1.5"/],
    [(stream) => stream.buffer({ time: "soon" as "1s" }), "TypeError", /^Cannot use buffer time "soon"/],
  ];
  for (const [call, name, message] of calls) {
    const { stream, counts } = numbers(1);
    assert.throws(() => call(stream), { name, message });
    assert.deepEqual(counts, { read: 0, closed: 1 });
    assert.deepEqual(await stream.next(), { done: true, value: undefined });
  }
});

test("forEach() and onTransition() reject and close the source, when their argument is not valid", async () => {
  const { stream, counts } = numbers(1);
  await assert.rejects(stream.forEach(1 as unknown as () => void), { name: "TypeError" });
  assert.deepEqual(counts, { read: 0, closed: 1 });
  const hub = new ChangeHub(new VirtualClock());
  const callbacks = { lost: "x" as unknown as () => void };
  await assert.rejects(hub.subscribe({ leading: false }).onTransition(callbacks), { name: "TypeError" });
  const misspelt = { acquried() {} } as { acquired?(): void };
  await assert.rejects(hub.subscribe({ leading: false }).onTransition(misspelt), /did you mean "acquired"\?$/);
  assert.equal(hub.active, false);
});

test("operators pass an error on and leave the hub, when a callback throws or rejects", async () => {
  const fail = () => {
    throw new Error("callback failed");
  };
  const consumers: ((changes: LeadershipChanges) => Promise<unknown>)[] = [
    (changes) => changes.filter(fail).toArray(),
    (changes) => changes.map(() => Promise.reject(new Error("callback failed"))).toArray(),
    (changes) => changes.distinctUntilChanged(fail).toArray(),
    (changes) => changes.forEach(fail),
    (changes) => changes.onTransition({ acquired: fail }),
    (changes) => changes.map(fail).throttle(1).debounce(1).buffer({ time: 1 }).take(1).toArray(),
  ];
  for (const consumer of consumers) {
    const hub = new ChangeHub(new VirtualClock());
    const consumed = consumer(hub.subscribe({ leading: false }));
    hub.publish(acquired("1"));
    await assert.rejects(consumed, /callback failed/);
    assert.equal(hub.active, false);
  }
});

test("a stream rejects once and has ended then, when a callback throws", async () => {
  const stream = numbers(1, 2).stream.map(() => {
    throw new Error("once");
  });
  await assert.rejects(stream.next(), /once/);
  assert.deepEqual(await stream.next(), { done: true, value: undefined });
});

test("operators leave the hub, when their reader leaves, also while a read waits", async () => {
  const clock = new VirtualClock();
  const chains: ((changes: LeadershipChanges) => LeadershipChanges<unknown>)[] = [
    (changes) => changes.filter(() => true),
    (changes) => changes.map(show),
    (changes) => changes.take(5),
    (changes) => changes.drop(5),
    (changes) => changes.distinctUntilChanged(),
    (changes) => changes.takeUntilLeader(),
    (changes) => changes.whileLeader(),
    (changes) => changes.filter(() => true).map(show).take(3).drop(1),
  ];
  for (const chain of chains) {
    const hub = new ChangeHub(clock);
    const stream = chain(hub.subscribe({ leading: false }));
    const reads = [stream.next(), stream.next()];
    await clock.advance(0);
    await stream.return();
    assert.equal(hub.active, false);
    assert.deepEqual(await Promise.all(reads), [{ done: true, value: undefined }, { done: true, value: undefined }]);
  }
});

test("take() leaves no timer behind, when it ends a stream with a window open", async () => {
  const { clock, hub, got, over } = watched((changes) => changes.throttle(100).take(1));
  hub.publish(acquired("1"));
  hub.publish(lost("1"));
  await clock.advance(0);
  await over;
  assert.equal(got.length, 1);
  assert.equal(clock.pending, 0);
  assert.equal(hub.active, false);
});

test("return() does not wait for a callback, when one is under way", async () => {
  const { stream } = numbers(1, 2);
  const gate = Promise.withResolvers<boolean>();
  const filtered = stream.filter(() => gate.promise);
  const read = filtered.next();
  await new VirtualClock().advance(0);
  await filtered.return();
  gate.resolve(true);
  assert.deepEqual(await read, { done: true, value: undefined });
});

test("distinctUntilChanged() compares what changes say, when each is an object of its own", async () => {
  const told = [
    ...[acquired("1"), acquired("1"), lost("1"), lost("1"), changed(null, "a")],
    ...[acquired("2"), changed(null, "a"), lost("2"), changed(null, "b")],
  ];
  const withoutAcquired = (changes: LeadershipChanges) => changes.filter((change) => !change.becameLeader);
  const distinct = await through((changes) => withoutAcquired(changes).distinctUntilChanged(), told);
  assert.deepEqual(distinct.map(show), ["-1", ">a", "-2", ">b"]);
});

test("distinctUntilChanged() compares by a key, when given one, and other values by identity", async () => {
  const byTens = numbers(11, 12, 21, 13, NaN, NaN).stream.distinctUntilChanged((value) => Math.trunc(value / 10));
  assert.deepEqual(await byTens.toArray(), [11, 21, 13, NaN]);
  const later = numbers(1, 3, 2).stream.distinctUntilChanged((value) => Promise.resolve(value % 2));
  assert.deepEqual(await later.toArray(), [1, 2]);
  assert.deepEqual(await numbers(1, 1, 2, 1).stream.distinctUntilChanged().toArray(), [1, 2, 1]);
});

test("takeUntilLeader() ends with the change that makes a leader, when more comes", async () => {
  const told = [changed(null, "x"), acquired("1"), lost("1")];
  assert.deepEqual((await through((changes) => changes.takeUntilLeader(), told)).map(show), [">x", "+1"]);
});

test("takeUntilLeader() ends at once and leaves the hub, when it starts while already leading", async () => {
  const hub = new ChangeHub(new VirtualClock());
  const stream = hub.subscribe({ leading: true }).takeUntilLeader();
  assert.equal(hub.active, false);
  assert.deepEqual(await stream.next(), { done: true, value: undefined });
});

test("whileLeader() delivers the term under way and ends with its `lost`, when it starts while leading", async () => {
  const told = [lost("0"), acquired("1"), lost("1")];
  assert.deepEqual((await through((changes) => changes.whileLeader(), told, true)).map(show), ["-0"]);
});

test("whileLeader() waits for the next term, when it starts while not leading", async () => {
  const told = [changed(null, "x"), acquired("1"), lost("1"), acquired("2"), lost("2")];
  assert.deepEqual((await through((changes) => changes.whileLeader(), told)).map(show), ["+1", "-1"]);
});

test("takeUntilLeader() and whileLeader() know the state, when the stream was read and changed by others before", async () => {
  const hub = new ChangeHub(new VirtualClock());
  const stream = hub.subscribe({ leading: false });
  hub.publish(acquired("1"));
  await stream.next();
  hub.publish(lost("1"));
  hub.publish(acquired("2"));
  const term = stream.filter(() => true).throttle(1).whileLeader();
  assert.equal((await term.next()).value?.type, "lost");
  assert.equal((await term.next()).done, true);
  const again = hub.subscribe({ leading: true });
  assert.deepEqual(await again.drop(0).takeUntilLeader().toArray(), []);
});

test("forEach() visits one after another with the index, when a visit takes long", async () => {
  const log: string[] = [];
  await numbers(7, 8).stream.forEach(async (value, index) => {
    log.push(`begin ${index}:${value}`);
    await new VirtualClock().advance(0);
    log.push(`end ${index}:${value}`);
  });
  assert.deepEqual(log, ["begin 0:7", "end 0:7", "begin 1:8", "end 1:8"]);
});

test("onTransition() calls back for each kind it was given, one after another, when others come between", async () => {
  const told = [changed(null, "x"), acquired("1"), lost("1"), changed(null, "y"), acquired("2")];
  const log: string[] = [];
  const note = async (change: LeadershipChange) => {
    await Promise.resolve();
    log.push(show(change));
  };
  const run = async (callbacks: Parameters<LeadershipChanges["onTransition"]>[0]) => {
    const hub = new ChangeHub(new VirtualClock());
    const done = hub.subscribe({ leading: false }).onTransition(callbacks);
    for (const change of told) hub.publish(change);
    hub.close();
    await done;
    return log.splice(0);
  };
  assert.deepEqual(await run({ acquired: note, lost: note }), ["+1", "-1", "+2"]);
  assert.deepEqual(await run({ lost: note }), ["-1"]);
  assert.deepEqual(await run({}), []);
});
