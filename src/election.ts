/**
 * One participant in one election: the public face of the state machine in `participant.ts`.
 *
 * @module
 */

import type { LeadershipChangeType } from "./changes/change.ts";
import type { LeadershipChanges } from "./changes/stream.ts";
import { checkCallOptions, checkMethods } from "./call_options.ts";
import { type Duration, parseDuration } from "./time/duration.ts";
import { checkMetadata, checkName, type ElectionConfig, type ElectionOptions, resolveOptions } from "./options.ts";
import { Participant } from "./participant/participant.ts";
import type { LeaderInfo, Provider } from "./provider.ts";
import type { Term } from "./participant/term.ts";
import type { ElectionStats } from "./telemetry/measurement.ts";
import { type RunOptions, type RunOutcome, type RunSettings, runWhileLeading } from "./participant/work.ts";

/** The state of a participant. */
export type Role = "leader" | "follower" | "stopped";

/** A snapshot of one participant. */
export interface LeadershipStatus {
  /** The state of this participant. */
  readonly role: Role;
  /** The leader as this participant last saw it, or null when nobody is known to lead. */
  readonly currentLeader: LeaderInfo | null;
  /** The fencing token of the term that it leads; null when it does not. */
  readonly token: bigint | null;
  /** When it last asked for the lease, or looked for the leader, by the wall clock. */
  readonly lastElectionAttempt: Date | null;
  /** When it will look again at the latest; null while it leads or is stopped. */
  readonly nextElectionAttempt: Date | null;
  /** The last failure and when it was; null once a look or a heartbeat has succeeded since. */
  readonly lastError: { readonly at: Date; readonly error: unknown } | null;
}

/** The outcome of `tryAcquireLeadership`. */
export type AttemptOutcome =
  | { readonly outcome: "elected"; readonly term: Term }
  | { readonly outcome: "held"; readonly leader: LeaderInfo | null };

/** Options of a call that waits. */
export interface WaitOptions {
  /** Ends the wait: the call rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** Options of `changes`. */
export interface ChangesOptions {
  /** Only these types. @default all */
  readonly types?: readonly LeadershipChangeType[] | undefined;
  /** Ends the stream: reading it rejects with the signal's reason. */
  readonly signal?: AbortSignal | undefined;
}

/** Options of `releaseLeadership`. */
export interface ReleaseOptions {
  /** For how long not to campaign afterwards. @default `electionInterval` */
  readonly cooldown?: Duration | undefined;
}

/** Options of `transferLeadership`. */
export interface TransferOptions extends WaitOptions {
  /** The participant that is to lead next. @default anybody else */
  readonly to?: string | undefined;
}

/** The settings of a job. */
export type JobSettings = Pick<RunSettings, "signal" | "waitMs" | "atLeastMs" | "beganAt">;

/** Returns the parts of an election, which only this module may know. */
let partsOf: (election: LeaderElection) => { readonly participant: Participant; readonly config: ElectionConfig };

/**
 * One participant in one election, over a provider that it does not own.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { LeaderElection } from "@multilock/core";
 * import { memoryProvider } from "@multilock/core/memory";
 *
 * await using election = new LeaderElection(memoryProvider(), { electionGroup: "docs-class" });
 * await election.start();
 * assert(election.isLeader);
 * ```
 */
export class LeaderElection implements AsyncDisposable {
  readonly #config: ElectionConfig;
  readonly #participant: Participant;

  /**
   * Checks the options, and does no more: {@linkcode LeaderElection.start} begins.
   *
   * @throws {TypeError} if an option is malformed, or `provider` is none
   * @throws {RangeError} if an option is out of range, also that of the provider
   * @throws {ConfigError} if the timing would not be safe
   */
  constructor(provider: Provider, options: ElectionOptions) {
    const config = this.#config = resolveOptions(options);
    checkMethods("provider", provider, ["acquire", "renew", "release", "read"], "; elect() takes a URL as well");
    const { minTimeout, maxTimeout = Infinity } = provider.capabilities;
    if (config.heartbeatTimeout < minTimeout || config.heartbeatTimeout > maxTimeout) {
      const range = maxTimeout === Infinity ? `at least ${minTimeout}` : `between ${minTimeout} and ${maxTimeout}`;
      throw new RangeError(
        `Cannot use heartbeatTimeout ${config.heartbeatTimeout} with ${provider.name}: it must be ${range} ms`,
      );
    }
    this.#participant = new Participant(provider, config);
  }

  /** The election group: the name that participants compete for. */
  get electionGroup(): string {
    return this.#config.electionGroup;
  }

  /** The name of this participant. */
  get participantId(): string {
    return this.#config.participantId;
  }

  /**
   * True while this participant leads, computed against the deadline on every read. While it is true no other
   * participant's is. False as soon as the leader begins to step down.
   */
  get isLeader(): boolean {
    return this.#participant.term !== null;
  }

  /** The term that this participant leads; null when it does not lead. */
  get term(): Term | null {
    return this.#participant.term;
  }

  /** A snapshot. */
  get status(): LeadershipStatus {
    const { term, isStarted, leader, lastAttempt, nextAttempt, lastError } = this.#participant;
    return {
      role: !isStarted ? "stopped" : term !== null ? "leader" : "follower",
      currentLeader: leader,
      token: term?.token ?? null,
      lastElectionAttempt: lastAttempt,
      nextElectionAttempt: term === null ? nextAttempt : null,
      lastError,
    };
  }

  /**
   * Returns what this election has measured since it was made: terms, renewals, how long they took, and how much of its
   * term was left. Durations are seconds. `onMeasurement` has each as it is made.
   */
  stats(): ElectionStats {
    return this.#participant.telemetry.stats;
  }

  /**
   * Begins to campaign, or to watch where `observer` is set. Resolves when the first look has come to an end, well or
   * badly: a backend that is down is looked for until it is found. Does nothing when already started; after `stop` it
   * starts anew.
   *
   * @throws {ProviderError} if the first look fails for good (`permanent`); then it has stopped
   * @param options `signal` stops the election when it aborts, now or later
   * @throws the reason of `signal`, if it has aborted
   */
  async start(options: WaitOptions = {}): Promise<void> {
    checkCallOptions("start", options, ["signal"]);
    const signals = [options.signal, this.#config.signal].filter((signal) => signal !== undefined);
    await this.#participant.start(signals);
  }

  /**
   * Stops: steps down gracefully if leading, drains the work of `run`, ends every stream and rejects every wait.
   * Resolves when all is done, within `drainTimeout` + `lockTimeout` + 3 * `requestTimeout` however the backend hangs.
   */
  stop(): Promise<void> {
    return this.#participant.stop();
  }

  /** Stops. */
  [Symbol.asyncDispose](): Promise<void> {
    return this.stop();
  }

  /**
   * Asks for the lease now, whatever the schedule and the cool-down say.
   *
   * @throws {ElectionError} if the election is not started, only observes, is unfit by its `healthCheck`, or if the
   * work of the last term has not settled
   * @throws {ProviderError} if the backend failed: whether the lease was granted is unknown, and will be found out
   */
  async tryAcquireLeadership(options: WaitOptions = {}): Promise<AttemptOutcome> {
    checkCallOptions("tryAcquireLeadership", options, ["signal"]).signal?.throwIfAborted();
    if (this.#config.observer) throw this.#participant.refusal("acquire the lease", "it only observes");
    const answer = await this.#participant.waiters.race(this.#participant.try(), options.signal);
    if ("term" in answer) return { outcome: "elected", term: answer.term };
    return { outcome: "held", leader: answer.leader };
  }

  /**
   * Steps down, if leading, and stays a participant: aborts `term.signal`, waits for the work of `run` to settle (at
   * most `drainTimeout`), releases the lease. Do not await it inside that work.
   *
   * @throws {TypeError | RangeError} if `cooldown` is not a duration
   */
  async releaseLeadership(options: ReleaseOptions = {}): Promise<void> {
    checkCallOptions<ReleaseOptions & WaitOptions>("releaseLeadership", options, ["cooldown"]);
    const { cooldown = this.#config.electionInterval } = options;
    await this.#participant.release(parseDuration(cooldown, "cooldown"));
  }

  /**
   * Steps down as {@linkcode LeaderElection.releaseLeadership} does, so that another leads next: the participant `to`,
   * if it is given. The others then hold back for two seconds, or for their own `campaignDelay` if that is longer, and
   * so does this one, which campaigns again after that. Resolves when another is seen to lead, or when the two seconds
   * are over.
   *
   * A hint, and no more: where the backend does not carry it (`capabilities.transfer`), or a follower does not hear
   * it, whoever asks first leads. Do not await it inside the work of `run`.
   *
   * @throws {TypeError} if `to` is malformed, or this participant itself
   * @throws {ElectionError} if this participant does not lead, or when the election stops
   * @throws the reason of `signal`, which ends the wait and not the transfer
   */
  async transferLeadership(options: TransferOptions = {}): Promise<void> {
    const { to, signal } = checkCallOptions("transferLeadership", options, ["to", "signal"]);
    if (to !== undefined && checkName("participantId", to) === this.participantId) {
      throw new TypeError(`Cannot transfer leadership to "${to}": that is this participant`);
    }
    signal?.throwIfAborted();
    await this.#participant.transfer(to, signal);
  }

  /** Asks the backend who leads. Never writes. @throws {ProviderError} if the backend failed */
  async getCurrentLeader(options: WaitOptions = {}): Promise<LeaderInfo | null> {
    checkCallOptions("getCurrentLeader", options, ["signal"]);
    return await this.#participant.provider.read(options.signal);
  }

  /**
   * Waits until this participant leads. Never returns without a valid term.
   *
   * @throws {ElectionError} when the election stops, if it has been stopped, or if it only observes
   */
  waitForLeadership(options: WaitOptions = {}): Promise<Term> {
    return refusalOf("waitForLeadership", options) ?? this.#participant.waitForTerm(options.signal);
  }

  /**
   * Waits until somebody is known to lead.
   *
   * @throws {ElectionError} when the election stops, or if it has been stopped
   */
  waitForLeader(options: WaitOptions = {}): Promise<LeaderInfo> {
    return refusalOf("waitForLeader", options) ??
      this.#participant.wait(() => this.#participant.leader, options.signal);
  }

  /**
   * Subscribes, at once, to what happens from now on. The stream ends when the election stops.
   *
   * @throws {TypeError} if `types` is no array of types of changes
   */
  changes(options: ChangesOptions = {}): LeadershipChanges {
    checkCallOptions("changes", options, ["types", "signal"]);
    return this.#participant.hub.subscribe({ ...options, leading: this.isLeader });
  }

  /**
   * The main way in: waits for leadership, calls `work(term)`, and if the term ends before `work` has settled, waits
   * for it to settle and campaigns again. `term.signal` tells `work` to stop.
   *
   * When `work` returns within a valid term, leadership is released and `run` returns its value; with `once: false` it
   * campaigns again instead. When `work` rejects within a valid term, leadership is released and `run` rejects with the
   * same error. While `work` drains, this participant does not campaign. With `atLeast` the lease is kept that long
   * before it is released, however `work` ended; `run` settles after that.
   *
   * @throws {TypeError | RangeError} if an option is malformed
   * @throws {ElectionError} when the election stops, unless `work` returned all the same; or if it was never started
   * @throws {ProviderError} with `wait: 0`, if the backend cannot be asked
   */
  async run<T>(work: (term: Term) => Promise<T>, options: RunOptions = {}): Promise<T | undefined> {
    if (typeof work !== "function") throw new TypeError("Cannot run work that is no function");
    const { once = true, wait, atLeast = 0, signal } = checkCallOptions("run", options, RUN_OPTIONS);
    if (typeof once !== "boolean") {
      throw new TypeError(`Cannot use once "${once}" of run: it must be true or false`);
    }
    const waitMs = wait === undefined ? Infinity : parseDuration(wait, "wait");
    const settings = { signal, once, endsWithLoss: false, waitMs, atLeastMs: parseDuration(atLeast, "atLeast") };
    const run = await runWhileLeading(this.#participant, this.#config, work, settings);
    return run.outcome === "done" ? run.value : undefined;
  }

  static {
    partsOf = (election) => ({ participant: election.#participant, config: election.#config });
  }

  /**
   * Replaces the metadata. A leader sends it at once.
   *
   * @throws {TypeError | RangeError} if it is malformed or over its limits
   * @throws {ProviderError} if that failed; it is tried again after the next heartbeat, which does not depend on it
   */
  async updateMetadata(metadata: Record<string, string>): Promise<void> {
    await this.#participant.updateMetadata(checkMetadata(metadata));
  }
}

/**
 * Runs `work` once, in the first term that `election` leads, and tells how that ended. For this package: it is what
 * `exclusive` and `elect run` have in common.
 */
export async function runJob<T>(
  election: LeaderElection,
  work: (term: Term) => Promise<T>,
  settings: JobSettings,
): Promise<RunOutcome<T>> {
  const { participant, config } = partsOf(election);
  const run = await runWhileLeading(participant, config, work, { ...settings, once: true, endsWithLoss: true });
  if (run.outcome !== "held" || run.leader !== null) return run;
  // Nobody was known to lead as it gave up: who it is says also whether there is somebody to ask.
  const leader = await participant.provider.read(settings.signal);
  return { outcome: "held", leader: leader?.termId === participant.term?.termId ? null : leader };
}

const RUN_OPTIONS = ["signal", "once", "wait", "atLeast"] as const;

/** Rejects malformed options of a wait. Waits are not `async`: a term is handed out in the turn in which it begins. */
function refusalOf(call: string, options: WaitOptions): Promise<never> | undefined {
  try {
    checkCallOptions(call, options, ["signal"]);
    return undefined;
  } catch (error) {
    return Promise.reject(error);
  }
}
