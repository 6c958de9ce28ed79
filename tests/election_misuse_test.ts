/** What callers get wrong, and what they do at odd moments: told to them at once, and of no harm to the election. */

import assert from "node:assert/strict";
import process from "node:process";
import { test } from "node:test";
import { elect } from "../src/elect.ts";
import { LeaderElection } from "../src/election.ts";
import type { ElectionOptions } from "../src/options.ts";
import type { Provider } from "../src/provider.ts";
import { registerProvider } from "../src/registry.ts";
import { memoryProvider } from "../providers/memory.ts";
import { FaultyProvider } from "../testing/faulty_provider.ts";
import { abortOf, type Actor, gate, Stage } from "./stage.ts";

const none = undefined as never;
/** Options of a call that are none, and what the error must say. */
const MALFORMED: readonly (readonly [options: unknown, message: RegExp])[] = [
  [{ singal: none }, /"singal": it does not exist; did you mean "signal"\?$/],
  [{ signal: {} }, /signal of \w+: it must be an AbortSignal$/],
  [{ signal: new AbortController() }, /must be an AbortSignal$/],
  [new AbortController().signal, /options of \w+: they must be an object of /],
  [5, /they must be an object of /],
  [null, /they must be an object of /],
];

function callsOf({ election }: Actor): Record<string, (options: never) => unknown> {
  return {
    start: (options) => election.start(options),
    tryAcquireLeadership: (options) => election.tryAcquireLeadership(options),
    getCurrentLeader: (options) => election.getCurrentLeader(options),
    waitForLeadership: (options) => election.waitForLeadership(options),
    waitForLeader: (options) => election.waitForLeader(options),
    run: (options) => election.run(() => Promise.resolve(), options),
  };
}

test("pitfall 44: options of a call that nobody knows, and signals that are none, are refused and change nothing", async () => {
  const stage = new Stage();
  const a = stage.actor("a");
  await stage.start(a);
  for (const [call, made] of Object.entries(callsOf(a))) {
    for (const [options, message] of MALFORMED) {
      await assert.rejects(async () => await made(options as never), { name: "TypeError", message }, call);
    }
  }
  for (const [options, message] of MALFORMED.slice(1)) {
    assert.throws(() => a.election.changes(options as never), { name: "TypeError", message });
  }
  const wrong: [() => unknown, RegExp][] = [
    [() => a.election.changes({ type: ["lost"] } as never), /"type": it does not exist; did you mean "types"\?$/],
    [() => a.election.changes({ types: "acquired" as never }), /types "acquired": they must be an array/],
    [() => a.election.releaseLeadership({ cooldwn: 0 } as never), /did you mean "cooldown"\?$/],
    [() => a.election.releaseLeadership(5 as never), /they must be an object of cooldown$/],
    [() => a.election.run(() => Promise.resolve(), { onec: false } as never), /"onec": it does not exist/],
    [
      () => a.election.run(() => Promise.resolve(), { once: "no" as never }),
      /once "no" of run: it must be true or false/,
    ],
    [() => a.election.run(none), /^Cannot run work that is no function$/],
  ];
  for (const [call, message] of wrong) {
    await assert.rejects(async () => await call(), { name: "TypeError", message });
  }
  assert.equal(a.election.isLeader, true);
  await stage.finish(a.election.stop());
});

test("a wait that was refused leaves the campaign of a follower alone", async () => {
  const stage = new Stage();
  const [a, b] = [stage.actor("a"), stage.actor("b")];
  await stage.start(a);
  await stage.start(b);
  await assert.rejects(b.election.run(() => Promise.resolve(), { signal: {} as never }), TypeError);
  await stage.finish(a.election.stop());
  await stage.finish(b.election.waitForLeadership());
  await stage.finish(b.election.stop());
  assert.equal(b.election.status.role, "stopped");
});

test("pitfall 32: a provider, a logger and a clock that are none are refused, with what they lack", () => {
  const options = { electionGroup: "g" };
  const provider = new Stage().open();
  const refused = (given: unknown, more: object, message: RegExp) =>
    assert.throws(() => new LeaderElection(given as Provider, { ...options, ...more }), { name: "TypeError", message });
  for (const given of ["memory:", undefined, null, {}]) {
    refused(given, {}, /^Cannot use provider: it must have acquire,/);
  }
  refused("memory:", {}, /elect\(\) takes a URL as well$/);
  refused(provider, { logger: {} }, /^Cannot use logger .* must be null, or have debug, info and warn/);
  refused(provider, { clock: { wall: () => 0 } }, /^Cannot use clock: it must have monotonic, setTimer$/);
});

test("elect() goes by what it was given, though its caller uses the objects again", async () => {
  const options: { -readonly [K in keyof ElectionOptions]: ElectionOptions[K] } = { electionGroup: "one" };
  const metadata: Record<string, string> = { of: "one" };
  const url = new URL("memory:elect-copies");
  const first = elect(url, Object.assign(options, { metadata }));
  options.electionGroup = "two";
  metadata.of = "two";
  const second = elect(url, options);
  url.href = "memory:elsewhere";
  await using one = await first;
  await using two = await second;
  assert.deepEqual([one.electionGroup, two.electionGroup], ["one", "two"]);
  assert.deepEqual([one.isLeader, two.isLeader], [true, true]);
  assert.equal((await one.getCurrentLeader())?.metadata.of, "one");
  await one.stop();
  await one.start();
  await using there = memoryProvider({ name: "elect-copies" });
  const leader = await there.read("one", { signal: AbortSignal.timeout(1_000) });
  assert.equal(leader?.leaderId, one.participantId, "what is opened again is what was opened first");
});

test("pitfall 26: a logger whose promises reject raises no unhandled rejection", async () => {
  const unhandled: unknown[] = [];
  const note = (reason: unknown) => void unhandled.push(reason);
  process.on("unhandledRejection", note);
  const fail = () => Promise.reject(new Error("disk full"));
  const stage = new Stage();
  const a = stage.actor("a", { logger: { debug: fail, info: fail, warn: fail } });
  a.provider.faults.acquire = { fail: true };
  await stage.start(a);
  delete a.provider.faults.acquire;
  await stage.finish(a.election.waitForLeadership());
  await stage.finish(a.election.stop());
  await new Promise((resolve) => setTimeout(resolve, 20));
  process.off("unhandledRejection", note);
  assert.deepEqual(unhandled, []);
});

test("the signal of the options stops an election that was never started", async () => {
  let open = 0;
  registerProvider({
    name: "idle",
    protocols: ["idle:"],
    open() {
      open++;
      return Object.assign(memoryProvider({ name: "idle" }), {
        [Symbol.asyncDispose]: () => (open--, Promise.resolve()),
      });
    },
  });
  const controller = new AbortController();
  const { signal } = controller;
  const election = await elect("idle:", { electionGroup: "g", autoStart: false, signal });
  const waiting = [election.waitForLeadership(), election.waitForLeader()];
  const changes = election.changes().toArray();
  controller.abort(new Error("enough"));
  for (const wait of waiting) await assert.rejects(wait, /it was stopped/);
  assert.deepEqual(await changes, []);
  await assert.rejects(election.start(), /enough/);
  await election.stop();
  assert.equal(open, 0);
  const late = new LeaderElection(new Stage().open(), { electionGroup: "g", signal });
  await assert.rejects(late.waitForLeader(), /it was stopped/);
});

test("start({ signal }) hears its signal, when another start gives up in the same turn", async () => {
  for (let turns = 0; turns < 12; turns++) {
    const stage = new Stage();
    const { election } = stage.actor("a");
    const { signal, ...controller } = controlled();
    await stage.finish(election.start());
    const calls = [election.stop(), election.start({ signal }), election.stop()];
    // The stop is over for whoever looks, before those that wait for it have been told.
    while (election.status.role !== "stopped") await null;
    for (let turn = 0; turn < turns; turn++) await null;
    await stage.finish(Promise.all([...calls, election.start({ signal })]));
    assert.equal(election.isLeader, true);
    controller.abort();
    assert.equal(election.isLeader, false, `after ${turns} turns`);
    await stage.finish(election.stop());
  }
});

test("S9: a run ends with the stop that it was told of, though its work outlasts it and somebody starts again", async () => {
  for (
    const [outcome, works] of [["fails", () => Promise.reject(new Error("late"))], ["works", () => "late"]] as const
  ) {
    for (const lost of [false, true]) {
      const stage = new Stage();
      const a = stage.actor("a", { drainTimeout: 100 });
      await stage.start(a);
      const work = gate();
      let begun = 0;
      const run = a.election.run(async (term) => {
        begun++;
        await abortOf(term.signal);
        await work.promise;
        return await works();
      });
      const ended = run.then(String, String);
      await stage.clock.advance(10);
      if (lost) {
        a.provider.faults.renew = { fail: true };
        await stage.clock.advance(14_000);
        delete a.provider.faults.renew;
      }
      await stage.finish(a.election.stop());
      await stage.finish(a.election.start());
      work.resolve();
      await stage.clock.advance(10_000);
      assert.match(await ended, outcome === "works" ? /^late$/ : /it was stopped$/);
      assert.equal(begun, 1);
      await stage.finish(a.election.stop());
    }
  }
});

test("stop() drains the work of a term that has expired, and then frees its lease", async () => {
  const stage = new Stage();
  let ahead = 0;
  const { clock } = stage;
  const stepped = {
    monotonic: () => clock.monotonic(),
    wall: () => clock.wall() + ahead,
    setTimer: (callback: () => void, delayMs: number) => clock.setTimer(callback, delayMs),
  };
  const a = stage.actor("a", { clock: stepped });
  await stage.start(a);
  const work = gate();
  let isWorking = false;
  const run = a.election.run(async () => {
    isWorking = true;
    await work.promise;
    isWorking = false;
    throw new Error("late");
  });
  run.catch(() => {});
  await clock.advance(10);
  ahead = 3_600_000;
  await clock.advance(2_000);
  assert.deepEqual([a.election.isLeader, isWorking], [false, true]);
  let worksAfterStop: boolean | null = null;
  const stopped = a.election.stop().then(() => worksAfterStop = isWorking);
  await clock.advance(1_000);
  assert.equal(worksAfterStop, null);
  work.resolve();
  await stage.finish(stopped);
  assert.equal(worksAfterStop, false);
  await assert.rejects(run, /it was stopped/);
  assert.equal(await stage.store.read("g", { signal: AbortSignal.timeout(1_000) }), null);
});

test("L5: stop() keeps its bound, when every call hangs, a lease is owed and another may have been granted", async () => {
  const stage = new Stage();
  const requestTimeout = 2_000;
  const lockTimeout = 100;
  let hangs = false;
  const healthCheck = () => hangs ? new Promise<boolean>(() => {}) : true;
  const provider = new FaultyProvider(stage.open(), stage.clock);
  provider[Symbol.asyncDispose] = () => new Promise(() => {});
  registerProvider({ name: "hanging", protocols: ["hanging:"], open: () => provider });
  const timing = { requestTimeout, lockTimeout, drainTimeout: 0 };
  const options = { electionGroup: "g", clock: stage.clock, healthCheck, ...timing };
  const election = await stage.finish(elect("hanging:", options));
  provider.faults.release = { hang: true };
  provider.faults.acquire = { hang: true };
  const count = (operation: string) => provider.calls.filter((each) => each === operation).length;
  const until = async (operation: string, times: number) => {
    const before = count(operation);
    while (count(operation) < before + times) await stage.clock.advance(10);
  };
  // The release is owed from here on, and after the next acquire its outcome is unknown.
  void election.releaseLeadership({ cooldown: 0 });
  await until("acquire", 1);
  await until("release", 1);
  hangs = true;
  const before = stage.clock.monotonic();
  await stage.finish(election.stop());
  const took = stage.clock.monotonic() - before;
  assert.ok(took <= lockTimeout + 3 * requestTimeout, `${took} ms`);
});

test("a stream of hints that breaks as soon as it is live is opened ever more slowly, and at once after it was up for long", async () => {
  const stage = new Stage();
  await stage.start(stage.actor("a"));
  let opened = 0;
  let upMs = 0;
  const provider = stage.wrap(stage.open(), {
    async *watch() {
      opened++;
      yield;
      if (upMs > 0) await new Promise<void>((resolve) => stage.clock.setTimer(resolve, upMs));
    },
  });
  const b = new LeaderElection(provider, { electionGroup: "g", clock: stage.clock, random: () => 0.5 });
  await stage.finish(b.start());
  await stage.during(60_000, () => {});
  assert.ok(opened < 40, `${opened} times in a minute`);
  upMs = 6_000;
  await stage.during(60_000, () => {});
  opened = 0;
  await stage.during(61_000, () => {});
  assert.equal(opened, 10);
  await stage.finish(b.stop());
});

test("start() resolves and the election goes on, when what opens it hangs, fails or opens no provider", async () => {
  const stage = new Stage();
  let open = (): unknown => stage.open();
  let opened = 0;
  registerProvider({ name: "fickle", protocols: ["fickle:"], open: () => (opened++, open() as Provider) });
  const options = { electionGroup: "g", clock: stage.clock, logger: null };
  const election = await stage.finish(elect("fickle:", options));
  const wrong = [
    () => new Promise(() => {}),
    () => Promise.reject(new Error("no driver")),
    () => undefined,
    () => ({}),
  ];
  for (const next of wrong) {
    await stage.finish(election.stop());
    open = next;
    const before = opened;
    const start = election.start().catch(() => {});
    while (opened < before + 2) await stage.clock.advance(10);
    await stage.finish(start);
    assert.deepEqual([election.isLeader, election.status.role], [false, "follower"]);
    open = () => stage.open();
    await stage.finish(election.waitForLeadership());
  }
  await stage.finish(election.stop());
});

function controlled(): { signal: AbortSignal; abort: () => void } {
  const controller = new AbortController();
  return { signal: controller.signal, abort: () => controller.abort() };
}
