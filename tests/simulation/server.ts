/**
 * The backend of a simulation: the memory provider, carried out at the server's time, and a ghost that knows what it
 * granted.
 *
 * @module
 */

import type { Acquired, AcquireRequest, Held, Hint, LeaderInfo, Lease, Provider } from "../../src/provider.ts";
import { memoryProvider } from "../../providers/memory.ts";
import type { History } from "./history.ts";
import type { World } from "./world.ts";

/** The one group that simulations contest. */
export const GROUP = "simulated";

/** A lease as it was granted. */
export interface Grant {
  readonly termId: string;
  readonly participantId: string;
  readonly token: bigint;
  /** When the server frees it, at the server's time. */
  until: number;
  /** What its record says. */
  metadata: Readonly<Record<string, string>>;
}

/** What an acquire, renew or release comes to is seen here, at the moment at which it takes effect. */
export class SimulatedServer {
  /** Every lease granted, in order. */
  readonly grants: Grant[] = [];
  /** When a release took effect last. */
  releasedAt = -Infinity;
  /** When a lease was last forgotten, or taken from a leader that does not know it yet. */
  forgotAt = -Infinity;
  /** The terms that were evicted. */
  readonly evicted: Set<string> = new Set();
  /** While it is frozen, requests wait here. */
  frozen: (() => void)[] | null = null;
  readonly #world: World;
  readonly #history: History;
  readonly #name: string;
  #memory: Provider;
  #base = 0n;
  #holder: Grant | null = null;
  #outages = 0;
  #freezes = 0;
  #lives = 0;
  #broken = new AbortController();

  constructor(world: World, history: History, name: string) {
    this.#world = world;
    this.#history = history;
    this.#name = name;
    this.#memory = memoryProvider({ name, clock: world.clock });
  }

  /** The lease that lives now. */
  get holder(): Grant | null {
    return this.#holder !== null && this.#holder.until > this.#world.now ? this.#holder : null;
  }

  /** Whether it refuses connections. */
  get isDown(): boolean {
    return this.#outages > 0;
  }

  /** Aborts when every connection breaks. */
  get broken(): AbortSignal {
    return this.#broken.signal;
  }

  /** Goes down: what it had not carried out is lost. */
  goDown(): void {
    if (this.#outages++ > 0) return;
    if (this.frozen !== null) this.frozen = [];
    this.#broken.abort();
    this.#broken = new AbortController();
  }

  /** Comes back, with everything that it had. */
  comeBack(): void {
    this.#outages--;
  }

  /** Hangs: connections stay, nothing is answered. */
  freeze(): void {
    this.#freezes++;
    this.frozen ??= [];
  }

  /** Goes on with what has piled up. */
  thaw(): void {
    if (--this.#freezes > 0) return;
    const waiting = this.frozen ?? [];
    this.frozen = null;
    for (const carryOut of waiting) this.#world.at(this.#world.now, carryOut);
  }

  /**
   * Loses all leases and its token counter, as a Redis without persistence does. The clock keeps the tokens growing.
   */
  forget(): void {
    const last = this.grants.at(-1)?.token ?? 0n;
    const byClock = BigInt(Math.floor(this.#world.clock.wall() * 1_000));
    this.#base = byClock > last ? byClock : last;
    this.#memory = memoryProvider({ name: `${this.#name}-${++this.#lives}`, clock: this.#world.clock });
    this.#holder = null;
    this.forgotAt = this.#world.now;
    this.goDown();
    this.comeBack();
  }

  /** Carries out an `acquire`. */
  async acquire(request: AcquireRequest): Promise<Acquired | Held> {
    const answer = this.#shift(await this.#memory.acquire(request, ALWAYS));
    if (!answer.acquired) return answer;
    const { termId, participantId, token } = answer.lease;
    const until = this.#world.now + request.heartbeatTimeout;
    const holder = this.holder;
    if (holder !== null && holder.termId === termId && holder.token === token) {
      holder.until = until;
    } else {
      const last = this.grants.at(-1);
      if (holder !== null) {
        this.#history.violate("S5", `an acquire took the lease of ${this.#history.term(holder.termId)}`);
      }
      if (last !== undefined && token <= last.token) {
        this.#history.violate("S3", `token ${token} came after ${last.token}`);
      }
      this.#holder = { termId, participantId, token, until, metadata: request.metadata };
      this.grants.push(this.#holder);
      this.#history.note("server", () => `grants ${this.#history.term(termId)} to ${participantId}, token ${token}`);
    }
    this.#lookAtExpiry(until);
    return answer;
  }

  /** Carries out a `renew`. */
  async renew(lease: Lease, metadata: Readonly<Record<string, string>> | undefined): Promise<"renewed" | "lost"> {
    const outcome = await this.#memory.renew(lease, metadata === undefined ? ALWAYS : { ...ALWAYS, metadata });
    if (outcome !== "renewed") return outcome;
    const holder = this.holder;
    if (holder?.termId !== lease.termId) {
      this.#history.violate("S5", `a renewal of ${this.#history.term(lease.termId)} succeeded, which had no lease`);
    } else {
      holder.until = this.#world.now + lease.heartbeatTimeout;
      holder.metadata = metadata ?? holder.metadata;
      this.#lookAtExpiry(holder.until);
    }
    return outcome;
  }

  /** Carries out a `release`. */
  async release(
    lease: Pick<Lease, "electionGroup" | "termId">,
    transferTo?: string,
  ): Promise<"released" | "notHolder"> {
    const outcome = await this.#memory.release(lease, { ...ALWAYS, transferTo });
    if (outcome !== "released") return outcome;
    if (this.holder?.termId !== lease.termId) {
      this.#history.violate("S5", `a release of ${this.#history.term(lease.termId)} freed the lease of another term`);
    }
    this.#holder = null;
    this.releasedAt = this.#world.now;
    this.#history.note("server", () => `frees ${this.#history.term(lease.termId)}`);
    return outcome;
  }

  /** Carries out an eviction: somebody releases whatever term holds the lease, and its leader does not know. */
  async evict(): Promise<void> {
    const { holder } = this;
    if (holder === null || this.isDown) return;
    this.#history.note("operator", () => `evicts ${this.#history.term(holder.termId)}`);
    this.evicted.add(holder.termId);
    this.forgotAt = this.#world.now;
    await this.release({ electionGroup: GROUP, termId: holder.termId });
  }

  /** Carries out a `read`. */
  async read(): Promise<LeaderInfo | null> {
    const leader = await this.#memory.read(GROUP, ALWAYS);
    return leader && { ...leader, token: leader.token + this.#base };
  }

  /** Yields hints until `signal` aborts. */
  async *watch(signal: AbortSignal): AsyncIterable<Hint> {
    for await (const hint of this.#memory.watch?.(GROUP, { signal }) ?? []) {
      const leader = hint?.leader;
      yield leader === undefined ? hint ?? {} : { leader: { ...leader, token: leader.token + this.#base } };
    }
  }

  /** The tokens of a store that forgot go on above those of the one before. */
  #shift(answer: Acquired | Held): Acquired | Held {
    if (answer.acquired) {
      return { acquired: true, lease: { ...answer.lease, token: answer.lease.token + this.#base } };
    }
    return { acquired: false, leader: answer.leader && { ...answer.leader, token: answer.leader.token + this.#base } };
  }

  /** An expiry is an instant at which somebody may still believe to lead. */
  #lookAtExpiry(until: number): void {
    this.#world.at(until + 0.001, () => {});
  }
}

/** What reaches the server is carried out: the client's signal does not travel. */
const ALWAYS = { signal: new AbortController().signal };
