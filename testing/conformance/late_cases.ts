/**
 * Calls that were given up, and arrive after later ones: a slow network, a stalled connection, a statement that waits.
 */

import assert from "node:assert/strict";
import type { AcquireRequest, CallOptions, LeaderInfo, Lease, Provider } from "../../src/provider.ts";
import { patience } from "./slowness.ts";
import { checkLeader, now, onStage, soon, type Stage, together, until, wait, win, winSoon } from "./stage.ts";
import type { ConformanceCase, ConformanceDetour, ConformanceTarget } from "./target.ts";

/** The time that what is delivered may take to be carried out, in milliseconds. */
const ARRIVAL_MS = 300;

/** Returns the cases about late calls, if some can be held back. */
export function lateCases(target: ConformanceTarget): ConformanceCase[] {
  const { detour } = target;
  if (detour === undefined) return [];
  return [
    onStage(
      target,
      "calls that were given up change nothing for the worse, when they arrive late",
      (stage) => holdBack(stage, detour, "all"),
    ),
    onStage(
      target,
      "calls that were given up change nothing for the worse, when their ends arrive late",
      (stage) => holdBack(stage, detour, "end"),
    ),
  ];
}

/** One term, what is held back of it, what happens meanwhile, and what must hold when that has arrived. */
interface Part {
  /** Sends what is held back. */
  send(options: CallOptions): Promise<unknown>;
  /** Does everything that happens before it arrives. Returns what to check afterwards. */
  meanwhile(): Promise<() => Promise<void>>;
}

type MakePart = (stage: Stage, client: Provider) => Promise<Part>;

const PARTS: Readonly<Record<string, MakePart>> = {
  "a renewal after a later one": (stage, client) => renewalAfterRenewal(stage, client),
  "a renewal with metadata after a later one": (stage, client) => renewalAfterRenewal(stage, client, { beat: "late" }),
  "a repeated acquire after a renewal": askingAgainAfterRenewal,
  "a renewal after a successor was granted": (stage, client) => afterSuccessor(stage, client, "renew"),
  "a release after a successor was granted": (stage, client) => afterSuccessor(stage, client, "release"),
  "an acquire after another was granted": acquireAfterOther,
  "a renewal after an eviction": renewalAfterEviction,
  "an acquire that nobody waits for": orphan,
};

/**
 * All parts are held back together, since a lease that runs out takes the time; each by a client, and connections, of
 * its own.
 */
async function holdBack(stage: Stage, detour: ConformanceDetour, held: "all" | "end"): Promise<void> {
  const clients: Provider[] = [];
  const parts: Record<string, Part> = {};
  try {
    for (const [name, make] of Object.entries(PARTS)) {
      const client = await detour.open();
      clients.push(client);
      parts[name] = await make(stage, client);
    }
    await detour.hold(held);
    const giveUp = new AbortController();
    const settled = Promise.allSettled(Object.values(parts).map(({ send }) => send({ signal: giveUp.signal })));
    // They are under way. A provider that asks something first does not get further than that.
    await wait(patience(50));
    giveUp.abort(new Error("the call is given up"));
    await settled;
    await detour.bypass();
    const checks: Record<string, () => Promise<void>> = {};
    await together(mapValues(parts, (each, name) => async () => void (checks[name] = await each.meanwhile())));
    await detour.deliver();
    await wait(patience(ARRIVAL_MS));
    await together(checks);
  } finally {
    await detour.deliver();
    await Promise.all(clients.map((client) => client[Symbol.asyncDispose]()));
  }
}

function mapValues<A, B>(values: Readonly<Record<string, A>>, map: (value: A, key: string) => B): Record<string, B> {
  return Object.fromEntries(Object.entries(values).map(([key, value]) => [key, map(value, key)]));
}

/** A lease that is long enough for a machine that is busy, and short enough to wait for its end. */
function briefly(stage: Stage): Partial<AcquireRequest> {
  const { maxTimeout = Infinity } = stage.first.capabilities;
  return { heartbeatTimeout: Math.max(stage.short, Math.min(maxTimeout, stage.short * 2, 4_000)) };
}

async function renewalAfterRenewal(stage: Stage, client: Provider, metadata?: Record<string, string>): Promise<Part> {
  const lease = await win(client, stage.request(stage.group(), briefly(stage)));
  return {
    send: (options) => client.renew(lease, { ...options, metadata }),
    meanwhile: () => renewAndWatch(stage, client, lease),
  };
}

async function askingAgainAfterRenewal(stage: Stage, client: Provider): Promise<Part> {
  const request = stage.request(stage.group(), briefly(stage));
  const lease = await win(client, request);
  return {
    send: (options) => client.acquire(request, options),
    meanwhile: () => renewAndWatch(stage, client, lease),
  };
}

/**
 * Renews. A request that arrives afterwards must not take that back: not the time, and not the heartbeat that others
 * see.
 */
async function renewAndWatch(stage: Stage, client: Provider, lease: Lease): Promise<() => Promise<void>> {
  // A request that waits for longer has the older time to write.
  await wait(lease.heartbeatTimeout / 8);
  const renewedAt = await renewPast(client, lease);
  const before = await stage.first.read(lease.electionGroup, soon());
  return async () => {
    if (renewedAt === null || before === null) return;
    const after: LeaderInfo | null = await stage.first.read(lease.electionGroup, soon());
    const age = now() - renewedAt;
    if (age < lease.heartbeatTimeout * 0.99) {
      checkLeader(after, lease);
      checkNotEarlier(before, after, lease.heartbeatTimeout * 0.99 - age);
    }
    const next = await winSoon(stage, stage.first, stage.request(lease.electionGroup));
    const lived = now() - renewedAt;
    const least = lease.heartbeatTimeout * 0.99;
    assert.ok(lived >= least, `the lease was taken ${Math.round(lived)} ms after its last renewal, not ${least}`);
    assert.ok(next.token > lease.token, `token must grow: ${next.token} came after ${lease.token}`);
  };
}

/**
 * Renews past what is held back, on a new connection. Returns when that was sent; null if the client knows only the old
 * one.
 */
async function renewPast(client: Provider, lease: Lease): Promise<number | null> {
  for (let attempt = 0; attempt < 3; attempt++) {
    const sentAt = now();
    const signal = AbortSignal.timeout(Math.ceil(lease.heartbeatTimeout / 8));
    const answer = await client.renew(lease, { signal }).catch(() => "unknown" as const);
    if (answer === "renewed") return sentAt;
    if (answer === "lost") return null;
  }
  return null;
}

function checkNotEarlier(before: LeaderInfo, after: LeaderInfo | null, leastMs: number): void {
  const expiresIn = after?.expiresIn ?? Infinity;
  assert.ok(expiresIn >= leastMs - 20, `what came late shortened the lease: ${expiresIn} ms remain of ${leastMs}`);
  if (before.lastHeartbeat === null || after === null || after.lastHeartbeat === null) return;
  assert.ok(after.lastHeartbeat >= before.lastHeartbeat, "what came late moved lastHeartbeat back");
}

/** The term is evicted by another client, which hands the lease to a successor. */
async function afterSuccessor(stage: Stage, client: Provider, late: "renew" | "release"): Promise<Part> {
  const lease = await win(client, stage.request(stage.group()));
  return {
    send: (options) =>
      late === "renew" ? client.renew(lease, { ...options, metadata: { late: "1" } }) : client.release(lease, options),
    async meanwhile() {
      // The request has probably been held back, but not certainly.
      await stage.first.release(lease, soon());
      const successor = await win(stage.first, stage.request(lease.electionGroup, { metadata: { mine: "1" } }));
      return async () => {
        checkLeader(await stage.first.read(lease.electionGroup, soon()), successor, { mine: "1" });
        assert.equal(await stage.first.renew(successor, soon()), "renewed", "the successor must not notice");
      };
    },
  };
}

async function acquireAfterOther(stage: Stage, client: Provider): Promise<Part> {
  const request = stage.request(stage.group(), { heartbeatTimeout: stage.short });
  // A client that is connected has less to do first.
  await client.read(request.electionGroup, soon());
  return {
    send: (options) => client.acquire(request, options),
    async meanwhile() {
      const lease = await winSoon(stage, stage.first, stage.request(request.electionGroup));
      return async () => {
        checkLeader(await stage.first.read(lease.electionGroup, soon()), lease, {});
        assert.equal(await stage.first.renew(lease, soon()), "renewed", "the holder must not notice");
      };
    },
  };
}

async function renewalAfterEviction(stage: Stage, client: Provider): Promise<Part> {
  const lease = await win(client, stage.request(stage.group()));
  return {
    send: (options) => client.renew(lease, options),
    async meanwhile() {
      await stage.first.release(lease, soon());
      return async () => {
        assert.equal(await stage.first.read(lease.electionGroup, soon()), null, "what was released must stay free");
        await win(stage.first, stage.request(lease.electionGroup));
      };
    },
  };
}

/** An acquire arrives when its participant has gone: the lease that it leaves behind frees itself. */
async function orphan(stage: Stage, client: Provider): Promise<Part> {
  const request = stage.request(stage.group(), { heartbeatTimeout: stage.short });
  await client.read(request.electionGroup, soon());
  return {
    send: (options) => client.acquire(request, options),
    meanwhile: () =>
      Promise.resolve(async () => {
        await until("the lease that nobody waits for is free", stage.freeBy, stage.pause, async () => {
          return await stage.first.read(request.electionGroup, soon()) === null ? true : undefined;
        });
        await winSoon(stage, stage.first, stage.request(request.electionGroup));
      }),
  };
}
