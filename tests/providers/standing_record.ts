/** The cases of a record that its observers see stand still, each on its own clock: Consul's and Kubernetes'. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { ProviderError } from "../../src/errors.ts";
import type { Lease, Provider } from "../../src/provider.ts";
import { type Clock, systemClock } from "../../src/time/clock.ts";
import { lose, request, soon, win } from "./asking.ts";

/** A clock that a test can move on. */
export class MovingClock implements Clock {
  #ahead = 0;
  readonly setTimer = systemClock.setTimer;
  monotonic = (): number => systemClock.monotonic() + this.#ahead;
  wall = (): number => systemClock.wall() + this.#ahead;
  moveOn(ms: number): void {
    this.#ahead += ms;
  }
}

/** A client of the backend, and the way of its requests. */
export interface Client {
  readonly provider: Provider;
  readonly post: {
    /** Holds the next request that contains `part`. Returns when it is there, and how to let it go on. */
    hold(part: string): { readonly arrived: Promise<void>; letGo(): void };
    /** Whether the answer to a request is lost, after the server has given it. */
    loses: (sent: string) => boolean;
  };
}

/** The backend. */
export interface StandingRecordTarget {
  /** Opens a client that is closed at the end of the tests. */
  open(clock?: Clock): Client;
  /** The parts by which the writes of each operation are known. */
  readonly writes: { readonly renew: string; readonly takeOver: string; readonly release: string };
}

/** A leader, and a rival that has seen its record stand still for the whole lease. */
export async function standoff({ open }: StandingRecordTarget, heartbeatTimeout = 30_000) {
  const clock = new MovingClock();
  const [leader, rival] = [open(), open(clock)];
  const lease = await win(leader.provider, request(newGroup(), { heartbeatTimeout }));
  const wanted = request(lease.electionGroup);
  await lose(rival.provider, wanted);
  clock.moveOn(lease.heartbeatTimeout * 1.001);
  return { leader, rival, lease, wanted, clock };
}

const newGroup = (): string => `group-${crypto.randomUUID()}`;

/** Registers the tests. */
export function testStandingRecord(target: StandingRecordTarget): void {
  const { open, writes } = target;

  /** Asserts that a lease is still held. */
  async function holds({ provider }: Client, lease: Lease): Promise<void> {
    assert.equal(await provider.renew(lease, soon()), "renewed");
  }

  test("renew() is lost, when it arrives after the take-over", async () => {
    const { leader, rival, lease, wanted } = await standoff(target);
    const late = leader.post.hold(writes.renew);
    const renewal = leader.provider.renew(lease, soon());
    await late.arrived;
    const next = await win(rival.provider, wanted);
    assert.ok(next.token > lease.token);
    late.letGo();
    assert.equal(await renewal, "lost");
    await holds(rival, next);
  });

  test("acquire() is lost, when a heartbeat arrives after the take-over was decided", async () => {
    const { leader, rival, lease, wanted } = await standoff(target);
    const late = rival.post.hold(writes.takeOver);
    const takeOver = rival.provider.acquire(wanted, soon());
    await late.arrived;
    await holds(leader, lease);
    late.letGo();
    const answer = await takeOver;
    assert.ok(!answer.acquired);
    assert.equal(answer.leader?.termId, lease.termId);
    await holds(leader, lease);
  });

  test("release() that arrives after the take-over frees nothing", async () => {
    const { leader, rival, lease, wanted } = await standoff(target);
    const late = leader.post.hold(writes.release);
    const release = leader.provider.release(lease, soon());
    await late.arrived;
    const next = await win(rival.provider, wanted);
    late.letGo();
    assert.equal(await release, "notHolder");
    await holds(rival, next);
  });

  test("renew() that says lost ends the term, for a late heartbeat too", async () => {
    const clock = new MovingClock();
    const { provider, post } = open(clock);
    const lease = await win(provider, request(newGroup(), { heartbeatTimeout: 30_000 }));
    const late = post.hold(writes.renew);
    const renewal = provider.renew(lease, soon());
    await late.arrived;
    clock.moveOn(lease.heartbeatTimeout * 1.001);
    assert.equal(await provider.renew(lease, soon()), "lost");
    late.letGo();
    assert.equal(await renewal, "lost");
    assert.equal(await provider.renew(lease, soon()), "lost");
    await win(open().provider, request(lease.electionGroup));
  });

  test("acquire() takes over in time, and not before, as the observer's clock counts", async () => {
    // So long that a slow machine does not matter.
    const { rival, lease, wanted, clock } = await standoff(target, 36_000_000);
    clock.moveOn(-lease.heartbeatTimeout * 0.0005);
    const early = await rival.provider.acquire(wanted, soon());
    assert.ok(!early.acquired && early.leader?.expiresIn, "half of the thousandth for the clocks' rates is missing");
    clock.moveOn(early.leader.expiresIn);
    await win(rival.provider, wanted);
  });

  test("renew() goes on, when the answer to the last one was lost", async () => {
    const { provider, post } = open();
    const lease = await win(provider, request(newGroup()));
    post.loses = (sent) => sent.includes(writes.renew);
    await assert.rejects(provider.renew(lease, soon()), ProviderError);
    post.loses = () => false;
    assert.equal(await provider.renew(lease, soon()), "renewed");
    assert.equal((await provider.read(lease.electionGroup, soon()))?.token, lease.token);
    post.loses = (sent) => sent.includes(writes.release);
    await assert.rejects(provider.release(lease, soon()), ProviderError);
    post.loses = () => false;
    assert.equal(await provider.release(lease, soon()), "notHolder", "it was done, although nobody heard of it");
  });
}
