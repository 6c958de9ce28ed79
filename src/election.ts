/**
 * One participant in one election.
 *
 * The state machine: `stopped` → `start()` → **follower** → `acquire` answers *acquired* → **leader** → the term ends →
 * **follower** … → `stop()` → `stopped`. A term ends at once when the backend says `lost` or its deadline passes; it is given
 * up gracefully (`#stepDown`) on `releaseLeadership`, an unhealthy check and `stop`.
 *
 * @module
 */

import { BoundedCalls } from "./call.ts";
import { ChangeHub, type LeadershipChanges, type LeadershipChangeType } from "./changes.ts";
import { elapsedSince, instant } from "./clock.ts";
import { backoff } from "./backoff.ts";
import { type Duration, parseDuration } from "./duration.ts";
import { ElectionError, type LostReason } from "./errors.ts";
import { Heartbeat } from "./heartbeat.ts";
import { LeaderView } from "./leader_view.ts";
import { Lookout } from "./lookout.ts";
import { checkMetadata, type ElectionConfig, type ElectionOptions, resolveOptions } from "./options.ts";
import type { Acquired, Held, LeaderInfo, Provider } from "./provider.ts";
import { type RunOptions, runWhileLeading } from "./run.ts";
import { LeaseTerm, type Term } from "./term.ts";
import { TimerQueue } from "./timer_queue.ts";
import { Waiters } from "./waiters.ts";

/** What a participant is at the moment. */
export type Role = "leader" | "follower" | "stopped";

/** A snapshot of one participant. */
export interface LeadershipStatus {
  /** What it is. */
  readonly role: Role;
  /** The leader as this participant last saw it, or null when nobody is known to lead. */
  readonly currentLeader: LeaderInfo | null;
  /** The fencing token of the term that it leads; null when it does not. */
  readonly token: bigint | null;
  /** When it last asked for the lease, or looked for the leader, by the wall clock. */
  readonly lastElectionAttempt: Date | null;
  /** When it will look again at the latest; null while it leads or is stopped. */
  readonly nextElectionAttempt: Date | null;
}

/** What `tryAcquireLeadership` came to. */
export type AttemptOutcome =
  | { readonly outcome: "elected"; readonly term: Term }
  | { readonly outcome: "held"; readonly leader: LeaderInfo | null };

/** What a call that waits takes. */
export interface WaitOptions {
  /** Ends the wait: the call rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** For a pause that nothing cuts short. */
const NEVER = new AbortController().signal;

/** What lives from one `start` to the next `stop`. */
interface Session {
  readonly stopped: AbortController;
  /** Resolves when `stopped` aborts. */
  readonly ended: Promise<void>;
  readonly lookout: Lookout;
  /** Resolves when the first look has come to an end, well or badly. */
  readonly ready: PromiseWithResolvers<void>;
  /** The one `acquire` that is under way. */
  acquiring: Promise<Acquired | Held> | null;
  /** The term id of an `acquire` whose outcome is unknown. The next asks with it again, so that a grant is not lost. */
  unanswered: string | null;
}

/** Makes `election` the owner of its provider: `stop` closes it, and a later `start` opens another. */
export let ownProvider: (election: LeaderElection, reopen: () => Promise<Provider>) => void;

/**
 * One participant in one election, over a provider that it does not own.
 *
 * @example
 * ```ts
 * import { LeaderElection } from "@multilock/core";
 * import { memoryProvider } from "@multilock/core/memory";
 *
 * await using election = new LeaderElection(memoryProvider(), { electionGroup: "docs-class" });
 * await election.start();
 * console.assert(election.isLeader);
 * ```
 */
export class LeaderElection implements AsyncDisposable {
  readonly #config: ElectionConfig;
  readonly #calls: BoundedCalls;
  readonly #view: LeaderView;
  readonly #waiters = new Waiters();
  readonly #work = new Set<Promise<void>>();
  #hub: ChangeHub;
  #metadata: Readonly<Record<string, string>>;
  #session: Session | null = null;
  #stopping: Promise<void> | null = null;
  /** Whether the last call was a `stop`, so that waits are refused; before the first `start` they are kept. */
  #isStopped = false;
  #term: LeaseTerm | null = null;
  #heartbeat: Heartbeat | null = null;
  #steppingDown: Promise<void> | null = null;
  #coolUntil = -Infinity;
  #lastAttempt: Date | null = null;
  #nextAttempt: Date | null = null;
  /** Opens the provider anew after a stop; null when somebody else owns it. */
  #reopen: (() => Promise<Provider>) | null = null;
  #providerOpen = true;

  /**
   * Checks the options, and does no more: {@linkcode LeaderElection.start} begins.
   *
   * @throws {TypeError | RangeError | ConfigError} if the options are malformed, out of range or unsafe
   */
  constructor(provider: Provider, options: ElectionOptions) {
    this.#config = resolveOptions(options);
    const { minTimeout, maxTimeout = Infinity } = provider.capabilities;
    const { heartbeatTimeout, clock, electionGroup } = this.#config;
    if (heartbeatTimeout < minTimeout || heartbeatTimeout > maxTimeout) {
      throw new RangeError(
        `Cannot use heartbeatTimeout ${heartbeatTimeout} with ${provider.name}: ` +
          `it must be between ${minTimeout} and ${maxTimeout} ms`,
      );
    }
    this.#calls = new BoundedCalls(provider, TimerQueue.of(clock), electionGroup);
    this.#metadata = this.#config.metadata;
    this.#view = new LeaderView(clock);
    this.#hub = new ChangeHub(clock);
  }

  static {
    ownProvider = (election, reopen) => election.#reopen = reopen;
  }

  /** What is contested. */
  get electionGroup(): string {
    return this.#config.electionGroup;
  }

  /** Who takes part. */
  get participantId(): string {
    return this.#config.participantId;
  }

  /**
   * Whether this participant leads, computed against the deadline on every read. While it is true no other participant's
   * is. False as soon as the leader begins to step down.
   */
  get isLeader(): boolean {
    return this.#term !== null && !this.#term.ending && this.#term.isValid;
  }

  /** The term that this participant leads; null when it does not lead. */
  get term(): Term | null {
    return this.isLeader ? this.#term : null;
  }

  /** A snapshot. */
  get status(): LeadershipStatus {
    const leads = this.isLeader;
    return {
      role: this.#session === null ? "stopped" : leads ? "leader" : "follower",
      currentLeader: this.#leader(),
      token: leads ? this.#term?.token ?? null : null,
      lastElectionAttempt: this.#lastAttempt,
      nextElectionAttempt: this.#session === null || leads ? null : this.#nextAttempt,
    };
  }

  /**
   * Begins to campaign, or to watch where `observer` is set. Resolves when the first look has come to an end, well or
   * badly: a backend that is down is looked for until it is found. Does nothing when already started; after `stop` it
   * starts anew.
   *
   * @param options `signal` stops the election when it aborts, now or later
   * @throws the reason of `signal`, if it has aborted
   */
  async start(options: WaitOptions = {}): Promise<void> {
    options.signal?.throwIfAborted();
    this.#config.signal?.throwIfAborted();
    while (this.#stopping !== null) await this.#stopping;
    const session = this.#session ??= this.#open();
    for (const signal of new Set([options.signal, this.#config.signal])) {
      if (signal !== undefined) this.#stopWhen(signal, session);
    }
    await session.ready.promise;
  }

  /**
   * Stops: steps down gracefully if leading, ends every stream and rejects every wait. Resolves when all is done, within
   * `drainTimeout` + `lockTimeout` + 3 · `requestTimeout` however the backend hangs.
   */
  stop(): Promise<void> {
    if (this.#isStopped) return Promise.resolve();
    return this.#stopping ??= this.#close(this.#session).finally(() => this.#stopping = null);
  }

  /** Stops. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  /**
   * Asks for the lease now, whatever the schedule and the cool-down say.
   *
   * @throws {ElectionError} if the election is not started, only observes, or its `healthCheck` says no
   * @throws {ProviderError} if the backend failed: whether the lease was granted is unknown, and will be found out
   */
  async tryAcquireLeadership(options: WaitOptions = {}): Promise<AttemptOutcome> {
    options.signal?.throwIfAborted();
    const session = this.#session;
    if (session === null || session.stopped.signal.aborted) throw this.#refusal("acquire", "it is not started");
    if (this.#config.observer) throw this.#refusal("acquire", "it only observes");
    if (this.#steppingDown !== null) await this.#steppingDown;
    if (this.term !== null) return { outcome: "elected", term: this.term };
    if (!(await this.#healthy())) throw this.#refusal("acquire", "the health check failed");
    const answer = await this.#waiters.race(this.#acquire(session), options.signal);
    const { term } = this;
    return term !== null ? { outcome: "elected", term } : {
      outcome: "held",
      leader: answer.acquired ? null : answer.leader,
    };
  }

  /**
   * Steps down, if leading, and stays a participant: aborts `term.signal`, waits for `run`'s work to settle (at most
   * `drainTimeout`), releases the lease.
   *
   * @param options `cooldown`: for how long not to campaign afterwards. @default `electionInterval`
   */
  async releaseLeadership(options: { cooldown?: Duration | undefined } = {}): Promise<void> {
    const cooldown = options.cooldown === undefined
      ? this.#config.electionInterval
      : parseDuration(options.cooldown, "cooldown");
    if (this.#term !== null) await this.#stepDown(this.#term, "released", cooldown);
  }

  /** Asks the backend who leads. Never writes. @throws {ProviderError} if the backend failed */
  getCurrentLeader(options: WaitOptions = {}): Promise<LeaderInfo | null> {
    return this.#read(options.signal);
  }

  /**
   * Waits until this participant leads. Never returns without a valid term.
   *
   * @throws {ElectionError} when the election stops, or if it has been stopped
   */
  waitForLeadership(options: WaitOptions = {}): Promise<Term> {
    if (this.#config.observer) return Promise.reject(this.#refusal("wait to lead", "it only observes"));
    return this.#wait(() => this.term, options.signal);
  }

  /**
   * Waits until somebody is known to lead.
   *
   * @throws {ElectionError} when the election stops, or if it has been stopped
   */
  waitForLeader(options: WaitOptions = {}): Promise<LeaderInfo> {
    return this.#wait(() => this.#leader(), options.signal);
  }

  /**
   * Subscribes to what happens from now on. Ends when the election stops; rejects when `signal` aborts.
   *
   * @param options `types`: only these
   */
  changes(
    options: { types?: LeadershipChangeType[] | undefined; signal?: AbortSignal | undefined } = {},
  ): LeadershipChanges {
    const { types, signal } = options;
    return this.#hub.subscribe({ ...(types && { types }), ...(signal && { signal }), leading: this.isLeader });
  }

  /**
   * The main way in: waits for leadership, calls `work(term)`, and if the term ends before `work` has settled, waits for it
   * to settle and campaigns again. `term.signal` tells `work` to stop.
   *
   * When `work` returns within a valid term, leadership is released and `run` returns its value; with `once: false` it
   * campaigns again instead. When `work` rejects within a valid term, leadership is released and `run` rejects with the same
   * error. `work` never runs twice at once, and while it drains this participant does not campaign.
   *
   * @param options `signal` ends it: work drains, leadership is released, and `run` returns `undefined`
   * @throws {ElectionError} when the election stops, unless `work` returned all the same
   */
  run<T>(work: (term: Term) => Promise<T>, options: RunOptions = {}): Promise<T | undefined> {
    return runWhileLeading(this, (settled) => this.#keepWork(settled), work, options);
  }

  /**
   * Replaces the metadata. A leader's is sent with a heartbeat at once.
   *
   * @throws {TypeError | RangeError} if it is malformed or over its limits
   * @throws {ProviderError} if that heartbeat failed; the metadata goes with the next
   */
  async updateMetadata(metadata: Readonly<Record<string, string>>): Promise<void> {
    this.#metadata = checkMetadata(metadata);
    // A heartbeat that was under way may have left with the old.
    await this.#heartbeat?.beat();
    if (this.#heartbeat?.holds(this.#metadata) === false) await this.#heartbeat.beat();
  }

  #open(): Session {
    const lookout = new Lookout(this.#config, this.#calls, (error) => this.#log("debug", "hints broke off", { error }));
    const stopped = new AbortController();
    const session: Session = {
      stopped,
      ended: new Promise((resolve) => stopped.signal.addEventListener("abort", () => resolve(), { once: true })),
      lookout,
      ready: Promise.withResolvers<void>(),
      acquiring: null,
      unanswered: null,
    };
    if (this.#isStopped) this.#hub = new ChangeHub(this.#config.clock);
    this.#isStopped = false;
    this.#coolUntil = -Infinity;
    void this.#campaign(session);
    return session;
  }

  /** Looks, leads or waits, until the session is stopped. Never rejects. */
  async #campaign(session: Session): Promise<void> {
    const { lookout, stopped: { signal } } = session;
    for (let failures = 0; !signal.aborted;) {
      // S7: a new term does not begin before the work of the old one has settled.
      while (this.#work.size > 0 && this.#term === null) await Promise.race([Promise.all(this.#work), session.ended]);
      if (signal.aborted) return;
      let delay: number;
      try {
        delay = await this.#look(session);
        failures = 0;
      } catch (error) {
        if (signal.aborted) return;
        this.#log("warn", "a look at the backend failed", { error });
        // A run of quick retries, then the usual interval: a backend that stays down is not hammered.
        const { maxRetryAttempts, electionInterval, random } = this.#config;
        failures = failures < maxRetryAttempts ? failures + 1 : 0;
        delay = failures > 0 ? backoff(failures - 1, this.#config) : electionInterval * (1 - random() / 4);
      }
      session.ready.resolve();
      if (this.#term !== null) {
        await this.#term.over;
        continue;
      }
      this.#nextAttempt = new Date(this.#config.clock.wall() + delay);
      await lookout.wait(delay, signal);
    }
  }

  /** Looks once. Returns after how long to look again. */
  async #look(session: Session): Promise<number> {
    await this.#connect();
    const cooling = this.#coolUntil - this.#config.clock.monotonic();
    const campaigns = !this.#config.observer && cooling <= 0 && await this.#healthy();
    let leader: LeaderInfo | null;
    if (campaigns && !session.stopped.signal.aborted) {
      const answer = await this.#acquire(session);
      if (answer.acquired) return 0;
      leader = answer.leader;
    } else {
      this.#lastAttempt = new Date(this.#config.clock.wall());
      this.#see(leader = await this.#read(session.stopped.signal));
    }
    if (session.stopped.signal.aborted) return 0;
    session.lookout.follow();
    const delay = session.lookout.delayAfter(leader);
    return cooling > 0 ? Math.min(delay, cooling) : delay;
  }

  /** Asks for the lease; joins the call that is under way. */
  #acquire(session: Session): Promise<Acquired | Held> {
    return session.acquiring ??= this.#acquireOnce(session).finally(() => session.acquiring = null);
  }

  async #acquireOnce(session: Session): Promise<Acquired | Held> {
    const { electionGroup, participantId, heartbeatTimeout, lockTimeout, clock, validFor } = this.#config;
    if (session.stopped.signal.aborted) throw this.#refusal("acquire", "it was stopped");
    if (this.#work.size > 0) throw this.#refusal("acquire", "the work of the last term has not settled");
    const termId = session.unanswered ??= crypto.randomUUID();
    const metadata = this.#metadata;
    const request = { electionGroup, participantId, termId, heartbeatTimeout, metadata };
    this.#lastAttempt = new Date(clock.wall());
    const sent = instant(clock);
    const answer = await this.#calls.run(
      "acquire",
      lockTimeout,
      (signal) => this.#calls.provider.acquire(request, { signal }),
    );
    session.unanswered = null;
    if (!answer.acquired) {
      this.#see(answer.leader);
      return answer;
    }
    const term = new LeaseTerm(answer.lease, clock, sent, validFor);
    // S9: no term begins after a stop. S1: an answer that took longer than the lease is no right to lead.
    if (session.stopped.signal.aborted || !term.isValid) {
      term.end("expired");
      await this.#giveBack(termId);
      return { acquired: false, leader: null };
    }
    this.#beginTerm(session, term, metadata);
    return answer;
  }

  #beginTerm(session: Session, term: LeaseTerm, metadata: Readonly<Record<string, string>>): void {
    const previous = this.#view.current;
    this.#term = term;
    session.lookout.unfollow();
    this.#heartbeat = new Heartbeat(term, metadata, this.#config, this.#calls, {
      metadata: () => this.#metadata,
      healthy: this.#config.healthCheck && (() => this.#healthy()),
      failed: (error) => this.#log("warn", "a heartbeat failed", { termId: term.termId, error }),
      unhealthy: () => void this.#stepDown(term, "unhealthy", 0),
      over: (reason) => this.#endTerm(term, reason),
    });
    this.#view.see(null);
    this.#log("info", "acquired leadership", { termId: term.termId, token: term.token });
    this.#publish("acquired", previous);
    this.#waiters.check();
    session.lookout.interrupt();
  }

  /** Gives a term up gracefully; joins the step-down that is under way. */
  #stepDown(term: LeaseTerm, reason: LostReason, cooldown: number): Promise<void> {
    if (this.#term === term) this.#coolUntil = Math.max(this.#coolUntil, this.#config.clock.monotonic() + cooldown);
    return this.#steppingDown ??= this.#drainAndRelease(term, reason).finally(() => this.#steppingDown = null);
  }

  /**
   * The order is the safety argument. (1) The signal tells the work to stop, and `isLeader` is false from here on. (2) The
   * heartbeats go on while the work drains, so nobody else can lead as long as it runs, at most `drainTimeout`; should the
   * lease be lost meanwhile, the term is over at once. (3) The term becomes invalid *before* (4) the release is sent, since
   * another may lead from the moment it arrives. (5) If the release fails, the lease expires by itself.
   */
  async #drainAndRelease(term: LeaseTerm, reason: LostReason): Promise<void> {
    term.cancel(reason);
    const drained = new AbortController();
    const deadline = this.#calls.queue.pause(this.#config.drainTimeout, drained.signal);
    await Promise.race([Promise.all(this.#work), deadline, term.over]);
    drained.abort();
    if (this.#term !== term) return;
    this.#heartbeat?.stop();
    term.end(reason);
    await this.#giveBack(term.termId);
    this.#endTerm(term, reason);
  }

  /** Ends a term for good. The state changes first, then the event is published. */
  #endTerm(term: LeaseTerm, reason: LostReason): void {
    if (this.#term !== term) return;
    term.end(reason);
    const previous = term.describe(this.#metadata);
    this.#heartbeat?.stop();
    this.#heartbeat = null;
    this.#term = null;
    this.#log("info", "lost leadership", { termId: term.termId, token: term.token, reason });
    this.#publish("lost", previous, reason);
    term.finish();
  }

  /** Releases a term, as well as can be within `requestTimeout`. Never rejects. */
  async #giveBack(termId: string): Promise<void> {
    const { electionGroup, requestTimeout, maxRetryAttempts, clock } = this.#config;
    const start = instant(clock);
    for (let failures = 0;; failures++) {
      try {
        const left = requestTimeout - elapsedSince(clock, start);
        return void await this.#calls.run(
          "release",
          left,
          (signal) => this.#calls.provider.release({ electionGroup, termId }, { signal }),
        );
      } catch (error) {
        this.#log("warn", "a release failed", { termId, error });
        const delay = backoff(failures, this.#config);
        if (failures >= maxRetryAttempts || elapsedSince(clock, start) + delay >= requestTimeout) return;
        await this.#calls.queue.pause(delay, NEVER);
      }
    }
  }

  async #close(session: Session | null): Promise<void> {
    session?.stopped.abort(this.#refusal("go on", "it was stopped"));
    this.#waiters.rejectAll(this.#refusal("wait", "it was stopped"));
    session?.lookout.unfollow();
    if (this.#term !== null) await this.#stepDown(this.#term, "stopped", 0);
    // An acquire that is under way is bounded, and gives back what it is granted.
    await session?.acquiring?.catch(() => {});
    if (session?.unanswered) await this.#giveBack(session.unanswered);
    session?.ready.resolve();
    this.#session = null;
    this.#isStopped = true;
    this.#nextAttempt = null;
    this.#view.see(null);
    this.#hub.close();
    if (this.#reopen !== null) await this.#disconnect();
  }

  #stopWhen(signal: AbortSignal, session: Session): void {
    const stop = () => void this.stop();
    signal.addEventListener("abort", stop, { once: true });
    session.stopped.signal.addEventListener("abort", () => signal.removeEventListener("abort", stop), { once: true });
  }

  async #connect(): Promise<void> {
    if (this.#providerOpen || this.#reopen === null) return;
    this.#calls.provider = await this.#reopen();
    this.#providerOpen = true;
  }

  async #disconnect(): Promise<void> {
    this.#providerOpen = false;
    const bound = new AbortController();
    const closed = this.#calls.provider[Symbol.asyncDispose]().then(undefined, (error: unknown) => {
      this.#log("warn", "closing the provider failed", { error });
    });
    await Promise.race([closed, this.#calls.queue.pause(this.#config.requestTimeout, bound.signal)]);
    bound.abort();
  }

  async #healthy(): Promise<boolean> {
    const { healthCheck, requestTimeout } = this.#config;
    if (healthCheck === undefined) return true;
    try {
      return await this.#calls.run("healthCheck", requestTimeout, async (signal) => await healthCheck({ signal })) ===
        true;
    } catch (error) {
      this.#log("warn", "the health check failed", { error });
      return false;
    }
  }

  #read(signal?: AbortSignal): Promise<LeaderInfo | null> {
    const { electionGroup, requestTimeout } = this.#config;
    return this.#calls.run(
      "read",
      requestTimeout,
      (signal) => this.#calls.provider.read(electionGroup, { signal }),
      signal,
    );
  }

  /** Takes note of the leader that a look found, which is not this participant's present term. */
  #see(leader: LeaderInfo | null): void {
    if (this.#term !== null) return;
    const previous = this.#view.last;
    if (this.#view.see(leader)) this.#publish("changed", previous);
    this.#waiters.check();
  }

  /** The leader as this participant knows it: itself, as long as its term lasts. */
  #leader(): LeaderInfo | null {
    return this.#term?.describe(this.#metadata) ?? this.#view.current;
  }

  #publish(type: LeadershipChangeType, previous: LeaderInfo | null, reason?: LostReason): void {
    this.#hub.publish({
      type,
      at: new Date(this.#config.clock.wall()),
      previous,
      current: this.#leader(),
      ...(reason !== undefined && { reason }),
      becameLeader: type === "acquired",
      lostLeadership: type === "lost",
    });
  }

  #wait<T>(check: () => T | null, signal: AbortSignal | undefined): Promise<T> {
    if (this.#isStopped || this.#stopping !== null) return Promise.reject(this.#refusal("wait", "it was stopped"));
    return this.#waiters.wait(check, signal);
  }

  #keepWork(settled: Promise<void>): void {
    this.#work.add(settled);
    void settled.finally(() => this.#work.delete(settled));
  }

  #refusal(verb: string, why: string): ElectionError {
    return new ElectionError(`Cannot ${verb} in election "${this.electionGroup}": ${why}`);
  }

  #log(level: "debug" | "info" | "warn", message: string, properties: Record<string, unknown>): void {
    const { logger, detailed, electionGroup, participantId } = this.#config;
    if (logger === undefined || (level === "debug" && !detailed)) return;
    logger[level](message, { electionGroup, participantId, ...properties });
  }
}
