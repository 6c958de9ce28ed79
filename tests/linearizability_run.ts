/** Clients that do at random what elections do with a lease, and what they should not, for a history to check. */

import assert from "node:assert/strict";
import { type Clock, sleep, systemClock } from "../src/time/clock.ts";
import type { Lease, Provider } from "../src/provider.ts";
import type { ConformanceFaults } from "../testing/conformance.ts";
import {
  checkLinearizability,
  type LinearizabilityOptions,
  type RegisterOperation,
  RegisterRecorder,
} from "../testing/linearizability.ts";
import { Random } from "./simulation/random.ts";

/** What is to be driven. */
export interface Drive {
  /** One for each client, recorded. */
  readonly providers: readonly Provider[];
  readonly groups: readonly string[];
  readonly clock: Clock;
  readonly random: Random;
  readonly heartbeatTimeout: number;
  readonly durationMs: number;
  /** The longest pause between two calls of one client to one group. */
  readonly paceMs: number;
  /** Whether clients also renew the terms of others. @default true */
  readonly renewsOthers?: boolean;
}

/** Drives every group through every client, each at its own pace, until the time is over. */
export async function drive(given: Drive): Promise<void> {
  const endsAt = given.clock.monotonic() + given.durationMs;
  await Promise.all(given.groups.flatMap((group) => {
    const past: Lease[] = [];
    return given.providers.map(async (provider, i) => {
      const random = given.random.fork();
      const actor = new Actor(provider, group, `client-${i}`, past, given, random);
      // A server that is away for long would else fill the history with calls of which nothing is known.
      for (let failures = 0; given.clock.monotonic() < endsAt;) {
        await sleep(given.clock, random.between(0, given.paceMs * (1 + failures)));
        // That its outcome is unknown is in the recorder's history.
        await actor.step().then(() => failures = 0, () => failures++);
      }
    });
  }));
}

/** One client of one group. It calls one after the other. */
class Actor {
  #lease: Lease | null = null;
  /** The term that it asks for: the same again, as long as it does not know what came of it. */
  #termId: string | null = null;
  readonly #provider: Provider;
  readonly #group: string;
  readonly #id: string;
  /** Terms that anybody had in this group, and some that may still be held. */
  readonly #past: Lease[];
  readonly #given: Drive;
  readonly #random: Random;

  constructor(provider: Provider, group: string, id: string, past: Lease[], given: Drive, random: Random) {
    this.#provider = provider;
    this.#group = group;
    this.#id = id;
    this.#past = past;
    this.#given = given;
    this.#random = random;
  }

  async step(): Promise<void> {
    const random = this.#random;
    const dice = random.next();
    const lease = this.#lease;
    if (dice < 0.2) return void await this.#call((signal) => this.#provider.read(this.#group, { signal }));
    if (dice < 0.3) return await this.#meddle();
    if (lease === null) return await this.#acquire(this.#termId ?? this.#newTerm());
    if (dice < 0.75) {
      const metadata = random.chance(0.2) ? { metadata: { dice: String(dice) } } : {};
      const answer = await this.#call((signal) => this.#provider.renew(lease, { signal, ...metadata }));
      if (answer === "lost") this.#lease = null;
    } else if (dice < 0.83) {
      await this.#acquire(lease.termId);
    } else if (dice < 0.91) {
      await this.#call((signal) => this.#provider.release(lease, { signal }));
      this.#lease = null;
    } else if (dice < 0.95) {
      // As if the process had ended: others have to wait until the lease expires.
      this.#lease = null;
    }
  }

  /** The late call of an old term, or the eviction of one that may lead. */
  async #meddle(): Promise<void> {
    const recent = this.#past.slice(-3);
    const lease = recent[Math.floor(this.#random.next() * recent.length)];
    if (lease === undefined) return;
    const mayRenew = this.#given.renewsOthers !== false || lease.participantId === this.#id;
    if (mayRenew && this.#random.chance(0.7)) await this.#call((signal) => this.#provider.renew(lease, { signal }));
    else await this.#call((signal) => this.#provider.release(lease, { signal }));
  }

  #newTerm(): string {
    return this.#termId = crypto.randomUUID();
  }

  async #acquire(termId: string): Promise<void> {
    const { heartbeatTimeout } = this.#given;
    const request = { electionGroup: this.#group, participantId: this.#id, termId, heartbeatTimeout, metadata: {} };
    // A term that asks again may begin anew, under another token: what it had is not relied on any more.
    this.#lease = null;
    this.#termId = termId;
    if (this.#past.at(-1)?.termId === termId) this.#past.pop();
    const answer = await this.#call((signal) => this.#provider.acquire(request, { signal }));
    this.#termId = null;
    if (!answer.acquired) return;
    this.#lease = answer.lease;
    this.#past.push(answer.lease);
  }

  /** Bounds a call, now and then so tightly that it has hardly left. */
  async #call<T>(work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    const { clock, heartbeatTimeout } = this.#given;
    const limitMs = this.#random.chance(0.1) ? this.#random.between(0, 6) : Math.min(heartbeatTimeout / 2, 2_000);
    const controller = new AbortController();
    const cancel = clock.setTimer(() => controller.abort(new Error("out of time")), limitMs);
    try {
      return await work(controller.signal);
    } finally {
      cancel();
    }
  }
}

/** A run against a real backend. */
export interface RegisterRun {
  readonly name: string;
  readonly open: () => Provider;
  readonly faults?: ConformanceFaults;
  readonly heartbeatTimeout: number;
  readonly durationMs: number;
  readonly paceMs: number;
  /** How long the server is frozen: shortly, and for longer than a lease where that is not too long. */
  readonly freezesMs?: readonly [number, number];
  readonly expiry?: LinearizabilityOptions["expiry"];
  /** See {@linkcode Drive.renewsOthers}. */
  readonly renewsOthers?: boolean;
}

/** How many runs may go by in which so many calls were not answered that the search does not come to an end. */
const MAX_RUNS = 3;

/**
 * Drives four clients on three groups while the server freezes, dies and comes back, and checks what they were told.
 */
export async function checkRegister(run: RegisterRun): Promise<void> {
  for (let runs = 1;; runs++) {
    const operations = await record(run);
    const { violations, undecided } = checkLinearizability(operations, { expiry: run.expiry ?? "final" });
    if (violations.length > 0) {
      assert.fail(
        violations.map(({ electionGroup, table }) => `no lease explains ${electionGroup}:\n${table}`).join("\n\n"),
      );
    }
    const terms = new Set(operations.filter(({ answer }) => answer === "granted").map(({ seen }) => seen?.token));
    // A busy machine answers few calls in time. That says nothing either way, so it is done again.
    if (undecided.length === 0 && terms.size >= 5) return;
    assert.ok(runs < MAX_RUNS, `${runs} runs say nothing: undecided ${undecided.join()}, ${terms.size} terms`);
  }
}

async function record(run: RegisterRun): Promise<readonly RegisterOperation[]> {
  const seed = Number(crypto.getRandomValues(new Uint32Array(1))[0]);
  const recorder = new RegisterRecorder();
  const providers = [1, 2, 3, 4].map((i) => recorder.wrap(run.open(), `client ${i}`));
  const groups = [1, 2, 3].map((i) => `linearizability-${crypto.randomUUID()}-${i}`);
  try {
    const random = new Random(seed);
    await Promise.all([drive({ ...run, providers, groups, clock: systemClock, random }), trouble(run)]);
  } finally {
    await Promise.all(providers.map((provider) => provider[Symbol.asyncDispose]()));
  }
  console.log(`${run.name}: ${summarize(recorder.operations)}, seed ${seed}`);
  return recorder.operations;
}

/** Freezes the server shortly, kills and restarts it, and freezes it for longer, as far as that can be done. */
async function trouble({ faults = {}, durationMs, freezesMs = [100, 1_000] }: RegisterRun): Promise<void> {
  const { kill, restart, freeze, thaw } = faults;
  const wait = (ms: number) => sleep(systemClock, ms);
  for (const [i, frozenMs] of freezesMs.entries()) {
    await wait(durationMs * 0.2);
    await freeze?.();
    await wait(frozenMs);
    await thaw?.();
    if (i > 0 || !kill || !restart) continue;
    await wait(durationMs * 0.15);
    await kill();
    await wait(100);
    await restart();
  }
}

function summarize(operations: readonly RegisterOperation[]): string {
  const answers = Map.groupBy(operations, ({ answer }) => answer);
  const counts = [...answers].map(([answer, { length }]) => `${length} ${answer}`).sort().join(", ");
  return `${operations.length} calls: ${counts}`;
}
