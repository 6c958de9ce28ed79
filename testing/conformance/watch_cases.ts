/** Hints: that they come, that they end, and that nobody who waits is forgotten. */

import assert from "node:assert/strict";
import type { Hint, Provider } from "../../src/provider.ts";
import { onStage, soon, type Stage, until, wait, win } from "./stage.ts";
import { patience } from "./slowness.ts";
import type { ConformanceCase, ConformanceTarget } from "./target.ts";

/** The time that a hint may take, in milliseconds, where nothing else runs. */
const HINT_LIMIT = 5_000;

/** Returns the cases about watching. They pass, with nothing to check, where a provider has no `watch`. */
export function watchCases(target: ConformanceTarget): ConformanceCase[] {
  return [
    onStage(target, "watch() hints when it is live, and at every release", hintAtRelease),
    onStage(target, "watch() hints every watcher of the group, on every client", manyWatchers),
    onStage(target, "release() for one participant frees the lease, and watch() says for whom", hintOfTransfer),
    onStage(target, "watch() ends without an error, when it is aborted or left", watchEnds),
    onStage(target, "watch() keeps a waiting participant's place, and gives it up when it ends", placesInTheQueue),
    onStage(target, "watch() lets many hand the lease on, one after the other", handOn),
  ];
}

/** A watch that is being read in the background. */
export interface Watcher {
  /** Hints that came so far. */
  hints(): number;
  /** The participants that leases were released for. */
  readonly transfers: readonly string[];
  /** Resolves when a hint beyond the first `seen` has come. */
  more(seen: number): Promise<unknown>;
  /** Resolves when the stream has ended; rejects if it broke. */
  readonly ended: Promise<void>;
  /** Aborts the watch and waits for its end. */
  stop(): Promise<void>;
}

/** Starts to watch, if the provider can. */
export function follow(provider: Provider, electionGroup: string, participantId?: string): Watcher | null {
  const stopped = new AbortController();
  const options = { signal: stopped.signal, participantId };
  const stream = provider.watch?.(electionGroup, options);
  if (stream === undefined) return null;
  let hints = 0;
  const transfers: string[] = [];
  const ended = (async () => {
    for await (const hint of stream) {
      checkHint(hint);
      if (hint?.transferTo !== undefined) transfers.push(hint.transferTo);
      hints++;
    }
  })();
  // A case that wants to know awaits it later.
  ended.catch(() => {});
  return {
    hints: () => hints,
    transfers,
    more: (seen) =>
      until("a hint comes", patience(HINT_LIMIT), 2, () => Promise.resolve(hints > seen ? true : undefined)),
    ended,
    async stop() {
      stopped.abort(new Error("the case is over"));
      await ended;
    },
  };
}

/** The content of a hint: one thing, in the words of the contract. */
function checkHint(hint: Hint | void): void {
  const { waiting, leader, renewed, transferTo: _, ...rest } = hint ?? {};
  assert.deepEqual(rest, {}, "a hint says nothing that the contract does not name");
  assert.ok([waiting, leader, renewed].filter((part) => part !== undefined).length <= 1, "a hint says one thing");
  if (waiting !== undefined) assert.ok(waiting >= 1, "who is told that a lease is free is one of those who wait");
  const lease = leader ?? renewed;
  if (lease !== undefined) assert.ok(lease.termId !== "" && (lease.expiresIn ?? 1) > 0, "the lease of a hint lives");
}

async function hintAtRelease(stage: Stage): Promise<void> {
  const other = await stage.open();
  const electionGroup = stage.group();
  const watcher = follow(other, electionGroup);
  if (watcher === null) return;
  await watcher.more(0);
  for (let i = 0; i < 3; i++) {
    const lease = await win(stage.first, stage.request(electionGroup));
    // A grant may hint too; only after it is the count still.
    await wait(50);
    const seen = watcher.hints();
    assert.equal(await stage.first.release(lease, soon()), "released");
    await watcher.more(seen);
    assert.equal(await other.read(electionGroup, soon()), null, "after the hint the release must be visible");
  }
  await watcher.stop();
}

async function hintOfTransfer(stage: Stage): Promise<void> {
  const other = await stage.open();
  const electionGroup = stage.group();
  const watcher = follow(other, electionGroup);
  await watcher?.more(0);
  const carries = other.capabilities.transfer === true;
  for (const name of ["anna", undefined, "bela-2.x_Y"]) {
    const request = stage.request(electionGroup);
    const { termId } = await win(stage.first, request);
    await wait(50);
    const seen = watcher?.hints() ?? 0;
    const options = name === undefined ? soon() : { ...soon(), transferTo: name };
    assert.equal(await stage.first.release({ electionGroup, termId }, options), "released");
    // A hint and no more: the lease is free for all.
    assert.equal(await other.read(electionGroup, soon()), null);
    await watcher?.more(seen);
    if (watcher === null || !carries || name === undefined) continue;
    await until("the hint says for whom", patience(HINT_LIMIT), 2, () => {
      return Promise.resolve(watcher.transfers.at(-1) === name ? true : undefined);
    });
  }
  assert.deepEqual(watcher?.transfers ?? [], watcher !== null && carries ? ["anna", "bela-2.x_Y"] : []);
  // One that comes to watch later is told nothing of what is long over.
  const late = follow(await stage.open(), electionGroup);
  await late?.more(0);
  await wait(50);
  assert.deepEqual(late?.transfers ?? [], []);
  const lease = await win(other, stage.request(electionGroup));
  assert.deepEqual((await other.read(electionGroup, soon()))?.metadata, stage.request(electionGroup).metadata);
  await other.release(lease, soon());
  await Promise.all([watcher?.stop(), late?.stop()]);
}

async function manyWatchers(stage: Stage): Promise<void> {
  const other = await stage.open();
  const [group, quiet] = [stage.group(), stage.group()];
  const watchers = [follow(other, group), follow(other, group), follow(stage.first, group), follow(other, quiet)];
  if (watchers.includes(null)) return;
  const live = watchers.filter((watcher) => watcher !== null);
  await Promise.all(live.map((watcher) => watcher.more(0)));
  const lease = await win(stage.first, stage.request(group));
  await wait(50);
  const seen = live.map((watcher) => watcher.hints());
  assert.equal(await other.release({ electionGroup: group, termId: lease.termId }, soon()), "released");
  await Promise.all(live.slice(0, 3).map((watcher, i) => watcher.more(seen[i] ?? 0)));
  // One that leaves takes no hint from those that stay.
  await live[0]?.stop();
  const next = await win(stage.first, stage.request(group));
  await wait(50);
  const later = live.map((watcher) => watcher.hints());
  assert.equal(await stage.first.release(next, soon()), "released");
  await Promise.all(live.slice(1, 3).map((watcher, i) => watcher.more(later[i + 1] ?? 0)));
  await Promise.all(live.map((watcher) => watcher.stop()));
}

async function watchEnds(stage: Stage): Promise<void> {
  const { first } = stage;
  if (first.watch === undefined) return;
  const electionGroup = stage.group();
  for await (const _ of first.watch(electionGroup, { signal: AbortSignal.abort() })) {
    assert.fail("an aborted watch must not hint");
  }
  const watcher = follow(first, electionGroup);
  await watcher?.more(0);
  await watcher?.stop();
  const atOnce = follow(first, electionGroup, "impatient");
  await atOnce?.stop();
  // Leaving the loop ends it too.
  for await (const _ of first.watch(electionGroup, soon())) break;
  const again = follow(first, electionGroup);
  await again?.more(0);
  await again?.stop();
}

async function placesInTheQueue(stage: Stage): Promise<void> {
  const clients = await stage.clients(3);
  const electionGroup = stage.group();
  const lease = await win(stage.first, stage.request(electionGroup));
  const waiting: { client: Provider; participantId: string; watcher: Watcher }[] = [];
  for (const [i, client] of clients.entries()) {
    const participantId = `waiting-${i}`;
    const watcher = follow(client, electionGroup, participantId);
    if (watcher === null) return;
    await watcher.more(0);
    waiting.push({ client, participantId, watcher });
  }
  // The first in the queue gives up, by stopping: it must not block those behind it.
  await waiting[0]?.watcher.stop();
  assert.equal(await stage.first.release(lease, soon()), "released");
  const winner = await until("a waiting participant wins", patience(HINT_LIMIT), 10, async () => {
    for (const { client, participantId, watcher } of waiting.slice(1)) {
      if (watcher.hints() === 0) continue;
      const answer = await client.acquire(stage.request(electionGroup, { participantId }), soon());
      if (answer.acquired) return { client, lease: answer.lease };
    }
    return undefined;
  });
  assert.ok(winner.lease.token > lease.token);
  await Promise.all(waiting.map(({ watcher }) => watcher.stop()));
  assert.equal(await winner.client.release(winner.lease, soon()), "released");
  const next = await win(stage.first, stage.request(electionGroup));
  assert.ok(next.token > winner.lease.token, "nobody who stopped waiting may be in the way");
}

async function handOn(stage: Stage): Promise<void> {
  if (stage.first.watch === undefined) return;
  const clients = await stage.clients(3);
  const electionGroup = stage.group();
  const tokens: bigint[] = [];
  await Promise.all(clients.map(async (client, i) => {
    const request = stage.request(electionGroup, { participantId: `runner-${i}` });
    const done = new AbortController();
    for await (
      const _ of client.watch?.(electionGroup, { signal: done.signal, participantId: request.participantId }) ?? []
    ) {
      const answer = await client.acquire(request, soon());
      if (!answer.acquired) continue;
      tokens.push(answer.lease.token);
      assert.equal(await client.release(answer.lease, soon()), "released");
      done.abort();
    }
  }));
  assert.equal(tokens.length, clients.length, "each must have had its turn");
  assert.deepEqual(tokens, [...tokens].sort((a, b) => a < b ? -1 : 1), "tokens must grow from turn to turn");
  assert.equal(new Set(tokens).size, tokens.length, "no two terms may share a token");
}
