/**
 * The numbers that an election measures about itself: their names, and what they count up to.
 *
 * @module
 */

import type { LostReason, ProviderOperation } from "../errors.ts";

/** The outcome of an `acquire`: `failed` means unknown. */
export type AcquireOutcome = "acquired" | "held" | "failed";

/** The outcome of a renewal: `failed` means unknown, and it is tried again until the deadline. */
export type RenewalOutcome = "renewed" | "lost" | "failed";

/**
 * One measurement of one election, under the name of its metric without `multilock.election.` before it. Durations are
 * seconds, as OpenTelemetry and Prometheus have them; whatever only counts has the value 1.
 */
export type Measurement =
  | { readonly name: "acquire.duration"; readonly value: number; readonly outcome: AcquireOutcome }
  | { readonly name: "renew.duration"; readonly value: number; readonly outcome: RenewalOutcome }
  | { readonly name: "renewals"; readonly value: 1; readonly outcome: RenewalOutcome }
  | { readonly name: "terms"; readonly value: 1; readonly reason: LostReason }
  /** The time that the term had left when a renewal succeeded. */
  | { readonly name: "validity.remaining"; readonly value: number }
  /** A time during which this participant knew of no leader, when it is over. */
  | { readonly name: "leaderless.duration"; readonly value: number }
  /** The time that work took to settle after its term began to end, or the part of it that was waited for. */
  | { readonly name: "drain.duration"; readonly value: number }
  | { readonly name: "provider.errors"; readonly value: 1; readonly operation: ProviderOperation };

/** The sums of one kind of duration since the election was made; seconds. */
export interface DurationStats {
  /** The number that was measured. */
  readonly count: number;
  /** Their sum. */
  readonly sum: number;
  /** The longest; 0 while none was measured. */
  readonly max: number;
  /** The last one; null while none was measured. */
  readonly last: number | null;
}

/** The numbers of one election since it was made. Durations are seconds. */
export interface ElectionStats {
  /** True while this participant leads. */
  readonly isLeader: boolean;
  /** The fencing token of the leader that this participant knows, which may be itself; null while it knows of none. */
  readonly token: bigint | null;
  /** The number of terms of this participant that have begun. */
  readonly begun: number;
  /** The number of them that have ended, by reason. */
  readonly terms: Readonly<Record<LostReason, number>>;
  /** The number of renewals, by outcome. */
  readonly renewals: Readonly<Record<RenewalOutcome, number>>;
  /** The time that renewals took, whatever their outcome. */
  readonly renewDuration: DurationStats;
  /** The time that it took to ask for the lease, whatever the outcome. */
  readonly acquireDuration: DurationStats;
  /** The time of its term that this participant had left when renewals succeeded. */
  readonly validity: {
    /** The length of time for which a renewal can be relied upon. */
    readonly limit: number;
    /** The time that was left at the last renewal of the term that is led; null without one. */
    readonly last: number | null;
    /** The smallest in the last one to two minutes of the term that is led: the number that warns first. */
    readonly remaining: number | null;
    /** The smallest that was ever left; null while no renewal has succeeded. */
    readonly smallest: number | null;
  };
  /** For how long nobody has been known to lead by now; null while somebody is, and before the first look. */
  readonly leaderless: number | null;
  /** The times without a leader that are over. */
  readonly leaderlessDuration: DurationStats;
  /** The time that work took to drain. */
  readonly drainDuration: DurationStats;
  /** The number of calls to the provider that have failed, by operation. */
  readonly providerErrors: Readonly<Partial<Record<ProviderOperation, number>>>;
}

/** Adds up durations, without an allocation for each. */
export class Durations {
  #count = 0;
  #sum = 0;
  #max = 0;
  #last: number | null = null;

  /** Adds one of `seconds`. */
  add(seconds: number): void {
    this.#count++;
    this.#sum += seconds;
    this.#max = Math.max(this.#max, seconds);
    this.#last = seconds;
  }

  /** The numbers by now. */
  get stats(): DurationStats {
    return { count: this.#count, sum: this.#sum, max: this.#max, last: this.#last };
  }
}
