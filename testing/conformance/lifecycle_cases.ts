/** Aborting, closing, and sharing one client. */

import assert from "node:assert/strict";
import type { CallOptions, Provider } from "../../src/provider.ts";
import { patience } from "./slowness.ts";
import { checkLeader, now, onStage, soon, type Stage, win } from "./stage.ts";
import type { ConformanceCase, ConformanceTarget } from "./target.ts";
import { follow } from "./watch_cases.ts";

/** The number of elections that share one client. */
const ELECTIONS = 100;
/** The time that something that must end at once may take, in milliseconds, where nothing else runs. */
const SOON = 5_000;

/** Returns the cases about the life of a client. */
export function lifecycleCases(target: ConformanceTarget): ConformanceCase[] {
  return [
    onStage(target, "calls reject with the signal's reason and do nothing, when it has aborted before", abortedBefore),
    onStage(target, "calls reject soon with the signal's reason, when it aborts meanwhile", abortedMeanwhile),
    onStage(target, "one client serves many elections at once", manyElections),
    onStage(target, "closing is possible before first use, twice, and at the same time", closeTwice),
    onStage(target, "closing ends calls and watches that are under way, and disturbs no other client", closeUnderWay),
  ];
}

/** Every operation of `provider`, on the group of `lease`. */
function operations(provider: Provider, stage: Stage, electionGroup: string) {
  const request = stage.request(electionGroup);
  const lease = { ...request, token: 1n, acquiredAt: new Date(0) };
  return {
    acquire: (options: CallOptions) => provider.acquire(request, options),
    renew: (options: CallOptions) => provider.renew(lease, options),
    release: (options: CallOptions) => provider.release(lease, options),
    read: (options: CallOptions) => provider.read(electionGroup, options),
    healthCheck: (options: CallOptions) => provider.healthCheck(options),
    ...(provider.groups && { groups: (options: CallOptions) => provider.groups?.(options) ?? Promise.resolve([]) }),
  };
}

async function abortedBefore(stage: Stage): Promise<void> {
  const unused = await stage.open();
  const reason = new Error("aborted before");
  for (const provider of [stage.first, unused]) {
    const electionGroup = stage.group();
    for (const [name, call] of Object.entries(operations(provider, stage, electionGroup))) {
      await assert.rejects(call({ signal: AbortSignal.abort(reason) }), (error) => error === reason, `${name}()`);
    }
    assert.equal(await stage.first.read(electionGroup, soon()), null, "an aborted acquire() must do nothing");
    await win(provider, stage.request(electionGroup));
  }
}

async function abortedMeanwhile(stage: Stage): Promise<void> {
  const reason = new Error("aborted meanwhile");
  for (const name of Object.keys(operations(stage.first, stage, stage.group()))) {
    const call = Object.entries(operations(stage.first, stage, stage.group())).find(([each]) => each === name)?.[1];
    const abort = new AbortController();
    const start = now();
    const answer = call?.({ signal: abort.signal });
    abort.abort(reason);
    // It may have been done already. If not, it is unknown, and the reason says so.
    await answer?.catch((error: unknown) => assert.equal(error, reason, `${name}() must reject with the reason`));
    assert.ok(now() - start < patience(SOON), `${name}() must settle soon after an abort`);
  }
  await stage.first.healthCheck(soon());
}

async function manyElections(stage: Stage): Promise<void> {
  const other = await stage.open();
  const requests = Array.from({ length: ELECTIONS }, () => stage.request(stage.group()));
  const leases = await Promise.all(requests.map((request) => win(stage.first, request)));
  for (let i = 0; i < 3; i++) {
    const renewed = await Promise.all(leases.map((lease) => stage.first.renew(lease, soon())));
    assert.deepEqual(new Set(renewed), new Set(["renewed"]));
  }
  // Heartbeats that travel together must be told apart again.
  const evicted = leases.filter((_, i) => i % 3 === 0);
  await Promise.all(evicted.map((lease) => other.release(lease, soon())));
  const answers = await Promise.all(leases.map((lease) => stage.first.renew(lease, soon())));
  assert.deepEqual(answers, leases.map((_, i) => i % 3 === 0 ? "lost" : "renewed"));
  const released = await Promise.all(leases.map((lease) => stage.first.release(lease, soon())));
  assert.deepEqual(released, leases.map((_, i) => i % 3 === 0 ? "notHolder" : "released"));
}

async function closeTwice(stage: Stage): Promise<void> {
  const [unused, used, twice] = await stage.clients(3);
  assert.ok(unused && used && twice);
  await unused[Symbol.asyncDispose]();
  await used.healthCheck(soon());
  await used[Symbol.asyncDispose]();
  await used[Symbol.asyncDispose]();
  await twice.healthCheck(soon());
  await Promise.all([twice[Symbol.asyncDispose](), twice[Symbol.asyncDispose]()]);
  await stage.first.healthCheck(soon());
}

async function closeUnderWay(stage: Stage): Promise<void> {
  const closing = await stage.open();
  const kept = await win(stage.first, stage.request(stage.group()));
  await closing.healthCheck(soon());
  const watcher = follow(closing, stage.group());
  await watcher?.more(0);
  const calls = Object.values(operations(closing, stage, stage.group())).map((call) => call(soon()));
  const settled = Promise.allSettled(calls);
  const start = now();
  await closing[Symbol.asyncDispose]();
  // The calls must not hang, be they answered or cut off.
  await settled;
  await watcher?.stop().catch(() => {});
  assert.ok(now() - start < patience(SOON), "closing must end what is under way");
  checkLeader(await stage.first.read(kept.electionGroup, soon()), kept);
  assert.equal(await stage.first.renew(kept, soon()), "renewed", "the other client must not notice");
}
