/**
 * The common ground of the cases of the conformance suite: clients that are closed at the end, groups of their own, and
 * waiting for a condition with a deadline.
 *
 * @module
 */

import assert from "node:assert/strict";
import { type Clock, sleep, systemClock } from "../../src/time/clock.ts";
import { ProviderError } from "../../src/errors.ts";
import type { Acquired, AcquireRequest, Held, LeaderInfo, Lease, Provider } from "../../src/provider.ts";
import { patience, slowness } from "./slowness.ts";
import type { ConformanceCase, ConformanceTarget } from "./target.ts";

/** The time that one call may take before a case gives up, in milliseconds. */
const CALL_LIMIT = 15_000;
/** Up to what length leases get longer on a slow machine, in milliseconds. */
const LONGEST_SHORT = 5_000;

/** Makes a case that runs on a fresh stage, and closes it. */
export function onStage(
  target: ConformanceTarget,
  name: string,
  play: (stage: Stage) => Promise<void>,
): ConformanceCase {
  return {
    name,
    async run() {
      // Not by `await using`, which Node 22 cannot read.
      const stage = await Stage.of(target);
      try {
        await play(stage);
      } finally {
        await stage[Symbol.asyncDispose]();
      }
    },
  };
}

/** One case's view of the store. */
export class Stage implements AsyncDisposable {
  /** The target. */
  readonly target: ConformanceTarget;
  /** A client that is open. */
  readonly first: Provider;
  /** The `heartbeatTimeout` of leases that are meant to expire, in milliseconds. */
  readonly short: number;
  /** The `heartbeatTimeout` of leases that must not expire while a case runs, in milliseconds. */
  readonly long: number;
  readonly #opened: Provider[] = [];
  readonly #run = crypto.randomUUID().slice(0, 8);
  #groups = 0;

  private constructor(target: ConformanceTarget, first: Provider) {
    const { minTimeout, maxTimeout = Infinity } = first.capabilities;
    this.target = target;
    this.first = first;
    const short = target.heartbeatTimeout ?? Math.max(minTimeout, 1_000);
    // On a slow machine, a call takes more of it.
    this.short = Math.round(Math.min(maxTimeout, Math.max(short, Math.min(short * slowness(), LONGEST_SHORT))));
    this.long = Math.max(this.short, Math.min(maxTimeout, 60_000));
    this.#opened.push(first);
  }

  /** Opens the first client. */
  static async of(target: ConformanceTarget): Promise<Stage> {
    return new Stage(target, await target.open());
  }

  /** Opens one more client. */
  async open(options?: { readonly clock?: Clock }): Promise<Provider> {
    const provider = await this.target.open(options);
    this.#opened.push(provider);
    return provider;
  }

  /** Opens several more. */
  clients(count: number): Promise<Provider[]> {
    return Promise.all(Array.from({ length: count }, () => this.open()));
  }

  /** Returns the name of a group that no other case uses. */
  group(): string {
    return `conformance-${this.#run}-${this.#groups++}`;
  }

  /** Builds a request by a new term, for a lease that does not expire while the case runs. */
  request(electionGroup: string, changes: Partial<AcquireRequest> = {}): AcquireRequest {
    const termId = crypto.randomUUID();
    const participantId = `participant-${termId.slice(0, 4)}`;
    return { electionGroup, participantId, termId, heartbeatTimeout: this.long, metadata: {}, ...changes };
  }

  /** The time to wait between two looks, in milliseconds. */
  get pause(): number {
    return Math.min(Math.max(this.short / 50, 5), 250);
  }

  /**
   * By when a lease that nobody renews must be free for those who look all the time, in milliseconds from its grant.
   */
  get freeBy(): number {
    // Twice: where the observers judge, they must have seen the record stand still for a lease of their own.
    return this.short * 2 + patience(5_000);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#opened.map((provider) => provider[Symbol.asyncDispose]()));
  }
}

/** Returns the options of a call that is expected to be answered. */
export function soon(): { signal: AbortSignal } {
  return { signal: AbortSignal.timeout(patience(CALL_LIMIT)) };
}

/** Milliseconds on a clock that only moves forward. */
export function now(): number {
  return systemClock.monotonic();
}

/** Waits. */
export function wait(ms: number): Promise<void> {
  return sleep(systemClock, ms);
}

/** Acquires, and asserts that the lease was granted and is what was asked for. */
export async function win(provider: Provider, request: AcquireRequest): Promise<Lease> {
  const answer = await provider.acquire(request, soon());
  assert.ok(answer.acquired, `acquire() must grant a free lease, but it answered ${describe(answer)}`);
  return checkLease(answer, request);
}

/** Asserts that a granted lease is what was asked for. */
export function checkLease({ lease }: Acquired, request: AcquireRequest): Lease {
  const { electionGroup, participantId, termId, heartbeatTimeout } = request;
  const { token, acquiredAt, ...echo } = lease;
  assert.deepEqual(
    { ...echo },
    { electionGroup, participantId, termId, heartbeatTimeout },
    "a lease must echo its request",
  );
  assert.equal(typeof token, "bigint", "a token must be a bigint");
  assert.ok(token > 0n, `a token must be positive, but it is ${token}`);
  assert.ok(acquiredAt instanceof Date && !Number.isNaN(acquiredAt.getTime()), "acquiredAt must be a valid Date");
  return lease;
}

/** Acquires, asserts that the lease was not granted, and returns the holder that was named. */
export async function lose(provider: Provider, request: AcquireRequest): Promise<LeaderInfo | null> {
  const answer = await provider.acquire(request, soon());
  assert.ok(!answer.acquired, "acquire() must not grant a lease that another term holds");
  return answer.leader;
}

/** Asserts that `info` describes the holder of `lease`. */
export function checkLeader(info: LeaderInfo | null, lease: Lease, metadata?: Readonly<Record<string, string>>): void {
  assert.ok(info !== null, `"${lease.electionGroup}" is held, but no leader was reported`);
  assert.equal(info.leaderId, lease.participantId, "leaderId must be the holder's");
  assert.equal(info.termId, lease.termId, "termId must be the holder's");
  assert.equal(info.token, lease.token, "token must be the holder's");
  assert.equal(
    info.leadershipAcquiredAt.getTime(),
    lease.acquiredAt.getTime(),
    "leadershipAcquiredAt must be the lease's",
  );
  assert.ok(
    info.lastHeartbeat === null || info.lastHeartbeat >= lease.acquiredAt,
    "lastHeartbeat must follow the grant",
  );
  const { expiresIn } = info;
  // A hundredth more: the observer's clock may be the faster one.
  const most = lease.heartbeatTimeout * 1.01 + 1;
  assert.ok(
    expiresIn === null || (expiresIn > 0 && expiresIn <= most),
    `expiresIn must be in 0 to ${most}, not ${expiresIn}`,
  );
  if (metadata !== undefined) {
    assert.deepEqual(sorted(info.metadata), sorted(metadata), "metadata must be the holder's");
  }
}

function sorted(metadata: Readonly<Record<string, string>>): [string, string][] {
  return Object.entries(metadata).sort(([a], [b]) => a < b ? -1 : 1);
}

/** Calls `look` until it returns something other than undefined. */
export async function until<T>(
  what: string,
  limitMs: number,
  pauseMs: number,
  look: () => Promise<T | undefined>,
): Promise<T> {
  for (const start = now();;) {
    const found = await look();
    if (found !== undefined) return found;
    assert.ok(now() - start < limitMs, `${what}: not within ${Math.round(limitMs)} ms`);
    await wait(pauseMs);
  }
}

/**
 * Asks for the lease until it is granted. A call that fails is made again, under the same term id: a connection that
 * has long been idle may be closed by the server just as it is used.
 */
export function winSoon(
  stage: Stage,
  provider: Provider,
  request: AcquireRequest,
  limitMs: number = stage.freeBy,
): Promise<Lease> {
  return until(`the lease of "${request.electionGroup}" is granted`, limitMs, stage.pause, async () => {
    const answer = await provider.acquire(request, soon()).catch((error: unknown) => {
      if (error instanceof ProviderError) return null;
      throw error;
    });
    return answer?.acquired ? checkLease(answer, request) : undefined;
  });
}

/** Plays several parts at the same time, each with a name, and fails with the names of those that failed. */
export async function together(parts: Readonly<Record<string, () => Promise<void>>>): Promise<void> {
  const failures: string[] = [];
  let cause: unknown;
  await Promise.all(
    Object.entries(parts).map(([name, play]) =>
      play().catch((error: unknown) => {
        cause ??= error;
        failures.push(`${name}: ${error instanceof Error ? error.message : error}`);
      })
    ),
  );
  if (failures.length > 0) throw new assert.AssertionError({ message: failures.join("\n"), actual: cause });
}

function describe(answer: Acquired | Held): string {
  return answer.acquired
    ? `a lease with token ${answer.lease.token}`
    : `that ${answer.leader?.termId ?? "nobody"} holds it`;
}
