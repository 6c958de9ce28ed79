/** Events and values of the election: E1 to E4 of docs/proof.md. */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { LeadershipChange } from "../src/changes/change.ts";
import { ProviderError } from "../src/errors.ts";
import { Stage } from "./stage.ts";

const soon = () => ({ signal: AbortSignal.timeout(1_000) });

test("looks that find the same leader publish nothing", async () => {
  const stage = new Stage();
  const [a, b] = [stage.actor("a"), stage.actor("b")];
  await stage.start(a);
  const changes = b.election.changes();
  await stage.start(b);
  await stage.clock.advance(60_000);
  await stage.finish(b.election.stop());
  assert.deepEqual((await changes.toArray()).map(({ type, current }) => [type, current?.leaderId]), [["changed", "a"]]);
});

test("lastHeartbeat follows the heartbeats, in the status of the leader and in what others read", async () => {
  const stage = new Stage();
  const [a, b] = [stage.actor("a"), stage.actor("b")];
  await stage.start(a);
  await stage.start(b);
  await stage.clock.advance(60_000);
  const now = stage.clock.wall();
  for (const leader of [a.election.status.currentLeader, await b.election.getCurrentLeader()]) {
    assert.equal(leader?.leaderId, "a");
    assert.ok(now - (leader?.lastHeartbeat?.getTime() ?? 0) <= 5_000);
  }
});

test("an expired or released leader is nobody, also in the status of one who saw it", async () => {
  const stage = new Stage();
  const [a, b] = [stage.actor("a"), stage.actor("b", { observer: true })];
  await stage.start(a);
  await stage.start(b);
  assert.equal(b.election.status.currentLeader?.leaderId, "a");
  a.provider.faults.renew = a.provider.faults.acquire = { hang: true };
  b.provider.faults.read = { hang: true };
  await stage.clock.advance(15_001);
  assert.equal(b.election.status.currentLeader, null);
  delete b.provider.faults.read;
  assert.equal(await b.election.getCurrentLeader(), null);
});

test("getCurrentLeader() leaves no record behind", async () => {
  const stage = new Stage();
  const { election, provider } = stage.actor("a");
  assert.equal(await election.getCurrentLeader(), null);
  assert.deepEqual(await stage.store.groups?.(soon()), []);
  assert.deepEqual(provider.calls, ["read"]);
});

test("held, a failing backend and a stopped election are told apart", async () => {
  const stage = new Stage();
  const [a, b] = [stage.actor("a"), stage.actor("b")];
  await stage.start(a);
  await stage.start(b);
  assert.equal((await stage.finish(b.election.tryAcquireLeadership())).outcome, "held");
  b.provider.faults.acquire = { fail: true };
  await assert.rejects(stage.finish(b.election.tryAcquireLeadership()), ProviderError);
  await stage.finish(b.election.stop());
  await assert.rejects(b.election.tryAcquireLeadership(), /it is not started/);
});

test("E1: acquired and lost alternate, with the state changed before the event", async () => {
  const stage = new Stage();
  const a = stage.actor("a", { retryBaseDelay: 1 });
  const seen: [string, boolean][] = [];
  const follow = a.election.changes({ types: ["acquired", "lost"] })
    .forEach(({ type }) => void seen.push([type, a.election.isLeader]));
  await stage.start(a);
  for (let i = 0; i < 5; i++) {
    a.provider.faults.renew = { fail: true };
    await stage.clock.advance(14_000);
    delete a.provider.faults.renew;
    await stage.clock.advance(5_000);
    await stage.finish(a.election.releaseLeadership({ cooldown: 100 }));
    await stage.clock.advance(1_000);
  }
  await stage.finish(a.election.stop());
  await follow;
  assert.ok(seen.length >= 20);
  seen.forEach(([type, leads], i) =>
    assert.deepEqual([type, leads], i % 2 === 0 ? ["acquired", true] : ["lost", false])
  );
});

test("E2: what happens between the subscription and the first read is not lost", async () => {
  const stage = new Stage();
  const a = stage.actor("a");
  const changes = a.election.changes();
  await stage.start(a);
  await stage.finish(a.election.releaseLeadership());
  const first = await changes.next();
  assert.equal(first.value?.type, "acquired");
  assert.equal((await changes.next()).value?.type, "lost");
});

test("E3: a reader that comes late sees the latest state last", async () => {
  const stage = new Stage();
  const [a, b] = [stage.actor("a"), stage.actor("b", { observer: true })];
  await stage.start(b);
  const changes = b.election.changes();
  for (let i = 0; i < 50; i++) {
    await stage.start(a);
    await stage.clock.advance(6_000);
    await stage.finish(a.election.stop());
    await stage.clock.advance(6_000);
  }
  await stage.start(a);
  await stage.clock.advance(6_000);
  await stage.finish(b.election.stop());
  const seen: LeadershipChange[] = await changes.toArray();
  assert.equal(seen.at(-1)?.current?.token, 51n);
});

test("an event tells what was, what is, and why", async () => {
  const stage = new Stage();
  const a = stage.actor("a", { metadata: { zone: "east" } });
  const changes = a.election.changes();
  await stage.start(a);
  const { term } = a.election;
  await stage.finish(a.election.releaseLeadership());
  await stage.finish(a.election.stop());
  const [acquired, lost] = await changes.toArray();
  assert.equal(acquired?.previous, null);
  assert.deepEqual(acquired?.current?.metadata, { zone: "east" });
  assert.deepEqual([acquired?.becameLeader, acquired?.lostLeadership], [true, false]);
  assert.equal(lost?.previous?.termId, term?.termId);
  assert.equal(lost?.current, null);
  assert.deepEqual([lost?.becameLeader, lost?.lostLeadership, lost?.reason], [false, true, "released"]);
});

test("status tells the role, the token and the looks", async () => {
  const stage = new Stage();
  const [a, b] = [stage.actor("a"), stage.actor("b")];
  assert.deepEqual(a.election.status, {
    role: "stopped",
    currentLeader: null,
    token: null,
    lastElectionAttempt: null,
    nextElectionAttempt: null,
    lastError: null,
  });
  await stage.start(a);
  await stage.start(b);
  await stage.clock.advance(1_000);
  assert.deepEqual([a.election.status.role, a.election.status.token], ["leader", 1n]);
  assert.equal(a.election.status.nextElectionAttempt, null);
  const { role, token, lastElectionAttempt, nextElectionAttempt } = b.election.status;
  assert.deepEqual([role, token], ["follower", null]);
  assert.ok((nextElectionAttempt?.getTime() ?? 0) > (lastElectionAttempt?.getTime() ?? 0));
});

test("waitForLeader() resolves when somebody else is seen to lead", async () => {
  const stage = new Stage();
  const [a, b] = [stage.actor("a"), stage.actor("b", { observer: true })];
  const waiting = b.election.waitForLeader();
  await stage.start(b);
  await stage.start(a);
  assert.equal((await stage.finish(waiting)).leaderId, "a");
});

test("waits reject with the reason of their signal", async () => {
  const stage = new Stage();
  const a = stage.actor("a");
  const controller = new AbortController();
  const waits = [a.election.waitForLeadership(controller), a.election.waitForLeader(controller)]
    .map((wait) => assert.rejects(wait, /no more/));
  controller.abort(new Error("no more"));
  await Promise.all(waits);
  await assert.rejects(a.election.waitForLeadership(controller), /no more/);
});

test("updateMetadata() is seen by others at once, and survives into the next term", async () => {
  const stage = new Stage();
  const a = stage.actor("a");
  await stage.start(a);
  await stage.finish(a.election.updateMetadata({ load: "high" }));
  assert.deepEqual((await stage.store.read("g", soon()))?.metadata, { load: "high" });
  assert.deepEqual(a.election.status.currentLeader?.metadata, { load: "high" });
  await stage.finish(a.election.releaseLeadership({ cooldown: 0 }));
  await stage.clock.advance(1_000);
  assert.deepEqual((await stage.store.read("g", soon()))?.metadata, { load: "high" });
});

test("updateMetadata() rejects when its renewal fails, and another follows the next heartbeat", async () => {
  const stage = new Stage();
  const a = stage.actor("a");
  await stage.start(a);
  a.provider.faults.renew = { fail: true };
  await assert.rejects(stage.finish(a.election.updateMetadata({ load: "high" })), ProviderError);
  await assert.rejects(a.election.updateMetadata({ "": "empty key" }), RangeError);
  delete a.provider.faults.renew;
  await stage.clock.advance(5_000);
  assert.deepEqual((await stage.store.read("g", soon()))?.metadata, { load: "high" });
});

test("the logger is told of terms, and of looks that fail; of every call only when asked", async () => {
  const stage = new Stage();
  const lines: string[] = [];
  const log = (level: string) => (message: string) => void lines.push(`${level} ${message}`);
  const logger = { debug: log("debug"), info: log("info"), warn: log("warn"), error: log("error") };
  const a = stage.actor("a", { logger });
  a.provider.faults.acquire = { fail: true };
  await stage.start(a);
  delete a.provider.faults.acquire;
  await stage.clock.advance(1_000);
  await stage.finish(a.election.stop());
  assert.deepEqual(lines, ["warn a look at the backend failed", "info acquired leadership", "info lost leadership"]);
});
