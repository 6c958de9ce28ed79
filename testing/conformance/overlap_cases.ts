/** Calls of one term that are under way at the same time. */

import assert from "node:assert/strict";
import type { Lease, Provider } from "../../src/provider.ts";
import { checkLeader, lose, onStage, soon, type Stage, together, wait, win } from "./stage.ts";
import type { ConformanceCase, ConformanceTarget } from "./target.ts";

/** The number of renewals of one lease that are under way at once. */
const RENEWALS = 50;
/** The number of times that calls overlap, each time in another way. */
const ROUNDS = 12;

/** Returns the cases about calls that overlap. */
export function overlapCases(target: ConformanceTarget): ConformanceCase[] {
  return [
    onStage(
      target,
      "renew() of one lease succeeds any number of times at once, and the last metadata stays",
      manyRenewals,
    ),
    onStage(target, "acquire() answers one lease, when its term asks again before the first answer", askTwice),
    onStage(
      target,
      "acquire() and release() of one term may overlap, and what is released stays free",
      (stage) =>
        together({
          "by the same client": () => acquireMeetsRelease(stage, stage.first),
          "by another client": async () => acquireMeetsRelease(stage, await stage.open()),
          "when the lease is held already": () => askingAgainMeetsRelease(stage),
          "with renewals": () => renewalMeetsRelease(stage),
        }),
    ),
    onStage(
      target,
      "a term that was evicted gets a new lease, when it asks again, and not its old one",
      evictedAsksAgain,
    ),
  ];
}

async function manyRenewals(stage: Stage): Promise<void> {
  const lease = await win(stage.first, stage.request(stage.group(), { metadata: { state: "new" } }));
  const plain = await Promise.all(Array.from({ length: RENEWALS }, () => stage.first.renew(lease, soon())));
  assert.deepEqual(new Set(plain), new Set(["renewed"]), "a renewal must not be lost to another of the same lease");
  checkLeader(await stage.first.read(lease.electionGroup, soon()), lease, { state: "new" });
  const some = await Promise.all(Array.from({ length: RENEWALS }, (_, i) => {
    const metadata = i % 2 === 0 ? { [`only ${i}`]: "1", last: String(i) } : undefined;
    return stage.first.renew(lease, { ...soon(), metadata });
  }));
  assert.deepEqual(new Set(some), new Set(["renewed"]), "a renewal with metadata must not be lost to another");
  const last = RENEWALS - 2;
  const kept = { [`only ${last}`]: "1", last: String(last) };
  checkLeader(await stage.first.read(lease.electionGroup, soon()), lease, kept);
  assert.equal(await stage.first.release(lease, soon()), "released");
}

async function askTwice(stage: Stage): Promise<void> {
  const other = await stage.open();
  for (let round = 0; round < ROUNDS; round++) {
    const request = stage.request(stage.group());
    const giveUp = new AbortController();
    // The first is given up while the others are under way: what they share must not end with it.
    const first = stage.first.acquire(request, { signal: giveUp.signal }).catch((error: unknown) =>
      assert.equal(error, giveUp.signal.reason, "the call must reject with the reason")
    );
    const others = Array.from({ length: 3 }, () => win(stage.first, request));
    await pause(round);
    giveUp.abort(new Error("only the first gives up"));
    const leases = await Promise.all(others);
    await first;
    for (const lease of leases) assert.equal(lease.token, leases[0]?.token, "the same term must have one token");
    const [lease] = leases;
    assert.ok(lease !== undefined);
    checkLeader(await other.read(request.electionGroup, soon()), lease);
    checkLeader(await lose(other, stage.request(request.electionGroup)), lease);
    assert.equal(await stage.first.release(lease, soon()), "released");
    assert.equal(await other.read(request.electionGroup, soon()), null, "one release() must undo every acquire()");
    const next = await win(other, stage.request(request.electionGroup));
    assert.ok(next.token > lease.token, `token must grow: ${next.token} came after ${lease.token}`);
  }
}

/** An acquire and a release of the same term under way at once: whichever came first, both answers must be true. */
async function acquireMeetsRelease(stage: Stage, releasing: Provider): Promise<void> {
  const other = await stage.open();
  // A first call of each client, so that none has to connect while the other is quick.
  await Promise.all([releasing, other].map((client) => client.read(stage.group(), soon())));
  for (let round = 0; round < ROUNDS; round++) {
    const request = stage.request(stage.group());
    const { electionGroup, termId } = request;
    const asked = stage.first.acquire(request, soon());
    asked.catch(() => {});
    await pause(round);
    const freed = await releasing.release({ electionGroup, termId }, soon());
    const answer = await asked;
    if (freed === "released") {
      await staysFree(
        stage,
        other,
        answer.acquired ? answer.lease : { ...request, token: 1n, acquiredAt: new Date(0) },
      );
    } else {
      assert.ok(answer.acquired, "acquire() must grant a free lease");
      checkLeader(await other.read(electionGroup, soon()), answer.lease);
      assert.equal(await stage.first.release(answer.lease, soon()), "released");
      await staysFree(stage, other, answer.lease);
    }
    await win(other, stage.request(electionGroup));
  }
}

/**
 * As the participant does that has heard nothing, and gives up on the term: the lease may hold under a new token, or
 * not at all.
 */
async function askingAgainMeetsRelease(stage: Stage): Promise<void> {
  const other = await stage.open();
  for (let round = 0; round < ROUNDS; round++) {
    const request = stage.request(stage.group());
    const lease = await win(stage.first, request);
    const asked = stage.first.acquire(request, soon());
    asked.catch(() => {});
    await pause(round);
    assert.equal(await stage.first.release(lease, soon()), "released", "the term held its lease");
    const answer = await asked;
    const seen = await other.read(lease.electionGroup, soon());
    if (seen !== null) {
      assert.ok(answer.acquired && answer.lease.token > lease.token, "a released lease must not come back");
      checkLeader(seen, answer.lease);
      assert.equal(await stage.first.release(answer.lease, soon()), "released");
    }
    await staysFree(stage, other, lease);
  }
}

async function renewalMeetsRelease(stage: Stage): Promise<void> {
  const other = await stage.open();
  for (let round = 0; round < ROUNDS; round++) {
    const lease = await win(stage.first, stage.request(stage.group()));
    const beats = Array.from({ length: 3 }, (_, i) => {
      const metadata = i === 1 ? { beat: String(i) } : undefined;
      return stage.first.renew(lease, { ...soon(), metadata });
    });
    await pause(round);
    assert.equal(await stage.first.release(lease, soon()), "released", "the term held its lease");
    await Promise.all(beats);
    await staysFree(stage, other, lease);
  }
}

async function evictedAsksAgain(stage: Stage): Promise<void> {
  const operator = await stage.open();
  const request = stage.request(stage.group(), { metadata: { asked: "once" } });
  const { electionGroup, termId } = request;
  let lease = await win(stage.first, request);
  for (let i = 0; i < 3; i++) {
    assert.equal(await operator.release({ electionGroup, termId }, soon()), "released");
    const again = await win(stage.first, request);
    assert.ok(
      again.token > lease.token,
      `an evicted term must get a new token: ${again.token} came after ${lease.token}`,
    );
    checkLeader(await operator.read(electionGroup, soon()), again, { asked: "once" });
    assert.equal(await stage.first.renew(again, soon()), "renewed");
    lease = again;
  }
  assert.equal(await operator.release({ electionGroup, termId }, soon()), "released");
  const successor = await win(operator, stage.request(electionGroup));
  checkLeader(await lose(stage.first, request), successor);
  assert.equal(await stage.first.renew(lease, soon()), "lost", "an evicted term must not come back");
  checkLeader(await operator.read(electionGroup, soon()), successor);
}

/** Asserts that nobody holds the lease, also a little later, and that the term knows. */
async function staysFree(stage: Stage, other: Provider, lease: Lease): Promise<void> {
  const { electionGroup } = lease;
  assert.equal(await other.read(electionGroup, soon()), null, "a released lease must not be reported");
  assert.equal(await stage.first.renew(lease, soon()), "lost", "a released lease must not be renewed");
  await wait(10);
  assert.equal(await other.read(electionGroup, soon()), null, "a released lease must not come back");
}

/** A little longer each round: before the call is sent, while it is under way, after its answer. */
async function pause(round: number): Promise<void> {
  if (round > 1) await wait((round - 2) / 2);
  else if (round === 1) await Promise.resolve();
}
