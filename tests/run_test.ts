import assert from "node:assert/strict";
import { test } from "node:test";
import { LeadershipLostError } from "../src/errors.ts";
import type { Term } from "../src/participant/term.ts";
import { abortOf, gate, Stage } from "./stage.ts";

test("run() returns what work returned, and releases", async () => {
  const stage = new Stage();
  const [a, b] = [stage.actor("a"), stage.actor("b")];
  await stage.start(a);
  await stage.start(b);
  await stage.clock.advance(100);
  assert.equal(await stage.finish(a.election.run((term) => Promise.resolve(term.token))), 1n);
  await stage.clock.advance(20);
  assert.deepEqual([a.election.isLeader, b.election.isLeader], [false, true]);
});

test("run() waits for leadership", async () => {
  const stage = new Stage();
  const [a, b] = [stage.actor("a"), stage.actor("b")];
  await stage.start(a);
  await stage.start(b);
  const run = b.election.run((term) => Promise.resolve(term.token));
  await stage.clock.advance(60_000);
  await stage.finish(a.election.stop());
  assert.equal(await stage.finish(run), 2n);
});

test("run() rejects with what work rejected with, and releases, when that is within a valid term", async () => {
  const stage = new Stage();
  const a = stage.actor("a");
  await stage.start(a);
  const run = a.election.run(() => Promise.reject(new RangeError("out of paper")));
  await assert.rejects(stage.finish(run), /out of paper/);
  assert.equal(a.election.isLeader, false);
  const thrown = a.election.run(() => {
    throw new RangeError("out of ink");
  });
  await assert.rejects(stage.finish(thrown), /out of ink/);
});

test("run() campaigns again, when the term ends before the work has settled", async () => {
  const stage = new Stage();
  const a = stage.actor("a");
  await stage.start(a);
  const terms: Term[] = [];
  const run = a.election.run(async (term) => {
    terms.push(term);
    if (terms.length === 3) return "finished";
    await abortOf(term.signal);
    // Work ends in either way when its signal aborts; neither is a result.
    if (terms.length === 2) throw term.signal.reason;
    return "interrupted";
  });
  for (let i = 0; i < 2; i++) {
    await stage.clock.advance(1_000);
    a.provider.faults.renew = { fail: true };
    await stage.clock.advance(14_000);
    delete a.provider.faults.renew;
    await stage.clock.advance(6_000);
  }
  assert.equal(await stage.finish(run), "finished");
  assert.deepEqual(terms.map((term) => term.isValid), [false, false, false]);
  const reason: unknown = terms[0]?.signal.reason;
  assert.ok(reason instanceof LeadershipLostError && reason.reason === "expired");
});

test("run() with once: false goes on after work has returned, in a term of its own each time", async () => {
  const stage = new Stage();
  const a = stage.actor("a");
  const controller = new AbortController();
  await stage.start(a);
  const tokens: bigint[] = [];
  const run = a.election.run((term) => Promise.resolve(void tokens.push(term.token)), {
    once: false,
    signal: controller.signal,
  });
  await stage.clock.advance(16_000);
  controller.abort();
  assert.equal(await stage.finish(run), undefined);
  assert.ok(tokens.length >= 3);
  assert.equal(new Set(tokens).size, tokens.length);
});

test("run() drains, releases and returns undefined, when its signal aborts", async () => {
  const stage = new Stage();
  const a = stage.actor("a");
  const controller = new AbortController();
  const drained = gate();
  await stage.start(a);
  const run = a.election.run(async (term) => {
    await abortOf(term.signal);
    await drained.promise;
    throw term.signal.reason;
  }, { signal: controller.signal });
  await stage.clock.advance(1_000);
  controller.abort();
  await stage.clock.advance(1_000);
  assert.equal((await stage.store.read("g", { signal: AbortSignal.timeout(1_000) }))?.leaderId, "a");
  drained.resolve();
  assert.equal(await stage.finish(run), undefined);
  await stage.clock.advance(10);
  assert.equal(await stage.store.read("g", { signal: AbortSignal.timeout(1_000) }), null);
});

test("run() returns undefined, when its signal aborts while it waits or has aborted before", async () => {
  const stage = new Stage();
  const [a, b] = [stage.actor("a"), stage.actor("b")];
  await stage.start(a);
  await stage.start(b);
  const controller = new AbortController();
  const run = b.election.run(() => Promise.resolve("never"), controller);
  controller.abort();
  assert.equal(await run, undefined);
  assert.equal(await a.election.run(() => Promise.resolve("never"), controller), undefined);
});

test("run() returns what work returned all the same, when the election stops", async () => {
  const stage = new Stage();
  const a = stage.actor("a");
  await stage.start(a);
  const run = a.election.run(async (term) => {
    await abortOf(term.signal);
    return "saved";
  });
  await stage.clock.advance(10);
  await stage.finish(a.election.stop());
  assert.equal(await run, "saved");
});

test("run() rejects, when the election stops and work rejects", async () => {
  const stage = new Stage();
  const a = stage.actor("a");
  await stage.start(a);
  const run = assert.rejects(
    a.election.run(async (term) => {
      await abortOf(term.signal);
      throw term.signal.reason;
    }),
    /it was stopped/,
  );
  await stage.clock.advance(10);
  await stage.finish(a.election.stop());
  await run;
});

test("run() of two pieces of work keeps the lease until both have drained", async () => {
  const stage = new Stage();
  const a = stage.actor("a");
  await stage.start(a);
  const slow = gate();
  const runs = [
    a.election.run((term) => abortOf(term.signal)),
    a.election.run(async (term) => {
      await abortOf(term.signal);
      await slow.promise;
    }),
  ];
  await stage.clock.advance(10);
  const stopped = a.election.stop();
  await stage.clock.advance(2_000);
  assert.notEqual(await stage.store.read("g", { signal: AbortSignal.timeout(1_000) }), null);
  slow.resolve();
  await stage.finish(stopped);
  await Promise.all(runs);
});
