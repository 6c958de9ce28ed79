/**
 * One campaign: what a participant does from a `start` to the next `stop`, as one loop.
 *
 * The loop looks; if it was granted the lease it leads, else it waits; and so on until the stop. **Only the loop begins
 * and ends terms**, one step after another, so no second piece of code can believe that there is no term. Calls come to
 * it as requests: a try waits for a look of its own, a release and a stop end the term that is led, and their callers
 * wait until the loop has done it.
 *
 * @module
 */

import { backoff, lookDelay } from "../time/backoff.ts";
import { instant } from "../time/clock.ts";
import { type ElectionError, type LostReason, ProviderError } from "../errors.ts";
import type { Log } from "../logger.ts";
import type { ElectionConfig } from "../options.ts";
import type { LeaderInfo } from "../provider.ts";
import type { BoundedProvider, Metadata } from "./bounded_provider.ts";
import { Heartbeat, type HeartbeatEvents } from "./heartbeat.ts";
import { Lookout, type LookoutEvents } from "./lookout.ts";
import { Restraint } from "./restraint.ts";
import { LeaseTerm } from "./term.ts";
import { Turns } from "./turns.ts";

/** The part of a participant that a campaign needs. */
export interface Surroundings {
  readonly config: ElectionConfig;
  readonly provider: BoundedProvider;
  readonly log: Log;
  /** One promise for each piece of work that has not settled. */
  readonly work: ReadonlySet<Promise<void>>;
  /** The metadata that the record of a term should hold. */
  readonly metadata: Metadata;
  /** Builds the error of a call that cannot be served. */
  refusal(verb: string, why: string): ElectionError;
  /** A call to the backend failed, and will be tried again. */
  failed(message: string, error: unknown): void;
  /** A call to the backend succeeded. */
  succeeded(): void;
  /** A renewal succeeded, when its term had `leftMs` left. */
  renewed(leftMs: number): void;
  /** The work of a term has drained, or was waited for, for `ms`. */
  drained(ms: number): void;
  /** The backend is about to be asked. */
  looks(): void;
  /** A look found `leader`, or others say so. */
  sees(leader: LeaderInfo | null): void;
  /** The leader as it was last seen, expired or not. */
  readonly seen: LeaderInfo | null;
  /** A term has begun. */
  acquired(term: LeaseTerm): void;
  /** A term is over. */
  lost(term: LeaseTerm, reason: LostReason): void;
}

/** The outcome of a try. */
export type Attempt = { readonly term: LeaseTerm } | { readonly leader: LeaderInfo | null };

/** A term that was granted, and what its record says. */
interface Grant {
  readonly term: LeaseTerm;
  readonly metadata: Metadata;
}

/** A term that is led, until its lease is free again. */
interface Reign {
  readonly name: "leading";
  readonly term: LeaseTerm;
  readonly heartbeat: Heartbeat;
  /** Resolves when the term begins to end: it is given up, or it is over already. */
  readonly ending: Promise<void>;
  readonly beginEnd: () => void;
  /** Resolves when the loop is done with it; null while nobody waits for that. */
  done: PromiseWithResolvers<void> | null;
  /** True once the loop is done with it. */
  isDone: boolean;
  /** True once `lost` has been told. */
  isOver: boolean;
  /** The participant that is to lead next, if one was named. */
  successor: string | undefined;
}

/** Where the loop is. */
type Phase = { readonly name: "looking" | "waiting" | "over" } | Reign;

/** The loop of one participant, from a `start` to the next `stop`. */
export class Campaign implements LookoutEvents, HeartbeatEvents {
  /** Resolves when the first look has come to an end, well or badly; rejects if it failed for good. */
  readonly ready: Promise<void>;
  /** Resolves when the campaign has ended, and all that it held is given back. */
  readonly done: Promise<void>;
  /** When the group is looked at next, at the latest. */
  nextLook: Date | null = null;
  readonly #around: Surroundings;
  readonly #provider: BoundedProvider;
  readonly #lookout: Lookout;
  readonly #restraint: Restraint;
  readonly #stopped = new AbortController();
  #signals: Set<AbortSignal> | null = null;
  /** Settles `ready`; null once it is settled. */
  #untried: PromiseWithResolvers<void> | null;
  #phase: Phase = { name: "looking" };
  /** Tries, each for a look that begins after it was asked for. */
  readonly #attempts: PromiseWithResolvers<Attempt>[] = [];
  /**
   * Resolves when the look that is under way has come to an end, and a term that it was granted has begun; null while
   * nobody waits for that.
   */
  #looked: PromiseWithResolvers<void> | null = null;
  #failures = 0;
  /** An `acquire` whose outcome is unknown. The next asks for the same again, so that a grant is not lost. */
  #unanswered: { readonly termId: string; readonly metadata: Metadata } | null = null;
  /** A term that is over, or never began, and that the backend has not said it has freed. */
  #owed: string | null = null;
  /** The last term that was asked for. */
  #lastTermId: string | null = null;
  /** The monotonic time until which the work of the last term may drain. */
  #drainUntil = -Infinity;

  /** Begins at once. */
  constructor(around: Surroundings) {
    this.#around = around;
    this.#provider = around.provider;
    this.#restraint = new Restraint(around.config);
    this.#lookout = new Lookout(around.config, around.provider, this);
    this.#untried = Promise.withResolvers();
    this.ready = this.#untried.promise;
    this.ready.catch(() => {});
    this.done = this.#run();
  }

  /** The term that is led; null while none is, or while it is being given up. */
  get term(): LeaseTerm | null {
    const { lease } = this;
    return lease !== null && !lease.ending && lease.isValid ? lease : null;
  }

  /** The term whose lease is kept, also while it is being given up. */
  get lease(): LeaseTerm | null {
    return this.#phase.name === "leading" && !this.#phase.isOver ? this.#phase.term : null;
  }

  /** Calls `stop` when `signal` aborts, now or as long as the campaign lasts. Being told again changes nothing. */
  stopWith(signal: AbortSignal, stop: () => void): void {
    if (signal.aborted) return stop();
    // The same listener is added once.
    signal.addEventListener("abort", stop, { once: true });
    const signals = this.#signals ??= new Set();
    if (signals.has(signal)) return;
    signals.add(signal);
    this.#stopped.signal.addEventListener("abort", () => signal.removeEventListener("abort", stop), { once: true });
  }

  /** Ends the campaign. `isLeader` is false at once; {@linkcode Campaign.done} tells when the rest is done. */
  stop(): void {
    this.#stopped.abort(this.#around.refusal("go on", "it was stopped"));
    this.#lookout.unfollow();
    this.#giveUp("stopped");
  }

  /** Looks soon: something has changed. */
  hint(): void {
    this.#lookout.hint();
  }

  /** Asks for the lease in a look that begins after this call, whatever the schedule and the cool-down say. */
  try(): Promise<Attempt> {
    if (this.#phase.name === "leading") {
      // A deadline that passed while this process stood still ends the term before the question is answered.
      this.#phase.heartbeat.checkDeadline();
      if (this.term !== null) return Promise.resolve({ term: this.term });
    }
    const attempt = Promise.withResolvers<Attempt>();
    attempt.promise.catch(() => {});
    this.#attempts.push(attempt);
    if (this.#phase.name === "waiting") this.#lookout.interrupt();
    return attempt.promise;
  }

  /**
   * Gives up the term that is led, or that calls made before this one are about to win, and does not campaign for
   * `cooldownMs`. Without a term it does nothing. Given `only`, it ends that term and no other. Given `successor`,
   * those who wait are told that the lease is for that participant.
   */
  async release(cooldownMs: number, only?: LeaseTerm, successor?: string): Promise<void> {
    // Requests are served in turn: a look that is under way, and a try that was asked for, come first.
    if (this.#phase.name !== "leading" && only === undefined) {
      const looked = this.#phase.name === "looking" ? (this.#looked ??= Promise.withResolvers()).promise : undefined;
      await Promise.allSettled([this.#attempts.at(-1)?.promise, looked]);
    }
    const phase = this.#phase;
    if (phase.name !== "leading" || (only !== undefined && phase.term !== only)) return;
    if (!phase.isOver) this.#restraint.coolDown(cooldownMs);
    phase.successor ??= successor;
    this.#giveUp("released");
    if (!phase.isDone) await (phase.done ??= Promise.withResolvers()).promise;
  }

  /** Brings the metadata of the record up to date, if a term is led. @throws {ProviderError} if that failed */
  async sendMetadata(): Promise<void> {
    if (this.#phase.name === "leading") await this.#phase.heartbeat.sendMetadata();
  }

  /** See {@linkcode LookoutEvents}. */
  broken(error: unknown): void {
    this.#around.log("debug", "the hints broke off", { error });
  }

  /** See {@linkcode LookoutEvents}. */
  seen(): LeaderInfo | null {
    return this.#around.seen;
  }

  /** See {@linkcode LookoutEvents}. */
  transferred(to: string): void {
    this.#restraint.makeWay(to);
  }

  /** See {@linkcode HeartbeatEvents}. */
  metadata(): Metadata {
    return this.#around.metadata;
  }

  /** See {@linkcode HeartbeatEvents}. */
  failed(error: unknown): void {
    this.#around.failed("a heartbeat failed", error);
  }

  /** See {@linkcode HeartbeatEvents}. */
  succeeded(leftMs: number): void {
    this.#around.renewed(leftMs);
  }

  /** See {@linkcode HeartbeatEvents}. */
  unhealthy(): void {
    this.#giveUp("unhealthy");
  }

  /** See {@linkcode HeartbeatEvents}. The heartbeats of a term are stopped before the next one can begin. */
  over(reason: "lost" | "expired"): void {
    if (this.#phase.name === "leading") this.#end(this.#phase, reason);
  }

  /** Looks, then leads or waits, until the stop. Never rejects. */
  async #run(): Promise<void> {
    const { signal } = this.#stopped;
    while (!signal.aborted) {
      this.#phase = { name: "looking" };
      const { grant, delayMs, error } = await this.#look();
      // S9: no term begins after a stop. S1: an answer that took as long as the lease is no right to lead. Nothing else
      // can happen between these checks and the beginning of the term.
      const reign = grant !== null && !signal.aborted && grant.term.isValid ? this.#begin(grant) : null;
      this.#looked?.resolve();
      this.#looked = null;
      if (error instanceof ProviderError && error.permanent) this.#untried?.reject(error);
      else this.#untried?.resolve();
      this.#untried = null;
      if (reign !== null) await this.#lead(reign);
      else if (grant !== null) this.#owed = grant.term.termId;
      else if (this.#attempts.length === 0) await this.#wait(delayMs);
    }
    await this.#leave();
  }

  async #wait(delayMs: number): Promise<void> {
    if (this.#stopped.signal.aborted) return;
    this.#phase = { name: "waiting" };
    this.#plan(delayMs);
    await this.#lookout.wait(delayMs, this.#stopped.signal);
  }

  #plan(delayMs: number): number {
    this.nextLook = new Date(this.#around.config.clock.wall() + delayMs);
    return delayMs;
  }

  /**
   * See {@linkcode LookoutEvents}. Takes note of a leader that others have seen, and returns when to look; null if that
   * settles nothing. An answer of our own that is due, and a lease that is to be given back, are settled by a look of
   * our own alone.
   */
  told(leader: LeaderInfo): number | null {
    if (this.#unanswered !== null || this.#owed !== null || leader.termId === this.#lastTermId) return null;
    this.#restraint.sees(leader);
    this.#around.sees(leader);
    return this.#plan(this.#delayAfter(leader));
  }

  /** Looks once, for all who have asked by now. Never rejects. */
  async #look(): Promise<{ readonly grant: Grant | null; readonly delayMs: number; readonly error?: unknown }> {
    const { signal } = this.#stopped;
    const attempts = this.#attempts.splice(0);
    let endTurn = () => {};
    try {
      // First of all: whatever is checked, and when the request goes out, is of the time after that.
      endTurn = await Turns.of(this.#provider.target).take(signal);
      await this.#provider.connect(signal);
      await this.#payBack();
      const obstacle = await this.#obstacle(attempts.length > 0);
      signal.throwIfAborted();
      if (obstacle !== null) {
        for (const attempt of attempts) attempt.reject(this.#around.refusal("acquire the lease", obstacle));
      }
      const seen = obstacle === null ? await this.#acquire() : { leader: await this.#read() };
      this.#failures = 0;
      this.#around.succeeded();
      if ("term" in seen) {
        // They are answered when the term has begun.
        this.#attempts.unshift(...attempts);
        return { grant: seen, delayMs: 0 };
      }
      for (const attempt of attempts) attempt.resolve(seen);
      if (!signal.aborted) this.#lookout.follow();
      return { grant: null, delayMs: this.#delayAfter(seen.leader) };
    } catch (error) {
      for (const attempt of attempts) attempt.reject(error);
      if (!signal.aborted) this.#around.failed("a look at the backend failed", error);
      return { grant: null, delayMs: lookDelay(++this.#failures, this.#around.config), error };
    } finally {
      endTurn();
    }
  }

  /** Returns why not to ask for the lease now; null if nothing speaks against it. */
  async #obstacle(isAsked: boolean): Promise<string | null> {
    const { config, work } = this.#around;
    if (config.observer) return "it only observes";
    // S7: a new term does not begin before the work of the old one has settled.
    if (work.size > 0) return "the work of the last term has not settled";
    if (!isAsked && this.#restraint.left > 0) return "it holds back";
    // A stop waits for no check: what it says does not matter any more.
    return await this.#provider.isHealthy(this.#stopped.signal) ? null : "the health check failed";
  }

  #delayAfter(leader: LeaderInfo | null): number {
    // A term of ours that is over and holds the lease all the same: an answer of the backend's was late, or lost.
    if (leader !== null && leader.termId === this.#lastTermId) this.#owed = leader.termId;
    const payBack = this.#owed === null ? 0 : Math.max(this.#draining, backoff(0, this.#around.config));
    return Math.min(this.#lookout.delayAfter(leader), ...[this.#restraint.endsIn, payBack].filter((ms) => ms > 0));
  }

  /** Asks for the lease. */
  async #acquire(): Promise<Grant | { readonly leader: LeaderInfo | null }> {
    const { clock, validFor } = this.#around.config;
    const { termId, metadata } = this.#unanswered ??= {
      termId: crypto.randomUUID(),
      metadata: this.#around.metadata,
    };
    this.#lastTermId = termId;
    this.#around.looks();
    // Read before the request goes out, never after: the lease may run from any moment since.
    const sent = instant(clock);
    const answer = await this.#provider.acquire(termId, metadata);
    this.#unanswered = null;
    if (answer.acquired) {
      this.#restraint.leads();
      return { term: new LeaseTerm(answer.lease, clock, sent, validFor), metadata };
    }
    this.#sees(answer.leader);
    return { leader: answer.leader };
  }

  /** Only looks. A term that was asked for, and of which nothing was heard, is not wanted any more. */
  async #read(): Promise<LeaderInfo | null> {
    if (this.#owed === null) {
      this.#owed = this.#unanswered?.termId ?? null;
      this.#unanswered = null;
    }
    await this.#payBack();
    this.#around.looks();
    const leader = await this.#provider.read(this.#stopped.signal);
    this.#sees(leader);
    return leader;
  }

  #sees(leader: LeaderInfo | null): void {
    this.#lookout.looked(leader);
    this.#restraint.sees(leader);
    this.#around.sees(leader);
  }

  /**
   * Frees what the backend may still keep for a term of ours that is over, or that never began: otherwise nobody leads
   * until it expires, on a backend that is well. Safe: nobody relies on that term any more, and a release touches no
   * other.
   */
  async #payBack(successor?: string): Promise<void> {
    if (this.#owed === null || this.#draining > 0) return;
    if (await this.#provider.release(this.#owed, successor)) this.#owed = null;
  }

  /** For how long the work of the last term may still keep its lease; 0 where none is left. */
  get #draining(): number {
    return this.#around.work.size === 0 ? 0 : this.#drainUntil - this.#around.config.clock.monotonic();
  }

  #begin({ term, metadata }: Grant): Reign {
    const { config, log } = this.#around;
    this.#lookout.unfollow();
    this.nextLook = null;
    const heartbeat = new Heartbeat(term, metadata, config, this.#provider, this);
    const { promise: ending, resolve: beginEnd } = Promise.withResolvers<void>();
    const reign: Reign = {
      ...{ name: "leading", term, heartbeat, ending, beginEnd },
      ...{ done: null, isDone: false, isOver: false, successor: undefined },
    };
    this.#phase = reign;
    log("info", "acquired leadership", { termId: term.termId, token: term.token });
    this.#around.acquired(term);
    this.#lookout.looked(term.describe(metadata), true);
    for (const attempt of this.#attempts.splice(0)) attempt.resolve({ term });
    return reign;
  }

  /**
   * Leads until the term is over, and its lease free again. The order is the safety argument. (1) `#giveUp` has told
   * the work to stop, and `isLeader` is false from then on. (2) The heartbeats go on while the work drains, so nobody
   * else can lead as long as it runs, at most `drainTimeout`; should the lease be lost meanwhile, the term is over at
   * once. (3) The term becomes invalid *before* (4) the release is sent, since another may lead from the moment it
   * arrives. (5) A release that failed is tried again with the next look, and else the lease expires by itself.
   *
   * A term that has expired may be over before its work has drained. Its lease is released all the same, by the first
   * look after the drain: a clock that was stepped, or a backend that stood still, may have left it alive. Others come
   * first then, and by far if no heartbeat of the term has ever succeeded.
   */
  async #lead(reign: Reign): Promise<void> {
    const { term, heartbeat } = reign;
    const { clock, drainTimeout, retryBaseDelay, electionInterval } = this.#around.config;
    await reign.ending;
    const began = clock.monotonic();
    this.#drainUntil = began + drainTimeout;
    await this.#drain(drainTimeout, term.over);
    this.#around.drained(clock.monotonic() - began);
    heartbeat.stop();
    if (term.isValid) this.#drainUntil = -Infinity;
    term.end(term.reason ?? "released");
    if (term.reason === "expired") this.#restraint.coolDown(heartbeat.hasSucceeded ? retryBaseDelay : electionInterval);
    if (term.reason !== "lost") this.#owed = term.termId;
    await this.#payBack(reign.successor);
    if (this.#owed === null) this.#lookout.freed(reign.successor);
    this.#end(reign, term.reason ?? "released");
    reign.isDone = true;
    reign.done?.resolve();
  }

  /** Waits for the work to settle: no longer than `boundMs`, nor than until `over` resolves. */
  async #drain(boundMs: number, ...over: Promise<void>[]): Promise<void> {
    const drained = new AbortController();
    const bound = this.#provider.queue.pause(boundMs, drained.signal);
    await Promise.race([Promise.all(this.#around.work), bound, ...over]);
    drained.abort();
  }

  /** Begins to give up the term that is led, if there is one and it does not end already. */
  #giveUp(reason: LostReason): void {
    if (this.#phase.name !== "leading") return;
    const { term, beginEnd } = this.#phase;
    if (!term.ending) term.cancel(reason);
    beginEnd();
  }

  /** Takes note that a term is over. The state changes first, then the event is published, once. */
  #end(reign: Reign, reason: LostReason): void {
    const { term, heartbeat, beginEnd } = reign;
    if (reign.isOver) return;
    reign.isOver = true;
    heartbeat.stop();
    term.end(reason);
    this.#around.log("info", "lost leadership", { termId: term.termId, token: term.token, reason });
    this.#around.lost(term, reason);
    beginEnd();
  }

  /** The end of the campaign: what may be held is given back, and nobody waits any more. */
  async #leave(): Promise<void> {
    this.#phase = { name: "over" };
    this.nextLook = null;
    for (const attempt of this.#attempts.splice(0)) attempt.reject(this.#stopped.signal.reason);
    // The work of a term that has expired drains as well. A lease that it outlives is free by then without a release.
    if (this.#draining > 0) await this.#drain(Math.min(this.#draining, this.#around.config.heartbeatTimeout));
    const unanswered = this.#unanswered;
    // At the same time: a backend that hangs is waited for once.
    await Promise.all([this.#payBack(), unanswered && this.#provider.release(unanswered.termId)]);
  }
}
