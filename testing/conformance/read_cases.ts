/** Reading: it reports the leader, and leaves nothing behind. */

import assert from "node:assert/strict";
import type { CallOptions, LeaderInfo, Lease, Provider } from "../../src/provider.ts";
import { patience } from "./slowness.ts";
import { checkLeader, lose, now, onStage, soon, type Stage, until, wait, win, winSoon } from "./stage.ts";
import type { ConformanceCase, ConformanceTarget } from "./target.ts";

/**
 * The number of groups that are listed at once: more than a page, a cursor or a directory of any backend hands out in
 * one piece.
 */
const GROUPS = 250;

/** Returns the cases about reading. */
export function readCases(target: ConformanceTarget): ConformanceCase[] {
  return [
    onStage(target, "read(), groups(), healthCheck() and an observer's watch() write nothing", lookingWritesNothing),
    onStage(target, "read() and a refusal never promise more time than the lease has", remainingTime),
    onStage(target, "groups() lists every group that is held, each once, also while others come and go", allGroups),
    onStage(target, "calls and watches leave nothing on their signal, when they have ended", signalsAreLeft),
  ];
}

async function lookingWritesNothing(stage: Stage): Promise<void> {
  const unknown = stage.group();
  const lease = await win(stage.first, stage.request(stage.group(), { metadata: { a: "a" } }));
  const observer = await stage.open();
  const before = await observer.read(lease.electionGroup, soon());
  // So that a heartbeat would show.
  await wait(20);
  for (const electionGroup of [unknown, lease.electionGroup]) {
    for (let i = 0; i < 3; i++) await observer.read(electionGroup, soon());
    await observer.healthCheck(soon());
    for await (const _ of observer.watch?.(electionGroup, soon()) ?? []) break;
  }
  const groups = await observer.groups?.(soon());
  assert.ok(!groups?.includes(unknown), "a group that was only looked at must not exist");
  assert.equal(await observer.read(unknown, soon()), null, "nobody leads a group that was only looked at");
  const after = await observer.read(lease.electionGroup, soon());
  checkLeader(after, lease, { a: "a" });
  assert.deepEqual(after?.lastHeartbeat, before?.lastHeartbeat, "looking must not look like a heartbeat");
  assert.ok((after?.expiresIn ?? 0) <= (before?.expiresIn ?? 0), "looking must not prolong the lease");
  assert.equal(await stage.first.renew(lease, soon()), "renewed", "the holder must not notice");
}

/** Terms of the same group with different timeouts, on clients that remember the one before. */
async function remainingTime(stage: Stage): Promise<void> {
  const electionGroup = stage.group();
  const [other, observer] = await stage.clients(2);
  assert.ok(other && observer);
  const timeouts = [stage.long, stage.short];
  for (const [i, heartbeatTimeout] of timeouts.entries()) {
    const client: Provider = i === 0 ? stage.first : other;
    const sentAt = now();
    const lease = await win(client, stage.request(electionGroup, { heartbeatTimeout }));
    for (const looking of [stage.first, other, observer, await stage.open()]) {
      checkRemaining(await looking.read(electionGroup, soon()), lease, sentAt);
      const answer = await looking.acquire(stage.request(electionGroup), soon());
      if (!answer.acquired) checkRemaining(answer.leader, lease, sentAt);
      // A machine that stalled for a whole lease sees the next one.
      else return;
    }
    if (heartbeatTimeout === stage.long) {
      await wait(20);
      const seen: LeaderInfo | null = await observer.read(electionGroup, soon());
      const later: LeaderInfo | null = await observer.read(electionGroup, soon());
      assert.ok((later?.expiresIn ?? 0) <= (seen?.expiresIn ?? 0) + 1, "without a renewal expiresIn must not grow");
      assert.equal(await client.release(lease, soon()), "released");
    } else {
      await until("an expired leader is no longer reported", stage.freeBy, stage.pause, async () => {
        const info = await observer.read(electionGroup, soon());
        checkRemaining(info, lease, sentAt);
        return info === null ? true : undefined;
      });
      await winSoon(stage, observer, stage.request(electionGroup));
    }
  }
}

function checkRemaining(info: LeaderInfo | null, lease: Lease, sentAt: number): void {
  if (info === null) {
    const age = now() - sentAt;
    assert.ok(
      age >= lease.heartbeatTimeout * 0.99,
      `the leader was not reported ${Math.round(age)} ms after its grant`,
    );
    return;
  }
  // Says what expiresIn may be, too.
  checkLeader(info, lease);
}

async function allGroups(stage: Stage): Promise<void> {
  const { first } = stage;
  if (first.groups === undefined) return;
  const other = await stage.open();
  const names = Array.from({ length: GROUPS }, () => stage.group());
  const leases = await Promise.all(names.map((name) => win(first, stage.request(name))));
  const stop = new AbortController();
  const coming = comeAndGo(stage, stop.signal);
  try {
    for (const client of [first, other, first]) {
      const groups = await client.groups?.(soon()) ?? [];
      const missing = names.filter((name) => !groups.includes(name));
      assert.deepEqual(missing, [], `${missing.length} of ${names.length} groups that are held were left out`);
      assert.equal(new Set(groups).size, groups.length, "no group may be listed twice");
    }
  } finally {
    stop.abort();
    await coming;
  }
  await Promise.all(leases.map((lease) => first.release(lease, soon())));
}

async function comeAndGo(stage: Stage, signal: AbortSignal): Promise<void> {
  while (!signal.aborted) {
    const lease = await win(stage.first, stage.request(stage.group()));
    await stage.first.release(lease, soon());
  }
}

/** An election calls with one signal for as long as it lives: what stays on it piles up. */
async function signalsAreLeft(stage: Stage): Promise<void> {
  const { first } = stage;
  const other = await stage.open();
  const counted = new CountedSignal();
  const options: CallOptions = { signal: counted.signal };
  const request = stage.request(stage.group());
  await win(other, stage.request(stage.group()));
  for (let i = 0; i < 3; i++) {
    const answer = await first.acquire(request, options);
    assert.ok(answer.acquired);
    await first.renew(answer.lease, options);
    await first.renew(answer.lease, { ...options, metadata: { i: String(i) } });
    await lose(other, stage.request(request.electionGroup));
    await first.read(request.electionGroup, options);
    await first.groups?.(options);
    await first.healthCheck(options);
    for (const participantId of [undefined, "waiting"]) {
      const watch = { ...options, participantId };
      for await (const _ of other.watch?.(request.electionGroup, watch) ?? []) break;
    }
    await first.release(answer.lease, options);
  }
  // The tidying behind an answer has a moment.
  await until("what has ended has let go of its signal", patience(5_000), 10, () => {
    return Promise.resolve(counted.listeners === 0 ? true : undefined);
  });
}

/** A signal that says how many listen to it. */
class CountedSignal {
  readonly signal: AbortSignal = new AbortController().signal;
  readonly #listening = new Set<unknown>();

  constructor() {
    const { signal } = this;
    const add = signal.addEventListener.bind(signal);
    const remove = signal.removeEventListener.bind(signal);
    Object.defineProperty(signal, "addEventListener", {
      value: (type: string, listener: EventListener, options?: AddEventListenerOptions) => {
        this.#listening.add(listener);
        options?.signal?.addEventListener("abort", () => this.#listening.delete(listener), { once: true });
        add(type, listener, options);
      },
    });
    Object.defineProperty(signal, "removeEventListener", {
      value: (type: string, listener: EventListener) => {
        this.#listening.delete(listener);
        remove(type, listener);
      },
    });
  }

  get listeners(): number {
    return this.#listening.size;
  }
}
