/** Acquire, renew, release and read, while no lease expires. */

import assert from "node:assert/strict";
import type { LeaderInfo, Provider } from "../../src/provider.ts";
import { patience } from "./slowness.ts";
import { checkLeader, lose, onStage, soon, type Stage, until, win } from "./stage.ts";
import type { ConformanceCase, ConformanceTarget } from "./target.ts";

/** The number of contenders for one lease, and of their attempts. */
const CONTENDERS = 8;
const ROUNDS = 10;

/** Returns the cases about leases. */
export function leaseCases(target: ConformanceTarget): ConformanceCase[] {
  return [
    onStage(target, "healthCheck() resolves, when the backend is there", (stage) => stage.first.healthCheck(soon())),
    onStage(target, "capabilities agree with the provider and with the suite", checkCapabilities),
    onStage(target, "acquire() grants one of many contenders, round after round", manyContend),
    onStage(target, "acquire() names the holder and changes nothing, when the lease is held", holderIsNamed),
    onStage(target, "acquire() refuses a second term of the same participant", sameParticipant),
    onStage(target, "acquire() answers the same lease, when its term asks again", askAgain),
    onStage(target, "acquire() answers its lease, when the first answer was thrown away", answerThrownAway),
    onStage(target, "renew() keeps the lease and its metadata, or replaces the metadata", renewals),
    onStage(target, "renew() and release() refuse terms that hold nothing", strangers),
    onStage(target, "release() frees the lease at once, and only once", releaseFrees),
    onStage(target, "release() by another client, knowing the termId alone, evicts", evictions),
    onStage(target, "renew() and release() of an old term leave its successor alone", oldTerm),
    onStage(target, "groups are independent of each other", independentGroups),
    onStage(target, "read() answers null and writes nothing, when the group is unknown", readWritesNothing),
    onStage(target, "token grows from term to term, also of one participant", tokensGrow),
  ];
}

function checkCapabilities({ first, short, target }: Stage): Promise<void> {
  const { watch, timeAuthority, minTimeout, maxTimeout, durability } = first.capabilities;
  assert.equal(first.name, target.name, "name must be the provider's");
  assert.equal(watch, first.watch !== undefined, "capabilities.watch must say whether watch() exists");
  assert.ok(timeAuthority === "server" || timeAuthority === "host");
  assert.ok(
    minTimeout > 0 && minTimeout <= (maxTimeout ?? Infinity),
    "minTimeout must be positive, and at most maxTimeout",
  );
  assert.ok(short >= minTimeout && short <= (maxTimeout ?? Infinity), "the suite's heartbeatTimeout must be allowed");
  assert.ok(durability.length > 0, "durability must be a sentence");
  return Promise.resolve();
}

async function manyContend(stage: Stage): Promise<void> {
  const clients = await stage.clients(CONTENDERS / 2);
  const electionGroup = stage.group();
  let token = 0n;
  for (let round = 0; round < ROUNDS; round++) {
    const requests = Array.from({ length: CONTENDERS }, () => stage.request(electionGroup));
    const answers = await Promise.all(
      requests.map((request, i) => (clients[i % clients.length] ?? stage.first).acquire(request, soon())),
    );
    const granted = answers.flatMap((answer) => answer.acquired ? [answer.lease] : []);
    assert.equal(granted.length, 1, `one of ${CONTENDERS} contenders must win round ${round}, not ${granted.length}`);
    const [lease] = granted;
    assert.ok(lease !== undefined);
    for (const answer of answers) {
      if (!answer.acquired && answer.leader !== null) checkLeader(answer.leader, lease);
    }
    assert.ok(lease.token > token, `token must grow: ${lease.token} came after ${token}`);
    token = lease.token;
    checkLeader(await stage.first.read(electionGroup, soon()), lease, {});
    const winner = answers.findIndex((answer) => answer.acquired) % clients.length;
    assert.equal(await (clients[winner] ?? stage.first).release(lease, soon()), "released");
  }
}

async function holderIsNamed(stage: Stage): Promise<void> {
  const other = await stage.open();
  const metadata = { zone: "b", build: "7" };
  const lease = await win(stage.first, stage.request(stage.group(), { metadata }));
  const before = await other.read(lease.electionGroup, soon());
  checkLeader(before, lease, metadata);
  for (const contender of [other, stage.first]) {
    const leader = await lose(contender, stage.request(lease.electionGroup, { metadata: { zone: "thief" } }));
    checkLeader(leader, lease, metadata);
  }
  const after = await other.read(lease.electionGroup, soon());
  checkLeader(after, lease, metadata);
  assert.deepEqual(after?.lastHeartbeat, before?.lastHeartbeat, "a lost acquire() must not look like a heartbeat");
  assert.ok((after?.expiresIn ?? 0) <= (before?.expiresIn ?? 0), "a lost acquire() must not prolong the lease");
  assert.equal(await stage.first.renew(lease, soon()), "renewed", "the holder must still hold the lease");
}

async function sameParticipant(stage: Stage): Promise<void> {
  const participantId = "twin";
  const lease = await win(stage.first, stage.request(stage.group(), { participantId }));
  for (const client of [stage.first, await stage.open()]) {
    const twin = stage.request(lease.electionGroup, { participantId });
    checkLeader(await lose(client, twin), lease);
    // Participants that only the term tells apart must be told apart: the twin gives up, and the holder must not
    // notice.
    const claim = { ...lease, termId: twin.termId };
    assert.equal(await client.renew(claim, soon()), "lost", "the twin must not renew the holder's lease");
    assert.equal(await client.release(claim, soon()), "notHolder", "the twin must not release the holder's lease");
  }
  checkLeader(await stage.first.read(lease.electionGroup, soon()), lease);
  assert.equal(await stage.first.renew(lease, soon()), "renewed");
}

async function askAgain(stage: Stage): Promise<void> {
  const request = stage.request(stage.group());
  const lease = await win(stage.first, request);
  for (let i = 0; i < 3; i++) {
    const again = await win(stage.first, request);
    assert.equal(again.token, lease.token, "the same term must keep its token");
    assert.equal(again.acquiredAt.getTime(), lease.acquiredAt.getTime(), "the same term must keep its acquiredAt");
  }
  // Also many times at once, as when answers are slow.
  const answers = await Promise.all(Array.from({ length: 5 }, () => win(stage.first, request)));
  assert.deepEqual(answers.map(({ token }) => token), answers.map(() => lease.token));
  await lose(await stage.open(), stage.request(lease.electionGroup));
  assert.equal(await stage.first.release(lease, soon()), "released");
  const next = await win(stage.first, stage.request(lease.electionGroup));
  assert.ok(next.token > lease.token, `token must grow: ${next.token} came after ${lease.token}`);
}

async function answerThrownAway(stage: Stage): Promise<void> {
  const electionGroup = stage.group();
  let token = 0n;
  for (let round = 0; round < 10; round++) {
    const request = stage.request(electionGroup);
    const giveUp = new AbortController();
    const first = stage.first.acquire(request, { signal: giveUp.signal });
    // A little later each time: before it is sent, while it is under way, after the answer.
    const patience = Promise.race([first, new Promise((resolve) => setTimeout(resolve, round / 2))]);
    await patience.catch(() => {});
    giveUp.abort(new Error("the answer is thrown away"));
    await first.catch((error: unknown) =>
      assert.equal(error, giveUp.signal.reason, "the call must reject with the reason")
    );
    const lease = await win(stage.first, request);
    assert.ok(lease.token > token, `token must grow: ${lease.token} came after ${token}`);
    token = lease.token;
    checkLeader(await stage.first.read(electionGroup, soon()), lease);
    assert.equal(await stage.first.release(lease, soon()), "released");
  }
}

async function renewals(stage: Stage): Promise<void> {
  const metadata = { state: "starting" };
  const lease = await win(stage.first, stage.request(stage.group(), { metadata }));
  const read = () => stage.first.read(lease.electionGroup, soon());
  const granted = await read();
  assert.equal(await stage.first.renew(lease, soon()), "renewed");
  checkLeader(await read(), lease, metadata);
  assert.equal(await stage.first.renew(lease, { ...soon(), metadata: { state: "ready", port: "80" } }), "renewed");
  checkLeader(await read(), lease, { state: "ready", port: "80" });
  assert.equal(await stage.first.renew(lease, soon()), "renewed");
  checkLeader(await read(), lease, { state: "ready", port: "80" });
  assert.equal(await stage.first.renew(lease, { ...soon(), metadata: {} }), "renewed");
  const renewed = await read();
  checkLeader(renewed, lease, {});
  const { lastHeartbeat = null } = granted ?? {};
  if (lastHeartbeat === null) return;
  assert.ok(renewed?.lastHeartbeat && renewed.lastHeartbeat >= lastHeartbeat, "lastHeartbeat must not go back");
  // Where it is recorded, those who look must see that the leader lives.
  await until("lastHeartbeat follows the heartbeats", patience(5_000), 20, async () => {
    assert.equal(await stage.first.renew(lease, soon()), "renewed");
    const seen = await read();
    return seen?.lastHeartbeat && seen.lastHeartbeat > lastHeartbeat ? true : undefined;
  });
}

async function strangers(stage: Stage): Promise<void> {
  const never = { ...stage.request(stage.group()), token: 1n, acquiredAt: new Date(0) };
  assert.equal(await stage.first.renew(never, soon()), "lost", "nobody ever held this group");
  assert.equal(await stage.first.renew(never, { ...soon(), metadata: { a: "b" } }), "lost");
  assert.equal(await stage.first.release(never, soon()), "notHolder", "nobody ever held this group");
  const lease = await win(stage.first, stage.request(stage.group(), { metadata: { a: "a" } }));
  const stranger = { ...lease, termId: crypto.randomUUID() };
  assert.equal(await stage.first.renew(stranger, soon()), "lost", "another term holds the lease");
  assert.equal(await stage.first.renew(stranger, { ...soon(), metadata: { a: "b" } }), "lost");
  assert.equal(await stage.first.release(stranger, soon()), "notHolder", "another term holds the lease");
  checkLeader(await stage.first.read(lease.electionGroup, soon()), lease, { a: "a" });
}

async function releaseFrees(stage: Stage): Promise<void> {
  const other = await stage.open();
  const lease = await win(stage.first, stage.request(stage.group()));
  assert.equal(await stage.first.release(lease, soon()), "released");
  assert.equal(await other.read(lease.electionGroup, soon()), null, "a released lease must not be reported");
  assert.equal(await stage.first.release(lease, soon()), "notHolder");
  assert.equal(await stage.first.renew(lease, soon()), "lost", "a released lease must not come back");
  assert.equal(await stage.first.renew(lease, { ...soon(), metadata: { a: "b" } }), "lost");
  assert.equal(await other.read(lease.electionGroup, soon()), null, "a lost renewal must not bring the lease back");
  const next = await win(other, stage.request(lease.electionGroup));
  assert.ok(next.token > lease.token, `token must grow: ${next.token} came after ${lease.token}`);
}

async function evictions(stage: Stage): Promise<void> {
  const [operator, successor] = await stage.clients(2);
  assert.ok(operator && successor);
  const electionGroup = stage.group();
  let token = 0n;
  for (let i = 0; i < 3; i++) {
    const lease = await win(stage.first, stage.request(electionGroup));
    assert.ok(lease.token > token, `token must grow over an eviction: ${lease.token} came after ${token}`);
    token = lease.token;
    const seen: LeaderInfo | null = await operator.read(electionGroup, soon());
    assert.ok(seen !== null);
    assert.equal(await operator.release({ electionGroup, termId: seen.termId }, soon()), "released");
    assert.equal(await stage.first.renew(lease, soon()), "lost", "the evicted must learn it with its next heartbeat");
    const next = await win(successor, stage.request(electionGroup));
    assert.ok(next.token > token, `token must grow over an eviction: ${next.token} came after ${token}`);
    token = next.token;
    assert.equal(await operator.release({ electionGroup, termId: lease.termId }, soon()), "notHolder");
    assert.equal(await successor.release(next, soon()), "released");
  }
}

async function oldTerm(stage: Stage): Promise<void> {
  const other = await stage.open();
  for (const client of [stage.first, other]) {
    const participantId = "same-name";
    const old = await win(stage.first, stage.request(stage.group(), { participantId }));
    assert.equal(await stage.first.release(old, soon()), "released");
    const successor = await win(client, stage.request(old.electionGroup, { participantId, metadata: { a: "a" } }));
    assert.equal(await stage.first.release(old, soon()), "notHolder", "a late release must not free the successor");
    assert.equal(await stage.first.renew(old, soon()), "lost", "a late renewal must not revive the old term");
    assert.equal(await stage.first.renew(old, { ...soon(), metadata: { a: "old" } }), "lost");
    checkLeader(await other.read(old.electionGroup, soon()), successor, { a: "a" });
    assert.equal(await client.renew(successor, soon()), "renewed");
  }
}

async function independentGroups(stage: Stage): Promise<void> {
  const base = stage.group();
  const other = await stage.open();
  // Names that a careless key, pattern, path or collation would confuse.
  const names = [
    base,
    `${base}.1`,
    `${base}-1`,
    `${base}_1`,
    base.toUpperCase(),
    `${base}.`,
    `.${base}`,
    `${base}.lock`,
  ];
  const clients: Provider[] = names.map((_, i) => i % 2 === 0 ? stage.first : other);
  const leases = await Promise.all(
    names.map((name, i) => win(clients[i] ?? other, stage.request(name, { metadata: { name } }))),
  );
  for (const [i, lease] of leases.entries()) {
    checkLeader(await other.read(lease.electionGroup, soon()), lease, { name: lease.electionGroup });
    // A term of one group means nothing in another.
    const elsewhere = { ...lease, electionGroup: names[(i + 1) % names.length] ?? "" };
    assert.equal(await other.release(elsewhere, soon()), "notHolder");
    assert.equal(await other.renew(elsewhere, soon()), "lost");
  }
  for (const [i, lease] of leases.entries()) {
    assert.equal(await (clients[i] ?? other).release(lease, soon()), "released", `"${lease.electionGroup}" is held`);
  }
}

async function readWritesNothing(stage: Stage): Promise<void> {
  const unknown = stage.group();
  for (let i = 0; i < 3; i++) assert.equal(await stage.first.read(unknown, soon()), null);
  const lease = await win(stage.first, stage.request(stage.group()));
  if (stage.first.groups === undefined) return;
  const groups = await stage.first.groups(soon());
  assert.ok(!groups.includes(unknown), "a group that was only read must not exist");
  assert.ok(groups.includes(lease.electionGroup), "a group with a leader must be listed");
  assert.equal(new Set(groups).size, groups.length, "no group may be listed twice");
}

async function tokensGrow(stage: Stage): Promise<void> {
  const [first, ...others] = [stage.first, ...await stage.clients(2)];
  const electionGroup = stage.group();
  let token = 0n;
  for (let i = 0; i < 12; i++) {
    const client = (i % 3 === 0 ? first : others[i % 2]) ?? first;
    const lease = await win(client, stage.request(electionGroup, { participantId: "one" }));
    assert.ok(lease.token > token, `token must grow: ${lease.token} came after ${token}`);
    token = lease.token;
    assert.equal(await client.release(lease, soon()), "released");
  }
}
