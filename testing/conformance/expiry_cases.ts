/** Leases that expire. Waiting takes the time, so the parts of a case wait together, each on a group of its own. */

import assert from "node:assert/strict";
import { type Clock, systemClock } from "../../src/time/clock.ts";
import type { AcquireRequest, Lease, Provider } from "../../src/provider.ts";
import { checkLeader, lose, now, onStage, soon, type Stage, together, until, wait, win, winSoon } from "./stage.ts";
import type { ConformanceCase, ConformanceTarget } from "./target.ts";

const HOUR = 3_600_000;

/** Returns the cases about expiry. */
export function expiryCases(target: ConformanceTarget): ConformanceCase[] {
  return [
    onStage(target, "a lease lives as long as promised, and is free soon after", (stage) =>
      together({
        "from its grant": () => livesFromGrant(stage),
        "from its renewal": () => livesFromRenewal(stage),
        "from a renewal with metadata": () => livesFromRenewal(stage, { with: "metadata" }),
        "from the moment its term asked again": () => livesFromAskingAgain(stage),
        "as long as it is renewed, however long others look on": () => livesWhileRenewed(stage),
        "as its own term asked, not as the next one does": () => ownTimeout(stage),
        "also when its participant gave up on the answer": () => orphanFreesItself(stage),
      })),
    onStage(
      target,
      "a lease expires by the backend's clock, when a participant's wall clock is hours off",
      (stage) =>
        together({
          "a contender that is ahead steals nothing": () => skewedContender(stage, 5 * HOUR),
          "a contender that is behind gets its turn": () => skewedContender(stage, -5 * HOUR),
          "a holder that is ahead does not block": () => skewedHolder(stage, 5 * HOUR),
          "a holder that is behind is not robbed": () => skewedHolder(stage, -5 * HOUR),
        }),
    ),
    onStage(target, "an expired term is over", (stage) =>
      together({
        "it is not reported": () => notReported(stage),
        "its late calls leave the successor alone": () => lateCalls(stage),
        "its late renewal is refused, or holds": () => lateRenewal(stage),
        "one of many takes over": () => oneTakesOver(stage),
      })),
    onStage(target, "a late renewal and a take-over do not both succeed", lateRenewalRaces),
  ];
}

/** A clock that is `offset` milliseconds off. */
function skewed(offset: number): Clock {
  return { ...systemClock, wall: () => systemClock.wall() + offset };
}

function shortRequest(stage: Stage, changes: Partial<AcquireRequest> = {}): AcquireRequest {
  return stage.request(stage.group(), { heartbeatTimeout: stage.short, ...changes });
}

/** Contends for the lease until it is granted, and asserts that this was not before its time, and not long after. */
async function takeOver(stage: Stage, client: Provider, lease: Lease, renewedAt: number): Promise<Lease> {
  const next = await winSoon(stage, client, stage.request(lease.electionGroup, { heartbeatTimeout: stage.short }));
  const age = now() - renewedAt;
  const least = lease.heartbeatTimeout * 0.99;
  assert.ok(age >= least, `the lease was taken ${Math.round(age)} ms after its renewal, but was good for ${least} ms`);
  assert.ok(next.token > lease.token, `token must grow over an expiry: ${next.token} came after ${lease.token}`);
  return next;
}

async function livesFromGrant(stage: Stage): Promise<void> {
  const contender = await stage.open();
  const request = shortRequest(stage);
  const sentAt = now();
  const lease = await win(stage.first, request);
  await takeOver(stage, contender, lease, sentAt);
}

/** A provider that goes by what stands still must see each renewal, over more than one lease. */
async function livesWhileRenewed(stage: Stage): Promise<void> {
  const contender = await stage.open();
  const lease = await win(stage.first, shortRequest(stage));
  const contend = stage.request(lease.electionGroup, { heartbeatTimeout: stage.short });
  let renewedAt = now();
  for (const start = renewedAt; now() - start < 2.5 * stage.short;) {
    await wait(stage.short / 6);
    const sentAt = now();
    if (await stage.first.renew(lease, soon()) === "renewed") renewedAt = sentAt;
    const answer = await contender.acquire(contend, soon());
    const age = now() - renewedAt;
    if (!answer.acquired) continue;
    // A machine that stood still for a whole lease has lost it by right.
    assert.ok(age >= lease.heartbeatTimeout * 0.99, `the lease was taken ${Math.round(age)} ms after its renewal`);
    return;
  }
}

async function livesFromRenewal(stage: Stage, metadata?: Record<string, string>): Promise<void> {
  const contender = await stage.open();
  const lease = await win(stage.first, shortRequest(stage));
  await wait(stage.short * 0.5);
  const sentAt = now();
  assert.equal(await stage.first.renew(lease, { ...soon(), metadata }), "renewed");
  await takeOver(stage, contender, lease, sentAt);
}

async function livesFromAskingAgain(stage: Stage): Promise<void> {
  const contender = await stage.open();
  const request = shortRequest(stage);
  const lease = await win(stage.first, request);
  await wait(stage.short * 0.5);
  const sentAt = now();
  assert.equal((await win(stage.first, request)).token, lease.token, "the same term must keep its token");
  await takeOver(stage, contender, lease, sentAt);
}

async function ownTimeout(stage: Stage): Promise<void> {
  const contender = await stage.open();
  const sentAt = now();
  const longer = Math.min(stage.short * 2, stage.first.capabilities.maxTimeout ?? Infinity);
  const lease = await win(stage.first, shortRequest(stage, { heartbeatTimeout: longer }));
  await takeOver(stage, contender, lease, sentAt);
}

async function orphanFreesItself(stage: Stage): Promise<void> {
  const [crashing, contender] = await stage.clients(2);
  assert.ok(crashing && contender);
  const request = shortRequest(stage);
  const giveUp = new AbortController();
  const answer = crashing.acquire(request, { signal: giveUp.signal });
  await Promise.race([answer.catch(() => {}), wait(1)]);
  giveUp.abort(new Error("the participant crashed"));
  await answer.catch(() => {});
  await winSoon(stage, contender, stage.request(request.electionGroup, { heartbeatTimeout: stage.short }));
}

async function skewedContender(stage: Stage, offset: number): Promise<void> {
  const contender = await stage.open({ clock: skewed(offset) });
  const sentAt = now();
  const lease = await win(stage.first, shortRequest(stage));
  const seen = await contender.read(lease.electionGroup, soon());
  if (now() - sentAt < stage.short * 0.99) checkLeader(seen, lease);
  await takeOver(stage, contender, lease, sentAt);
}

async function skewedHolder(stage: Stage, offset: number): Promise<void> {
  const holder = await stage.open({ clock: skewed(offset) });
  const lease = await win(holder, shortRequest(stage));
  await wait(stage.short * 0.3);
  const sentAt = now();
  assert.equal(await holder.renew(lease, soon()), "renewed");
  const seen = await stage.first.read(lease.electionGroup, soon());
  if (now() - sentAt < stage.short * 0.99) checkLeader(seen, lease);
  await takeOver(stage, stage.first, lease, sentAt);
}

async function notReported(stage: Stage): Promise<void> {
  const observer = await stage.open();
  const sentAt = now();
  const lease = await win(stage.first, shortRequest(stage));
  await until("an expired leader is no longer reported", stage.freeBy, stage.pause, async () => {
    const info = await observer.read(lease.electionGroup, soon());
    if (info !== null) checkLeader(info, lease);
    return info === null ? true : undefined;
  });
  assert.ok(now() - sentAt >= stage.short * 0.99, "a leader must be reported while its lease lives");
}

async function lateCalls(stage: Stage): Promise<void> {
  const other = await stage.open();
  const request = shortRequest(stage, { participantId: "same-name" });
  const sentAt = now();
  const old = await win(stage.first, request);
  const successor = await takeOver(stage, other, old, sentAt);
  const { electionGroup } = old;
  const metadata = { written: "late" };
  assert.equal(await other.renew(successor, soon()), "renewed");
  assert.equal(await stage.first.renew(old, soon()), "lost", "a late renewal must not succeed");
  assert.equal(await stage.first.renew(old, { ...soon(), metadata }), "lost");
  assert.equal(await stage.first.release(old, soon()), "notHolder", "a late release must not free the successor");
  checkLeader(await other.read(electionGroup, soon()), successor, {});
  // The old term retries its acquire, as if it had never heard the answer.
  checkLeader(await lose(stage.first, request), successor);
  assert.equal(await other.release(successor, soon()), "released");
  const revived = await win(stage.first, request);
  assert.ok(revived.token > successor.token, "a term that asks again after a successor must get a new token");
}

async function lateRenewal(stage: Stage): Promise<void> {
  const other = await stage.open();
  const lease = await win(stage.first, shortRequest(stage));
  await wait(stage.short * 1.2);
  const sentAt = now();
  const answer = await stage.first.renew(lease, soon());
  // Nobody had taken over: a backend may forgive, but then the lease must hold again.
  await takeOver(stage, other, lease, answer === "renewed" ? sentAt : -Infinity);
}

async function oneTakesOver(stage: Stage): Promise<void> {
  const clients = await stage.clients(3);
  const lease = await win(stage.first, shortRequest(stage));
  const granted: Lease[] = [];
  await Promise.all([...clients, ...clients].map(async (client) => {
    const request = stage.request(lease.electionGroup);
    await until("somebody takes over", stage.freeBy, stage.pause, async () => {
      if (granted.length > 0) return true;
      const answer = await client.acquire(request, soon());
      if (answer.acquired) granted.push(answer.lease);
      return undefined;
    });
  }));
  assert.equal(granted.length, 1, `one must take over, not ${granted.length}`);
  checkLeader(await stage.first.read(lease.electionGroup, soon()), granted[0] ?? lease);
}

async function lateRenewalRaces(stage: Stage): Promise<void> {
  const other = await stage.open();
  // Around the moment of expiry, a few milliseconds apart.
  await Promise.all(Array.from({ length: 24 }, (_, i) => race(i * 3 - 20)));

  async function race(offsetMs: number): Promise<void> {
    const request = shortRequest(stage);
    const lease = await win(stage.first, request);
    const answeredAt = now();
    const rival = stage.request(request.electionGroup);
    const early = await other.acquire(rival, soon());
    // A machine that stalled for a whole lease has raced already.
    if (early.acquired) return;
    await wait(answeredAt + stage.short + offsetMs - now());
    const [renewal, takeOver] = await Promise.all([stage.first.renew(lease, soon()), other.acquire(rival, soon())]);
    const both = renewal === "renewed" && takeOver.acquired;
    assert.ok(!both, `both succeeded, ${offsetMs} ms after the expiry`);
    if (takeOver.acquired) {
      assert.equal(await stage.first.renew(lease, soon()), "lost");
      assert.equal(await other.renew(takeOver.lease, soon()), "renewed");
    }
  }
}
