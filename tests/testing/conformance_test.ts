/** Proves that the conformance suite bites: each of these providers is broken in one way, and some case must say so. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { ProviderError, type ProviderOperation } from "../../src/errors.ts";
import { memoryProvider } from "../../providers/memory.ts";
import type {
  Acquired,
  AcquireRequest,
  CallOptions,
  Held,
  Hint,
  LeaderInfo,
  Lease,
  Provider,
  ProviderCapabilities,
  ReleaseCallOptions,
  RenewOptions,
  WatchOptions,
} from "../../src/provider.ts";
import { conformanceCases } from "../../testing/conformance.ts";
import { patience } from "../slowness.ts";
import { heldCalls, LATE } from "./held_calls.ts";

type TermOf = Pick<Lease, "electionGroup" | "termId">;

/** A provider that does everything right; each broken one differs from it in one method. */
class Sound implements Provider {
  readonly name = "broken";
  readonly store: string;
  readonly inner: Provider;
  readonly shared: Shared;
  readonly capabilities: ProviderCapabilities;

  constructor(store: string, shared: Shared) {
    this.store = store;
    this.inner = memoryProvider({ name: store });
    this.shared = shared;
    this.capabilities = this.inner.capabilities;
  }
  acquire(request: AcquireRequest, options: CallOptions): Promise<Acquired | Held> {
    return this.#reach("acquire", () => this.inner.acquire(request, options));
  }
  renew(lease: Lease, options: RenewOptions): Promise<"renewed" | "lost"> {
    return this.#reach("renew", () => this.inner.renew(lease, options));
  }
  release(lease: TermOf, options: ReleaseCallOptions): Promise<"released" | "notHolder"> {
    return this.#reach("release", () => this.inner.release(lease, options));
  }
  read(electionGroup: string, options: CallOptions): Promise<LeaderInfo | null> {
    return this.#reach("read", () => this.inner.read(electionGroup, options));
  }
  watch(electionGroup: string, options: WatchOptions): AsyncIterable<Hint | void> {
    return this.inner.watch?.(electionGroup, options) ?? assert.fail();
  }
  groups(options: CallOptions): Promise<string[]> {
    return this.#reach("groups", () => this.inner.groups?.(options) ?? assert.fail());
  }
  healthCheck(options: CallOptions): Promise<void> {
    return this.#reach("healthCheck", () => this.inner.healthCheck(options));
  }
  #reach<T>(operation: ProviderOperation, call: () => Promise<T>): Promise<T> {
    if (!this.shared.isDown) return call();
    return Promise.reject(new ProviderError(this.name, operation, `Cannot ${operation}: the store is down`));
  }
  async [Symbol.asyncDispose](): Promise<void> {
    await this.inner[Symbol.asyncDispose]();
  }
}

/** What the clients of one store have in common. */
class Shared {
  readonly leaders = new Map<string, LeaderInfo>();
  readonly leases = new Map<string, Lease>();
  readonly tokens = new Map<string, bigint>();
  readonly closed = new Set<Sound>();
  /** Whether the store cannot be reached. */
  isDown = false;
}

type Broken = new (store: string, shared: Shared) => Provider;

/** Each key ends the sentence "a provider that ...". */
const BROKEN: Readonly<Record<string, Broken>> = {
  "starts its tokens again at a release": class extends Sound {
    override async acquire(request: AcquireRequest, options: CallOptions) {
      const answer = await super.acquire(request, options);
      if (!answer.acquired) return answer;
      const { electionGroup } = request;
      const known = this.shared.leases.get(request.termId);
      const token = known?.token ?? (this.shared.tokens.get(electionGroup) ?? 0n) + 1n;
      this.shared.tokens.set(electionGroup, token);
      const lease = { ...answer.lease, token };
      this.shared.leases.set(request.termId, lease);
      return { ...answer, lease };
    }
    override release(lease: TermOf, options: CallOptions) {
      this.shared.tokens.delete(lease.electionGroup);
      return super.release(lease, options);
    }
  },
  "gives every term the same token": class extends Sound {
    override async acquire(request: AcquireRequest, options: CallOptions) {
      const answer = await super.acquire(request, options);
      return answer.acquired ? { ...answer, lease: { ...answer.lease, token: 1n } } : answer;
    }
    override async read(electionGroup: string, options: CallOptions) {
      const info = await super.read(electionGroup, options);
      return info && { ...info, token: 1n };
    }
  },
  "knows participants, not terms": class extends Sound {
    override acquire(request: AcquireRequest, options: CallOptions) {
      this.shared.tokens.set(request.termId, 0n);
      return super.acquire({ ...request, termId: request.participantId }, options);
    }
    override renew(lease: Lease, options: RenewOptions) {
      return super.renew({ ...lease, termId: lease.participantId }, options);
    }
  },
  "grants a held lease to everybody": class extends Sound {
    override async acquire(request: AcquireRequest, options: CallOptions): Promise<Acquired | Held> {
      const answer = await super.acquire(request, options);
      if (answer.acquired || answer.leader === null) return answer;
      const { electionGroup, participantId, termId, heartbeatTimeout } = request;
      const lease = { electionGroup, participantId, termId, heartbeatTimeout, acquiredAt: new Date() };
      return { acquired: true, lease: { ...lease, token: answer.leader.token + 1n } };
    }
  },
  "refuses a term that asks again": class extends Sound {
    override async acquire(request: AcquireRequest, options: CallOptions): Promise<Acquired | Held> {
      const leader = await super.read(request.electionGroup, options);
      return leader ? { acquired: false, leader } : await super.acquire(request, options);
    }
  },
  "gives a term that asks again a new token": class extends Sound {
    override async acquire(request: AcquireRequest, options: CallOptions): Promise<Acquired | Held> {
      await super.release(request, options);
      return await super.acquire(request, options);
    }
  },
  "does not renew for a term that asks again": class extends Sound {
    override async acquire(request: AcquireRequest, options: CallOptions): Promise<Acquired | Held> {
      const leader = await super.read(request.electionGroup, options);
      const lease = this.shared.leases.get(request.termId);
      if (leader?.termId === request.termId && lease) return { acquired: true, lease };
      const answer = await super.acquire(request, options);
      if (answer.acquired) this.shared.leases.set(request.termId, answer.lease);
      return answer;
    }
  },
  "does not name the holder": class extends Sound {
    override async acquire(request: AcquireRequest, options: CallOptions): Promise<Acquired | Held> {
      const answer = await super.acquire(request, options);
      return answer.acquired ? answer : { acquired: false, leader: null };
    }
  },
  "prolongs the holder's lease for whoever asks": class extends Sound {
    override async acquire(request: AcquireRequest, options: CallOptions): Promise<Acquired | Held> {
      const answer = await super.acquire(request, options);
      const lease = answer.acquired ? answer.lease : this.shared.leases.get(request.electionGroup);
      if (answer.acquired) this.shared.leases.set(request.electionGroup, answer.lease);
      else if (lease) await super.renew(lease, options);
      return answer;
    }
  },
  "reports leaders that have expired": class extends Sound {
    override async read(electionGroup: string, options: CallOptions) {
      const info = await super.read(electionGroup, options);
      if (info) this.shared.leaders.set(electionGroup, info);
      return info ?? this.shared.leaders.get(electionGroup) ?? null;
    }
    override release(lease: TermOf, options: CallOptions) {
      this.shared.leaders.delete(lease.electionGroup);
      return super.release(lease, options);
    }
  },
  "writes when it reads": class extends Sound {
    override async read(electionGroup: string, options: CallOptions) {
      const info = await super.read(electionGroup, options);
      if (info === null) {
        const none = { electionGroup, participantId: "-", termId: "-", heartbeatTimeout: 60_000, metadata: {} };
        await super.acquire(none, options);
        await super.release(none, options);
      }
      return info;
    }
  },
  "renews whatever term asks": class extends Sound {
    override async renew(lease: Lease, options: RenewOptions) {
      const leader = await super.read(lease.electionGroup, options);
      return await super.renew({ ...lease, termId: leader?.termId ?? "" }, options);
    }
  },
  "renews nothing, and says it did": class extends Sound {
    override async renew(lease: Lease, options: RenewOptions): Promise<"renewed" | "lost"> {
      const leader = await super.read(lease.electionGroup, options);
      return leader?.termId === lease.termId ? "renewed" : "lost";
    }
  },
  "renews for a tenth of the lease": class extends Sound {
    override async renew(lease: Lease, options: RenewOptions): Promise<"renewed" | "lost"> {
      const answer = await super.renew(lease, options);
      if (answer === "renewed") setTimeout(() => void super.release(lease, soon()), lease.heartbeatTimeout / 10);
      return answer;
    }
  },
  "forgets the metadata at a renewal": class extends Sound {
    override renew(lease: Lease, options: RenewOptions) {
      return super.renew(lease, { ...options, metadata: options.metadata ?? {} });
    }
  },
  "ignores the metadata of a renewal": class extends Sound {
    override renew(lease: Lease, { signal }: RenewOptions) {
      return super.renew(lease, { signal });
    }
  },
  "releases whatever term asks": class extends Sound {
    override async release({ electionGroup }: TermOf, options: CallOptions) {
      const leader = await super.read(electionGroup, options);
      return await super.release({ electionGroup, termId: leader?.termId ?? "" }, options);
    }
  },
  "says it released, but did not": class extends Sound {
    override async release({ electionGroup, termId }: TermOf, options: CallOptions) {
      const leader = await super.read(electionGroup, options);
      return leader?.termId === termId ? "released" : "notHolder";
    }
  },
  "frees the leases of others when it closes": class extends Sound {
    override async [Symbol.asyncDispose]() {
      for (const electionGroup of await super.groups(soon())) {
        const leader = await super.read(electionGroup, soon());
        if (leader) await super.release({ electionGroup, termId: leader.termId }, soon());
      }
    }
  },
  "confuses names that differ in case": class extends Sound {
    override acquire(request: AcquireRequest, options: CallOptions) {
      const electionGroup = request.electionGroup.toLowerCase();
      return echo(super.acquire({ ...request, electionGroup }, options), request);
    }
  },
  "cuts long names": class extends Sound {
    override acquire(request: AcquireRequest, options: CallOptions) {
      const electionGroup = request.electionGroup.slice(0, 200);
      return echo(super.acquire({ ...request, electionGroup }, options), request);
    }
    override read(electionGroup: string, options: CallOptions) {
      return super.read(electionGroup.slice(0, 200), options);
    }
    override release({ electionGroup, termId }: TermOf, options: CallOptions) {
      return super.release({ electionGroup: electionGroup.slice(0, 200), termId }, options);
    }
  },
  "loses characters of the metadata": class extends Sound {
    override acquire(request: AcquireRequest, options: CallOptions) {
      const metadata = JSON.parse(JSON.stringify(request.metadata).replaceAll("\\u0000", ""));
      return super.acquire({ ...request, metadata }, options);
    }
  },
  "lets a lease expire early": class extends Sound {
    override acquire(request: AcquireRequest, options: CallOptions) {
      return echo(super.acquire({ ...request, heartbeatTimeout: request.heartbeatTimeout * 0.8 }, options), request);
    }
  },
  "never lets a lease expire": class extends Sound {
    override acquire(request: AcquireRequest, options: CallOptions) {
      return echo(super.acquire({ ...request, heartbeatTimeout: 1e9 }, options), request);
    }
    override async read(electionGroup: string, options: CallOptions) {
      const info = await super.read(electionGroup, options);
      return info && { ...info, expiresIn: null };
    }
  },
  "judges expiry by the caller's wall clock": class extends Sound {
    // What a participant that is five hours ahead would do.
    override async acquire(request: AcquireRequest, options: CallOptions): Promise<Acquired | Held> {
      const answer = await super.acquire(request, options);
      if (answer.acquired || !answer.leader?.lastHeartbeat || !this.#isAhead()) return answer;
      await super.release({ ...request, termId: answer.leader.termId }, options);
      return await super.acquire(request, options);
    }
    #isAhead(): boolean {
      return this.wall() - Date.now() > 3_600_000;
    }
    wall = () => Date.now();
  },
  "never hints": class extends Sound {
    override async *watch(_group: string, { signal }: WatchOptions) {
      yield;
      if (!signal.aborted) await new Promise((resolve) => signal.addEventListener("abort", resolve));
    }
  },
  "forgets for whom a lease was released": class extends Sound {
    override release(lease: TermOf, { signal }: ReleaseCallOptions) {
      return super.release(lease, { signal });
    }
  },
  "says of every release for whom the last one was": class extends Sound {
    #last = "";
    override release(lease: TermOf, options: ReleaseCallOptions) {
      this.#last = options.transferTo ?? this.#last;
      return super.release(lease, { ...options, transferTo: this.#last });
    }
  },
  "keeps a lease that was released for somebody": class extends Sound {
    override release(lease: TermOf, options: ReleaseCallOptions): Promise<"released" | "notHolder"> {
      return options.transferTo === undefined ? super.release(lease, options) : Promise.resolve("released");
    }
  },
  "never ends a watch": class extends Sound {
    override watch(electionGroup: string): AsyncIterable<Hint | void> {
      return super.watch(electionGroup, { signal: new AbortController().signal });
    }
  },
  "breaks a watch that is aborted": class extends Sound {
    override async *watch(electionGroup: string, options: WatchOptions) {
      yield* super.watch(electionGroup, options);
      options.signal.throwIfAborted();
    }
  },
  "ignores signals": class extends Sound {
    override acquire(request: AcquireRequest) {
      return super.acquire(request, soon());
    }
  },
  "rejects with an error of its own, when aborted": class extends Sound {
    override read(electionGroup: string, options: CallOptions) {
      return super.read(electionGroup, options).catch(() => {
        throw new Error("aborted");
      });
    }
  },
  "cannot be closed twice": class extends Sound {
    override [Symbol.asyncDispose]() {
      if (this.shared.closed.has(this)) return Promise.reject(new Error("closed already"));
      this.shared.closed.add(this);
      return Promise.resolve();
    }
  },
  "lets two of those who ask at once win": class extends Sound {
    override async acquire(request: AcquireRequest, options: CallOptions): Promise<Acquired | Held> {
      const leader = await super.read(request.electionGroup, options);
      if (leader && leader.termId !== request.termId) return { acquired: false, leader };
      await new Promise((resolve) => setTimeout(resolve, 1));
      if (leader === null) {
        const other = await super.read(request.electionGroup, options);
        if (other) await super.release({ ...request, termId: other.termId }, options);
      }
      return await super.acquire(request, options);
    }
  },
  "lets a late renewal shorten the lease": class extends Sound {
    override async renew(lease: Lease, options: RenewOptions) {
      const answer = await super.renew(lease, options);
      const early = lease.heartbeatTimeout / 2;
      if (options.signal === LATE && answer === "renewed") setTimeout(() => void super.release(lease, soon()), early);
      return answer;
    }
  },
  "lets a late acquire shorten the lease": class extends Sound {
    override async acquire(request: AcquireRequest, options: CallOptions) {
      const answer = await super.acquire(request, options);
      const early = request.heartbeatTimeout / 2;
      if (options.signal === LATE && answer.acquired) setTimeout(() => void super.release(request, soon()), early);
      return answer;
    }
  },
  "lets a late renewal move the heartbeat back": class extends Sound {
    override renew(lease: Lease, options: RenewOptions) {
      if (options.signal === LATE) this.shared.leases.set(lease.electionGroup, lease);
      return super.renew(lease, options);
    }
    override async read(electionGroup: string, options: CallOptions) {
      const info = await super.read(electionGroup, options);
      return info && this.shared.leases.has(electionGroup)
        ? { ...info, lastHeartbeat: info.leadershipAcquiredAt }
        : info;
    }
  },
  "lets a late renewal bring an evicted term back": class extends Sound {
    override async renew(lease: Lease, options: RenewOptions) {
      const answer = await super.renew(lease, options);
      if (answer === "renewed" || options.signal !== LATE) return answer;
      return (await super.acquire({ ...lease, metadata: {} }, options)).acquired ? "renewed" : "lost";
    }
  },
  "lets a late release free the successor": class extends Sound {
    override async release({ electionGroup, termId }: TermOf, options: CallOptions) {
      const leader = options.signal === LATE ? await super.read(electionGroup, options) : null;
      return await super.release({ electionGroup, termId: leader?.termId ?? termId }, options);
    }
  },
  "lets a late acquire take the lease from its holder": class extends Sound {
    override async acquire(request: AcquireRequest, options: CallOptions): Promise<Acquired | Held> {
      const answer = await super.acquire(request, options);
      if (answer.acquired || options.signal !== LATE || answer.leader === null) return answer;
      await super.release({ ...request, termId: answer.leader.termId }, options);
      return await super.acquire(request, options);
    }
  },
  "never frees what a late acquire took": class extends Sound {
    override acquire(request: AcquireRequest, options: CallOptions) {
      const heartbeatTimeout = options.signal === LATE ? 1e9 : request.heartbeatTimeout;
      return echo(super.acquire({ ...request, heartbeatTimeout }, options), request);
    }
  },
  "refuses metadata of 64 KiB without a reason": class extends Sound {
    override acquire(request: AcquireRequest, options: CallOptions) {
      if (JSON.stringify(request.metadata).length > 32_768) throw new ProviderError("broken", "acquire", "too large");
      return super.acquire(request, options);
    }
  },
  "counts metadata by characters": class extends Sound {
    override async renew(lease: Lease, options: RenewOptions) {
      const metadata = options.metadata &&
        Object.entries(options.metadata).map(([key, value]) => [key, value.slice(0, 999)]);
      return await super.renew(lease, { ...options, ...(metadata && { metadata: Object.fromEntries(metadata) }) });
    }
  },
  "gives up the term with its metadata": class extends Sound {
    override async renew(lease: Lease, options: RenewOptions) {
      if (JSON.stringify(options.metadata ?? {}).length > 20_000) await super.release(lease, options);
      return await super.renew(lease, options);
    }
  },
  "loses a renewal to another at the same time": class extends Sound {
    #renewing = 0;
    override async renew(lease: Lease, options: RenewOptions) {
      if (this.#renewing > 5) throw new ProviderError("broken", "renew", "the record changes all the time");
      this.#renewing++;
      try {
        await Promise.resolve();
        return await super.renew(lease, options);
      } finally {
        this.#renewing--;
      }
    }
  },
  "keeps the metadata that was given first": class extends Sound {
    override async renew(lease: Lease, options: RenewOptions) {
      // Each later one is faster.
      const { metadata } = options;
      if (metadata?.last !== undefined) await new Promise((resolve) => setTimeout(resolve, 60 - Number(metadata.last)));
      return await super.renew(lease, options);
    }
  },
  "ends what two calls share, when one is given up": class extends Sound {
    readonly #asking = new Map<string, Promise<Acquired | Held>>();
    override acquire(request: AcquireRequest, options: CallOptions) {
      let asking = this.#asking.get(request.termId);
      if (asking === undefined) {
        asking = new Promise<void>((resolve) => setTimeout(resolve, 2)).then(() => super.acquire(request, options));
        this.#asking.set(request.termId, asking);
        asking.catch(() => {}).finally(() => this.#asking.delete(request.termId));
      }
      return asking;
    }
  },
  "claims what was released meanwhile": class extends Sound {
    override async acquire(request: AcquireRequest, options: CallOptions): Promise<Acquired | Held> {
      const answer = await super.acquire(request, options);
      if (!answer.acquired) return answer;
      await new Promise((resolve) => setTimeout(resolve, 2));
      return await super.acquire(request, options);
    }
  },
  "brings an evicted term back under its old token": class extends Sound {
    override async acquire(request: AcquireRequest, options: CallOptions): Promise<Acquired | Held> {
      const answer = await super.acquire(request, options);
      if (!answer.acquired) return answer;
      const lease = this.shared.leases.get(request.termId) ?? answer.lease;
      this.shared.leases.set(request.termId, lease);
      return { ...answer, lease };
    }
  },
  "does not tell of heartbeats": class extends Sound {
    override async read(electionGroup: string, options: CallOptions) {
      const info = await super.read(electionGroup, options);
      return info && { ...info, lastHeartbeat: info.leadershipAcquiredAt };
    }
  },
  "promises more time than the lease has": class extends Sound {
    override async read(electionGroup: string, options: CallOptions) {
      const info = await super.read(electionGroup, options);
      const longest = this.shared.leases.get(electionGroup)?.heartbeatTimeout ?? 0;
      return info && { ...info, expiresIn: (info.expiresIn ?? 0) + longest };
    }
    override async acquire(request: AcquireRequest, options: CallOptions) {
      const answer = await super.acquire(request, options);
      if (answer.acquired) this.shared.leases.set(request.electionGroup, answer.lease);
      return answer;
    }
  },
  "remembers how long the lease of an earlier term was": class extends Sound {
    readonly #seen = new Map<string, number>();
    override async read(electionGroup: string, options: CallOptions) {
      const info = await super.read(electionGroup, options);
      if (info === null) return null;
      const expiresIn = this.#seen.get(electionGroup) ?? info.expiresIn ?? 0;
      this.#seen.set(electionGroup, expiresIn);
      return { ...info, expiresIn };
    }
  },
  "counts the remaining time of nothing": class extends Sound {
    override async acquire(request: AcquireRequest, options: CallOptions): Promise<Acquired | Held> {
      const answer = await super.acquire(request, options);
      return answer.acquired || !answer.leader ? answer : { ...answer, leader: { ...answer.leader, expiresIn: NaN } };
    }
  },
  "lists one page of groups": class extends Sound {
    override async groups(options: CallOptions) {
      return (await super.groups(options)).slice(-200);
    }
  },
  "lists no groups, when it cannot reach them": class extends Sound {
    override groups(options: CallOptions) {
      return super.groups(options).catch(() => []);
    }
  },
  "prolongs the lease when somebody looks": class extends Sound {
    override watch(electionGroup: string, options: WatchOptions) {
      const lease = this.shared.leases.get(electionGroup);
      if (lease) void super.renew(lease, options);
      return super.watch(electionGroup, options);
    }
    override async acquire(request: AcquireRequest, options: CallOptions) {
      const answer = await super.acquire(request, options);
      if (answer.acquired) this.shared.leases.set(request.electionGroup, answer.lease);
      return answer;
    }
  },
  "goes on listening to its signals": class extends Sound {
    override watch(electionGroup: string, options: WatchOptions) {
      options.signal.addEventListener("abort", () => {}, { once: true });
      return super.watch(electionGroup, options);
    }
  },
  "goes on listening to the signals of renewals": class extends Sound {
    override renew(lease: Lease, options: RenewOptions) {
      options.signal.addEventListener("abort", () => {});
      return super.renew(lease, options);
    }
  },
  "lies about what it can do": class extends Sound {
    override readonly capabilities = { ...this.inner.capabilities, watch: false };
  },
};

function soon(): CallOptions {
  return { signal: AbortSignal.timeout(5_000) };
}

/** Hides that something else was asked of the store than of the provider. */
async function echo(answer: Promise<Acquired | Held>, request: AcquireRequest): Promise<Acquired | Held> {
  const known = await answer;
  if (!known.acquired) return known;
  const { electionGroup, heartbeatTimeout } = request;
  return { acquired: true, lease: { ...known.lease, electionGroup, heartbeatTimeout } };
}

/** Runs the suite on one broken provider until a case fails, and returns that case's name and why. */
async function firstFailure(Provider: Broken): Promise<string | null> {
  const store = crypto.randomUUID();
  const shared = new Shared();
  const down = (isDown: boolean) => Promise.resolve(void (shared.isDown = isDown));
  const target = {
    name: "broken",
    heartbeatTimeout: 200,
    open: (options?: { clock?: { wall(): number } }) => {
      const provider = new Provider(store, shared);
      const wall = options?.clock?.wall;
      return wall === undefined ? provider : Object.assign(provider, { wall });
    },
    detour: heldCalls(() => new Provider(store, shared)),
    faults: { kill: () => down(true), restart: () => down(false) },
  };
  for (const { name, run } of conformanceCases(target)) {
    const late = new Promise<never>((_, reject) =>
      setTimeout(reject, patience(7_000), new assert.AssertionError({ message: "hung" }))
    );
    late.catch(() => {});
    try {
      await Promise.race([run(), late]);
    } catch (error) {
      return `${name}: ${error instanceof Error ? error.message : error}`;
    }
  }
  return null;
}

/** Runs a few at a time, since they do little but wait. */
function failuresOf(broken: Readonly<Record<string, Broken>>): (what: string) => Promise<string | null> {
  const left = Object.keys(broken);
  const started = new Map<string, Promise<string | null>>();
  async function work(): Promise<void> {
    for (let what = left.shift(); what !== undefined; what = left.shift()) await start(what).catch(() => {});
  }
  function start(what: string): Promise<string | null> {
    const running = started.get(what) ?? firstFailure(broken[what] ?? Sound);
    started.set(what, running);
    return running;
  }
  let workers: Promise<unknown> | null = null;
  return (what) => {
    workers ??= Promise.all(Array.from({ length: 6 }, work));
    return start(what);
  };
}

const failureOf = failuresOf(BROKEN);
for (const what of Object.keys(BROKEN)) {
  test(`conformanceCases() fails, when the provider ${what}`, async () => {
    assert.notEqual(await failureOf(what), null, `no case failed for a provider that ${what}`);
  });
}

test("conformanceCases() passes, when the provider is sound", async () => {
  assert.equal(await firstFailure(Sound), null);
});
