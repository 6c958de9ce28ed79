/** Looks of many participants at one provider. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { LeaderElection } from "../src/election.ts";
import { Turns } from "../src/participant/turns.ts";
import { Stage } from "./stage.ts";

test("six hundred that start at once queue for a slow backend, and no look fails by its time-out", async () => {
  const stage = new Stage();
  const store = stage.open();
  // Eight at a time, as a pool of connections has it; each takes 10 ms.
  const queue: (() => void)[] = [];
  let free = 8;
  const provider = stage.wrap(store, {
    async acquire(request, options) {
      if (free > 0) free--;
      else await new Promise<void>((resolve) => queue.push(resolve));
      await new Promise<void>((resolve) => stage.clock.setTimer(resolve, 10));
      const next = queue.shift();
      if (next === undefined) free++;
      else next();
      return await store.acquire(request, options);
    },
  });
  const failures: unknown[] = [];
  const elections = Array.from({ length: 600 }, (_, index) =>
    new LeaderElection(provider, {
      electionGroup: `g${index}`,
      clock: stage.clock,
      lockTimeout: 500,
      logger: { debug() {}, info() {}, warn: (...args) => failures.push(args) },
    }));
  await stage.finish(Promise.all(elections.map((election) => election.start())));
  assert.deepEqual(failures, []);
  assert(elections.every(({ isLeader }) => isLeader));
  await stage.finish(Promise.all(elections.map((election) => election.stop())));
  assert.equal(stage.clock.pending, 0);
});

test("take() gives up its place when its signal aborts, and leaves no listener", async () => {
  const stage = new Stage();
  const turns = Turns.of(stage.open());
  const ends = await Promise.all(Array.from({ length: 256 }, () => turns.take(new AbortController().signal)));
  const [given, kept] = [new AbortController(), new AbortController()];
  const [late, next] = [turns.take(given.signal), turns.take(kept.signal)];
  given.abort(new Error("changed my mind"));
  await assert.rejects(late, /changed my mind/);
  ends[0]?.();
  (await next)();
  for (const end of ends.slice(1)) end();
  await assert.rejects(turns.take(AbortSignal.abort(new Error("too late"))), /too late/);
  assert.equal((await Promise.all(Array.from({ length: 256 }, () => turns.take(kept.signal)))).length, 256);
});
