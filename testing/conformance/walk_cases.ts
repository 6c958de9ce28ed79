/** Random walks: one call after the other against a model, and many at once against the rules of time. */

import assert from "node:assert/strict";
import type { AcquireRequest, Lease, Provider } from "../../src/provider.ts";
import { checkLeader, checkLease, now, onStage, soon, type Stage, wait } from "./stage.ts";
import type { ConformanceCase, ConformanceTarget } from "./target.ts";

/** Returns the cases that walk at random. */
export function walkCases(target: ConformanceTarget): ConformanceCase[] {
  const { seed = 1 } = target;
  return [
    onStage(target, `a random walk agrees with the model (seed ${seed})`, (stage) => walk(stage, seed, 300)),
    onStage(target, `a random walk agrees with the model, when leases expire (seed ${seed})`, async (stage) => {
      // Waiting is what takes time: several groups wait together.
      await Promise.all([1, 2, 3, 4].map((i) => walk(stage, seed + i, 16, stage.short)));
    }),
    onStage(target, `no two terms overlap, when many call at random (seed ${seed})`, (stage) => crowd(stage, seed)),
  ];
}

/** Mulberry32: small, seeded, and good enough to choose steps. Returns whole numbers below its argument. */
function randomFrom(seed: number): (below: number) => number {
  let state = seed | 0;
  return (below) => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return Math.floor((((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32) * below);
  };
}

interface Grant {
  readonly client: Provider;
  readonly request: AcquireRequest;
  readonly lease: Lease;
}

/**
 * All that is known of a group while only one walker touches it. Once a lease may have expired, both answers are right.
 */
class Model {
  holder: Grant | null = null;
  metadata: Readonly<Record<string, string>> = {};
  token = 0n;
  #sureUntil = 0;

  get isSure(): boolean {
    return this.holder === null || now() < this.#sureUntil;
  }

  granted(grant: Grant, sentAt: number): void {
    const again = this.holder?.request.termId === grant.request.termId;
    if (!again || grant.lease.token !== this.holder?.lease.token) {
      assert.ok(!again || !this.isSure, "a term that holds the lease must keep its token");
      assert.ok(grant.lease.token > this.token, `token must grow: ${grant.lease.token} came after ${this.token}`);
    }
    this.holder = grant;
    this.token = grant.lease.token;
    this.renewed(grant.request.metadata, sentAt);
  }

  renewed(metadata: Readonly<Record<string, string>>, sentAt: number): void {
    this.metadata = metadata;
    this.#sureUntil = sentAt + (this.holder?.request.heartbeatTimeout ?? 0) * 0.99;
  }
}

/**
 * Walks `steps` steps on one group. With `shortMs`, leases last that long, and two steps wait for up to a lease and a
 * half.
 */
async function walk(stage: Stage, seed: number, steps: number, shortMs?: number): Promise<void> {
  const clients = [stage.first, ...await stage.clients(2)];
  const random = randomFrom(seed);
  const electionGroup = stage.group();
  const model = new Model();
  const past: Grant[] = [];
  const trace: string[] = [];
  const moves = [ask, ask, askAgain, beat, beat, release, evict, late, read, read];
  let waits = shortMs === undefined ? 0 : 2;
  try {
    for (let step = 0; step < steps; step++) {
      const move = waits > 0 && random(steps / 4) === 0 ? pause : moves[random(moves.length)] ?? read;
      trace.push(move.name);
      await move(clients[random(clients.length)] ?? stage.first);
    }
  } catch (error) {
    assert.ok(error instanceof Error);
    throw new assert.AssertionError({
      message: `${error.message} (seed ${seed}, after ${trace.length} steps that ended with ${
        trace.slice(-8).join(", ")
      })`,
    });
  }

  async function pause(): Promise<void> {
    waits--;
    await wait(random((shortMs ?? 0) * 1.5));
  }

  async function ask(client: Provider): Promise<void> {
    const metadata = { [`k${random(3)}`]: `v${random(3)}` };
    const changes = { metadata, participantId: `p${random(3)}`, ...(shortMs && { heartbeatTimeout: shortMs }) };
    await acquire(client, stage.request(electionGroup, changes));
  }

  async function askAgain(): Promise<void> {
    if (model.holder !== null) await acquire(model.holder.client, model.holder.request);
  }

  async function acquire(client: Provider, request: AcquireRequest): Promise<void> {
    const { holder } = model;
    const mine = holder?.request.termId === request.termId;
    const sentAt = now();
    const answer = await client.acquire(request, soon());
    if (answer.acquired) {
      assert.ok(holder === null || mine || !model.isSure, "acquire() must not grant a lease that another term holds");
      model.granted({ client, request, lease: checkLease(answer, request) }, sentAt);
      past.push(model.holder ?? { client, request, lease: answer.lease });
    } else {
      assert.ok(holder !== null, "acquire() must grant a free lease");
      assert.ok(!mine || !model.isSure, "acquire() must answer the holder's term with its lease");
      if (model.isSure || answer.leader !== null) checkLeader(answer.leader, holder.lease, model.metadata);
    }
  }

  async function beat(): Promise<void> {
    const { holder } = model;
    if (holder === null) return;
    const metadata = random(2) === 0 ? { beat: String(random(100)) } : undefined;
    const sentAt = now();
    const answer = await holder.client.renew(holder.lease, { ...soon(), metadata });
    assert.ok(answer === "renewed" || !model.isSure, "renew() must renew the holder's lease");
    if (answer === "renewed") model.renewed(metadata ?? model.metadata, sentAt);
  }

  async function release(): Promise<void> {
    if (model.holder) await give(model.holder.client, model.holder);
  }

  async function evict(client: Provider): Promise<void> {
    if (model.holder) await give(client, model.holder);
  }

  async function give(client: Provider, { lease: { termId } }: Grant): Promise<void> {
    const answer = await client.release({ electionGroup, termId }, soon());
    assert.ok(answer === "released" || !model.isSure, "release() must release the holder's lease");
    if (answer === "released") model.holder = null;
  }

  async function late(client: Provider): Promise<void> {
    const old = past[random(past.length)];
    if (old === undefined || old.request.termId === model.holder?.request.termId) return;
    assert.equal(await old.client.renew(old.lease, { ...soon(), metadata: { late: "1" } }), "lost", "a late renewal");
    assert.equal(await client.release(old.lease, soon()), "notHolder", "a late release");
  }

  async function read(client: Provider): Promise<void> {
    const info = await client.read(electionGroup, soon());
    if (model.holder === null) assert.equal(info, null, "read() must report nobody");
    else if (model.isSure || info !== null) checkLeader(info, model.holder.lease, model.metadata);
  }
}

/** One term as its participant knows it: the lease is its own for certain from `from` until `until`. */
interface Reign {
  readonly token: bigint;
  readonly askedAt: number;
  readonly from: number;
  until: number;
  evictedAt: number;
}

async function crowd(stage: Stage, seed: number): Promise<void> {
  const electionGroup = stage.group();
  const reigns = new Map<string, Reign>();
  const evictedUnseen = new Set<string>();
  const clients = [stage.first, ...await stage.clients(2)];
  await Promise.all([...clients, ...clients].map((client, i) => participate(client, randomFrom(seed + i))));

  async function participate(client: Provider, random: (below: number) => number): Promise<void> {
    for (let attempt = 0; attempt < 30; attempt++) {
      const request = stage.request(electionGroup);
      const askedAt = now();
      const answer = await client.acquire(request, soon());
      const from = now();
      if (!answer.acquired) {
        if (answer.leader && random(10) === 0) await evict(client, answer.leader.termId);
        await wait(random(4));
        continue;
      }
      const until = askedAt + request.heartbeatTimeout * 0.99;
      const reign: Reign = { token: answer.lease.token, askedAt, from, until, evictedAt: Infinity };
      reigns.set(request.termId, reign);
      let holds = true;
      for (let beats = random(4); beats > 0 && holds; beats--) {
        await wait(random(3));
        holds = await client.renew(answer.lease, soon()) === "renewed";
      }
      reign.until = Math.min(reign.until, now());
      await client.release(answer.lease, soon());
    }
  }

  async function evict(client: Provider, termId: string): Promise<void> {
    const sentAt = now();
    if (await client.release({ electionGroup, termId }, soon()) !== "released") return;
    const reign = reigns.get(termId);
    // It may be that the evicted has not even seen its own grant; then its reign is of no length.
    if (reign) reign.evictedAt = Math.min(reign.evictedAt, sentAt);
    else evictedUnseen.add(termId);
  }

  checkReigns([...reigns].filter(([termId]) => !evictedUnseen.has(termId)).map(([, reign]) => reign));
}

function checkReigns(reigns: readonly Reign[]): void {
  const byToken = reigns.toSorted((a, b) => a.token < b.token ? -1 : 1);
  assert.ok(byToken.length > 5, `of many attempts some must succeed, not ${byToken.length}`);
  for (const [i, earlier] of byToken.entries()) {
    for (const later of byToken.slice(i + 1)) {
      assert.notEqual(earlier.token, later.token, "no two terms may share a token");
      assert.ok(later.from > earlier.askedAt, "a term that began later must have the larger token");
      const end = Math.min(earlier.until, earlier.evictedAt);
      assert.ok(
        end <= later.from,
        `term ${earlier.token} held the lease for ${end - later.from} ms after term ${later.token} had it`,
      );
    }
  }
}
