/**
 * One participant: what outlives a campaign, and who may begin and end one.
 *
 * @module
 */

import type { LeadershipChangeType } from "../changes/change.ts";
import { ChangeHub } from "../changes/hub.ts";
import { ElectionError, type LostReason, ProviderError } from "../errors.ts";
import { leadershipChange } from "../changes/change.ts";
import { type Log, logOf } from "../logger.ts";
import type { ElectionConfig } from "../options.ts";
import type { LeaderInfo, Provider } from "../provider.ts";
import { BoundedProvider, type Metadata } from "./bounded_provider.ts";
import { type Attempt, Campaign, type Surroundings } from "./campaign.ts";
import { LeaderView } from "./leader_view.ts";
import { TRANSFER_HOLD_MS } from "./restraint.ts";
import { Telemetry } from "../telemetry/telemetry.ts";
import type { LeaseTerm } from "./term.ts";
import { Waiters } from "./waiters.ts";

/** Where a participant is in its life. A campaign that stops is there until it is done. */
type Phase =
  | { readonly name: "idle" | "stopped" }
  | { readonly name: "started"; readonly campaign: Campaign }
  | { readonly name: "stopping"; readonly campaign: Campaign | null; readonly done: Promise<void> };

/** The work of a participant that has none. */
const NO_WORK: ReadonlySet<Promise<void>> = new Set();

/**
 * One participant, as its {@linkcode LeaderElection} drives it. A process may have ten thousand, so what few of them
 * need is made when it is needed.
 */
export class Participant implements Surroundings {
  /** The calls to the provider. */
  readonly provider: BoundedProvider;
  /** The numbers of this participant. */
  readonly telemetry: Telemetry;
  /** Where changes are published. Each campaign has its own, so that the streams of a stopped one have ended. */
  hub: ChangeHub;
  /** The last failure; null once a call has succeeded since. */
  lastError: { readonly at: Date; readonly error: unknown } | null = null;
  /** See {@linkcode Surroundings}. */
  readonly config: ElectionConfig;
  /** See {@linkcode Surroundings}. */
  readonly log: Log;
  readonly #view: LeaderView;
  #waiters: Waiters | null = null;
  #lastAttemptMs: number | null = null;
  /** One promise for each piece of work that has not settled. It may outlast its campaign. */
  #work: Set<Promise<void>> | null = null;
  #metadata: Metadata;
  #phase: Phase = { name: "idle" };
  #stops = 0;
  /** True until a first look was no failure for good, which `start` itself tells. */
  #isUntried = false;

  /** Makes a participant that is not started. */
  constructor(provider: Provider, config: ElectionConfig) {
    this.config = config;
    this.log = logOf(config);
    this.#metadata = config.metadata;
    this.#view = new LeaderView(config.clock);
    this.hub = new ChangeHub(config.clock);
    this.telemetry = new Telemetry(config, provider.name, () => ({
      ownToken: this.term?.token ?? null,
      knownToken: this.leader?.token ?? null,
      vacantFor: this.term === null ? this.#view.vacantFor : null,
    }));
    const onError = (message: string, error: unknown) => this.failed(message, error);
    this.provider = new BoundedProvider(provider, config, onError, this.telemetry, this.log);
    // Before the first start there is nothing to end but waits, streams, and a provider that is owned.
    if (config.signal?.aborted) this.#stopNow();
    else config.signal?.addEventListener("abort", this.#stopNow, { once: true });
  }

  /**
   * The number of times that `stop` was called. Work that began before the last one has no part in what a later start
   * begins.
   */
  get stops(): number {
    return this.#stops;
  }

  /** Callers who wait for a term or a leader. */
  get waiters(): Waiters {
    return this.#waiters ??= new Waiters((reason) => this.#explainAbort(reason));
  }

  /** When the lease was last asked for, or the leader looked for. */
  get lastAttempt(): Date | null {
    return this.#lastAttemptMs === null ? null : new Date(this.#lastAttemptMs);
  }

  /** The term that is led; null while none is, or while it is being given up. */
  get term(): LeaseTerm | null {
    return this.#campaign?.term ?? null;
  }

  /** The leader as it is known here: the own term as long as it lasts, else what was last seen. */
  get leader(): LeaderInfo | null {
    return this.#campaign?.lease?.describe(this.#metadata) ?? this.#view.current;
  }

  /** When it looks next, at the latest; null while it leads or is stopped. */
  get nextAttempt(): Date | null {
    return this.#campaign?.nextLook ?? null;
  }

  /** True while a campaign goes on, or has not come to its end. */
  get isStarted(): boolean {
    return this.#campaign !== null;
  }

  /** True while it stops and once it has been stopped; before the first `start` it is not. */
  get isStopped(): boolean {
    return this.#phase.name === "stopping" || this.#phase.name === "stopped";
  }

  /**
   * Begins a campaign, if none goes on, and waits for its first look. It stops when one of `signals` aborts, also while
   * this waits for the end of an earlier campaign.
   *
   * @throws the reason of a signal that has aborted already
   * @throws {ProviderError} if the first look failed for good; then it has stopped
   */
  async start(signals: readonly AbortSignal[]): Promise<void> {
    for (const signal of signals) signal.throwIfAborted();
    const stops = this.#stops;
    // A listener of its own: another start may listen to the same signal for longer than this one waits.
    const stopNow = () => this.#stopNow();
    for (const signal of signals) signal.addEventListener("abort", stopNow, { once: true });
    while (this.#phase.name === "stopping") await this.#phase.done;
    // Null, and no turn lost, where there is no OpenTelemetry to wait for.
    const connected = this.telemetry.connect();
    if (connected !== null) await connected;
    for (const signal of signals) signal.removeEventListener("abort", stopNow);
    // S9: another stop came while this start waited for the end of an earlier one. The last word counts.
    if (this.#stops !== stops) return;
    const campaign = this.#campaign ?? this.#open();
    for (const signal of signals) campaign.stopWith(signal, this.#stopNow);
    try {
      await campaign.ready;
    } catch (error) {
      await this.stop();
      throw error;
    }
  }

  /** Ends the campaign, and closes a provider that is owned. */
  stop(): Promise<void> {
    this.#stops++;
    if (this.#phase.name === "stopped") return Promise.resolve();
    if (this.#phase.name === "stopping") return this.#phase.done;
    const campaign = this.#campaign;
    if (campaign === null) this.config.signal?.removeEventListener("abort", this.#stopNow);
    // The state changes before anybody hears of it.
    const done = Promise.withResolvers<void>();
    this.#phase = { name: "stopping", campaign, done: done.promise };
    void this.#close(campaign).then(done.resolve);
    return done.promise;
  }

  /**
   * Gives up the term, if there is one, and does not campaign for `cooldownMs`. Given `only`, no other term than that.
   */
  async release(cooldownMs: number, only?: LeaseTerm): Promise<void> {
    await this.#campaign?.release(cooldownMs, only);
  }

  /**
   * Gives up the term that is led, for `to` to lead next if given, and campaigns again if nobody else does soon.
   * Resolves when another is seen to lead, or when that time is over.
   *
   * @throws {ElectionError} if no term is led, or when the election stops
   */
  async transfer(to: string | undefined, signal: AbortSignal | undefined): Promise<void> {
    const { term } = this;
    if (term === null) throw this.refusal("transfer leadership", "it does not lead");
    await this.#campaign?.release(TRANSFER_HOLD_MS, term, to);
    const over = new AbortController();
    const signals = [over.signal, ...signal === undefined ? [] : [signal]];
    const taken = this.wait(() => this.#view.current, AbortSignal.any(signals));
    await Promise.race([taken, this.provider.queue.pause(TRANSFER_HOLD_MS, over.signal)]).finally(() => over.abort());
  }

  /** Asks for the lease now. @throws {ElectionError} if that cannot be */
  try(): Promise<Attempt> {
    if (this.#phase.name !== "started") throw this.refusal("acquire the lease", "it is not started");
    return this.#phase.campaign.try();
  }

  /** Waits for what `check` returns, until the stop or until `signal` aborts. */
  wait<T>(check: () => T | null, signal: AbortSignal | undefined): Promise<T> {
    if (this.isStopped) return Promise.reject(this.refusal("wait", "it was stopped"));
    return this.waiters.wait(check, signal);
  }

  /** Waits for a term, to run something in it. */
  termToRunIn(signal: AbortSignal | undefined): Promise<LeaseTerm> {
    // A caller that waits may yet start it; one that runs would wait for ever.
    if (this.#phase.name === "idle") return Promise.reject(this.refusal("run", "it was never started; call start()"));
    return this.waitForTerm(signal);
  }

  /** Waits for a term. */
  waitForTerm(signal: AbortSignal | undefined): Promise<LeaseTerm> {
    if (this.config.observer) return Promise.reject(this.refusal("lead", "it only observes"));
    return this.wait(() => this.term, signal);
  }

  /** Replaces the metadata, also in the record of the term that is led. */
  async updateMetadata(metadata: Metadata): Promise<void> {
    this.#metadata = metadata;
    await this.#campaign?.sendMetadata();
  }

  /** Keeps the lease, and puts off the next term, until `settled` resolves. */
  keepWork(settled: Promise<void>): void {
    const work = this.#work ??= new Set();
    work.add(settled);
    void settled.finally(() => {
      work.delete(settled);
      // While it lasted, looks only watched; now they may campaign.
      this.#campaign?.hint();
    });
  }

  /** Builds the error of a call that cannot be served. */
  refusal(verb: string, why: string): ElectionError {
    return new ElectionError(`Cannot ${verb} in election "${this.config.electionGroup}": ${why}`);
  }

  /**
   * Returns the reason of a wait that was aborted: the signal's own, unless that says only that it was, or that it was
   * too long, and there is more to say. Its name is kept, so that who asks for it finds it.
   */
  #explainAbort(reason: unknown): unknown {
    if (this.lastError === null || !(reason instanceof DOMException)) return reason;
    const why = `${reason.message}${this.#lastWords()}`;
    const error = new ElectionError(`Cannot wait in election "${this.config.electionGroup}": ${why}`, {
      cause: reason,
    });
    return Object.assign(error, { name: reason.name });
  }

  /** The last failure, as the end of a sentence; empty if a call has succeeded since. */
  #lastWords(): string {
    if (this.lastError === null) return "";
    const { error } = this.lastError;
    return `; the last failure was: ${error instanceof Error ? error.message : error}`;
  }

  get #campaign(): Campaign | null {
    return "campaign" in this.#phase ? this.#phase.campaign : null;
  }

  readonly #stopNow = (): void => void this.stop();

  #open(): Campaign {
    if (this.#phase.name === "stopped") this.hub = new ChangeHub(this.config.clock);
    const campaign = new Campaign(this);
    this.#phase = { name: "started", campaign };
    this.#isUntried = true;
    campaign.ready.then(() => this.#isUntried = false, () => {});
    return campaign;
  }

  async #close(campaign: Campaign | null): Promise<void> {
    this.#waiters?.rejectAll(this.refusal("wait", `it was stopped${this.#lastWords()}`));
    campaign?.stop();
    await campaign?.done;
    this.provider.cancel();
    this.#view.forget();
    this.hub.close();
    await this.provider.disconnect();
    this.telemetry.disconnect();
    this.#phase = { name: "stopped" };
  }

  /** See {@linkcode Surroundings}. */
  get work(): ReadonlySet<Promise<void>> {
    return this.#work ?? NO_WORK;
  }

  /** See {@linkcode Surroundings}. */
  get metadata(): Metadata {
    return this.#metadata;
  }

  /** See {@linkcode Surroundings}. */
  get seen(): LeaderInfo | null {
    return this.#view.last;
  }

  /** See {@linkcode Surroundings}. */
  succeeded(): void {
    this.lastError = null;
  }

  /** See {@linkcode Surroundings}. */
  renewed(leftMs: number): void {
    this.lastError = null;
    this.telemetry.renewed(leftMs);
  }

  /** See {@linkcode Surroundings}. */
  drained(ms: number): void {
    this.telemetry.drained(ms);
  }

  /** See {@linkcode Surroundings}. */
  looks(): void {
    this.#lastAttemptMs = this.config.clock.wall();
  }

  /** See {@linkcode Surroundings}. */
  acquired(term: LeaseTerm): void {
    const previous = this.#view.current;
    this.telemetry.acquired(term.token);
    this.telemetry.filled(this.#view.vacantFor);
    this.#view.see(null);
    this.#publish("acquired", previous);
    this.#waiters?.check();
  }

  /** See {@linkcode Surroundings}. */
  lost(term: LeaseTerm, reason: LostReason): void {
    this.#view.vacate();
    this.telemetry.lost(reason);
    this.#publish("lost", term.describe(this.#metadata), reason);
  }

  /** See {@linkcode Surroundings}. */
  failed(message: string, error: unknown): void {
    this.lastError = { at: new Date(this.config.clock.wall()), error };
    const isTold = this.#isUntried && error instanceof ProviderError && error.permanent;
    this.log(isTold ? "debug" : "warn", message, { error });
  }

  /** See {@linkcode Surroundings}. */
  sees(leader: LeaderInfo | null): void {
    const previous = this.#view.last;
    const vacantFor = this.#view.vacantFor;
    const isOther = this.#view.see(leader);
    // The same term, seen alive after its lease seemed to be over, has never been missing.
    if (isOther && this.#view.current !== null) this.telemetry.filled(vacantFor);
    if (isOther) this.#publish("changed", previous);
    this.#waiters?.check();
  }

  #publish(type: LeadershipChangeType, previous: LeaderInfo | null, reason?: LostReason): void {
    if (!this.hub.active) return;
    const at = new Date(this.config.clock.wall());
    this.hub.publish(leadershipChange(type, at, previous, this.leader, reason));
  }
}
