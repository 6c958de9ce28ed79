/**
 * The telemetry of one election: counts what happens, and tells subscribers and OpenTelemetry, where there are any.
 *
 * Nothing here decides anything. A heartbeat costs two readings of the clock and a few additions; a measurement is made
 * into an object only if somebody listens.
 *
 * @module
 */

import type { LostReason, ProviderOperation } from "../errors.ts";
import type { ElectionConfig } from "../options.ts";
import { tell } from "../logger.ts";
import { Durations, type ElectionStats, type Measurement, type RenewalOutcome } from "./measurement.ts";
import { type ElectionMeter, openTelemetry, type Span } from "./opentelemetry.ts";
import { RecentMinimum } from "./recent_minimum.ts";

/** The state of a participant that is read when somebody asks for numbers. */
export interface Observed {
  /** The token of the term that this participant leads; null if it does not lead. */
  readonly ownToken: bigint | null;
  /** The token of the leader that is known; null if none is. */
  readonly knownToken: bigint | null;
  /** For how many milliseconds nobody has been known to lead; null while somebody is. */
  readonly vacantFor: number | null;
}

/** A call to the provider that is under way. */
export interface Call {
  readonly operation: ProviderOperation;
  readonly began: number;
  readonly span: Span | undefined;
}

/** See the module. */
export class Telemetry {
  readonly #config: ElectionConfig;
  readonly #provider: string;
  readonly #observed: () => Observed;
  readonly #terms: Record<LostReason, number> = { expired: 0, lost: 0, released: 0, stopped: 0, unhealthy: 0 };
  readonly #renewals: Record<RenewalOutcome, number> = { renewed: 0, lost: 0, failed: 0 };
  #errors: Partial<Record<ProviderOperation, number>> | null = null;
  readonly #renew = new Durations();
  readonly #acquire = new Durations();
  /** Made when there is one: most elections of ten thousand never have any. */
  #leaderless: Durations | null = null;
  #drain: Durations | null = null;
  readonly #recentValidity: RecentMinimum;
  #lastValidity: number | null = null;
  #smallestValidity: number | null = null;
  /** The time of the last answer, by the monotonic clock. */
  #answeredAt = -Infinity;
  #begun = 0;
  #meter: ElectionMeter | null = null;

  /** Counts for the election of `config` on `provider`; the rest is read from `observed`. */
  constructor(config: ElectionConfig, provider: string, observed: () => Observed) {
    this.#config = config;
    this.#provider = provider;
    this.#observed = observed;
    this.#recentValidity = new RecentMinimum(config.clock);
  }

  /**
   * Finds OpenTelemetry, if the application has set it up, and reports to it until {@linkcode Telemetry.disconnect}.
   * Returns null where there is nothing to wait for. The promise never rejects.
   */
  connect(): Promise<void> | null {
    if (this.#meter !== null) return null;
    const connected = openTelemetry((why) => this.#warn("OpenTelemetry is set up, but cannot be used", why));
    if (connected === null) return null;
    return connected.then((telemetry) => {
      const { electionGroup: group } = this.#config;
      this.#meter ??= telemetry?.meter({ group, provider: this.#provider }, () => this.#gauges()) ?? null;
    });
  }

  /** Reports to OpenTelemetry no more. */
  disconnect(): void {
    this.#meter?.close();
    this.#meter = null;
  }

  /** The numbers by now. */
  get stats(): ElectionStats {
    const { ownToken, knownToken, vacantFor } = this.#observed();
    const leads = ownToken !== null;
    return {
      isLeader: leads,
      token: knownToken,
      begun: this.#begun,
      terms: { ...this.#terms },
      renewals: { ...this.#renewals },
      renewDuration: this.#renew.stats,
      acquireDuration: this.#acquire.stats,
      validity: {
        limit: this.#config.validFor / 1_000,
        last: leads ? this.#lastValidity : null,
        remaining: leads ? this.#recentValidity.value : null,
        smallest: this.#smallestValidity,
      },
      leaderless: vacantFor === null ? null : vacantFor / 1_000,
      leaderlessDuration: (this.#leaderless ?? NONE).stats,
      drainDuration: (this.#drain ?? NONE).stats,
      providerErrors: { ...this.#errors },
    };
  }

  /** A call to the provider begins. */
  begin(operation: ProviderOperation): Call {
    return { operation, began: this.#config.clock.monotonic(), span: this.#meter?.startCall(operation) };
  }

  /** The provider has answered. */
  answered(call: Call, answer: unknown): void {
    const outcome = outcomeOf(answer);
    call.span?.setAttribute("outcome", outcome);
    call.span?.end();
    this.#timed(call, outcome);
  }

  /** The provider has failed. */
  failed(call: Call, error: unknown): void {
    call.span?.setAttribute("outcome", "failed");
    call.span?.fail(error);
    call.span?.end();
    const errors = this.#errors ??= {};
    errors[call.operation] = (errors[call.operation] ?? 0) + 1;
    if (this.#listened) this.#tell({ name: "provider.errors", value: 1, operation: call.operation });
    this.#timed(call, "failed");
  }

  /** Nobody waits for the answer any more. */
  abandoned(call: Call): void {
    call.span?.setAttribute("outcome", "abandoned");
    call.span?.end();
  }

  /** A renewal that was just answered succeeded, when the term had `leftMs` left. */
  renewed(leftMs: number): void {
    const left = leftMs / 1_000;
    this.#lastValidity = left;
    this.#smallestValidity = Math.min(this.#smallestValidity ?? Infinity, left);
    this.#recentValidity.add(left, this.#answeredAt);
    if (this.#listened) this.#tell({ name: "validity.remaining", value: left });
  }

  /** A term has begun. */
  acquired(token: bigint): void {
    this.#begun++;
    this.#lastValidity = null;
    this.#recentValidity.clear();
    this.#meter?.beginTerm(token);
  }

  /** A term is over. */
  lost(reason: LostReason): void {
    this.#terms[reason]++;
    this.#meter?.endTerm(reason);
    if (this.#listened) this.#tell({ name: "terms", value: 1, reason });
  }

  /** Somebody is known to lead, after `ms` without; null if that is not known. */
  filled(ms: number | null): void {
    if (ms === null) return;
    (this.#leaderless ??= new Durations()).add(ms / 1_000);
    if (this.#listened) this.#tell({ name: "leaderless.duration", value: ms / 1_000 });
  }

  /** Work has drained, or was waited for, for `ms`. */
  drained(ms: number): void {
    (this.#drain ??= new Durations()).add(ms / 1_000);
    if (this.#listened) this.#tell({ name: "drain.duration", value: ms / 1_000 });
  }

  /** Calls `work` as a child of the span of the term that is led, where there is one. */
  within<T>(work: () => T): T {
    return this.#meter === null ? work() : this.#meter.within(work);
  }

  get #listened(): boolean {
    return this.#meter !== null || this.#config.onMeasurement !== undefined;
  }

  #timed({ operation, began }: Call, outcome: string): void {
    this.#answeredAt = this.#config.clock.monotonic();
    const seconds = (this.#answeredAt - began) / 1_000;
    if (operation === "renew" && isRenewal(outcome)) {
      this.#renew.add(seconds);
      this.#renewals[outcome]++;
      if (!this.#listened) return;
      this.#tell({ name: "renewals", value: 1, outcome });
      this.#tell({ name: "renew.duration", value: seconds, outcome });
    } else if (operation === "acquire" && (outcome === "acquired" || outcome === "held" || outcome === "failed")) {
      this.#acquire.add(seconds);
      if (this.#listened) this.#tell({ name: "acquire.duration", value: seconds, outcome });
    }
  }

  #gauges() {
    const { ownToken, knownToken } = this.#observed();
    const remaining = ownToken === null ? null : this.#recentValidity.value;
    return { leads: ownToken !== null, token: knownToken, remaining, limit: this.#config.validFor / 1_000 };
  }

  /** A subscriber that throws must not take the election with it. */
  #tell(measurement: Measurement): void {
    try {
      this.#meter?.record(measurement);
      this.#config.onMeasurement?.(measurement);
    } catch (error) {
      this.#warn("a subscriber of measurements failed", error);
    }
  }

  #warn(message: string, error: unknown): void {
    const { electionGroup, participantId, logger } = this.#config;
    tell(logger, "warn", message, { electionGroup, participantId, error });
  }
}

const NONE = new Durations();

function outcomeOf(answer: unknown): string {
  if (typeof answer === "string") return answer;
  const { acquired } = (answer ?? {}) as { acquired?: unknown };
  return acquired === true ? "acquired" : acquired === false ? "held" : "answered";
}

function isRenewal(outcome: string): outcome is RenewalOutcome {
  return outcome === "renewed" || outcome === "lost" || outcome === "failed";
}
