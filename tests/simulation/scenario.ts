/**
 * What happens in a simulation: who takes part, what they do, what goes wrong.
 *
 * @module
 */

/** Everything that a simulation needs to know. Plain data, so that it can be printed, cut down and run again. */
export interface Scenario {
  /** The seed that it came from, which also decides latencies and jitter while it runs. */
  readonly seed: number;
  /**
   * `calm`: nothing goes wrong. `outages`: the backend cannot be reached at times. `stepped`: wall clocks are set.
   * `rough`: anything. `drifting`: clocks beyond `clockRateError`. `forgetful`: the store loses leases, and operators
   * evict leaders.
   */
  readonly kind: "calm" | "outages" | "stepped" | "rough" | "drifting" | "forgetful";
  /** The options of every election, in milliseconds. */
  readonly timing: Timing;
  /** Whether the provider gives hints. */
  readonly watch: boolean;
  /** The longest way of a message while nothing goes wrong, in milliseconds. */
  readonly latencyMs: number;
  /** Whether the backend refuses renewals that carry metadata. */
  readonly refusesMetadata: boolean;
  /** How late timers fire at most, in milliseconds. */
  readonly timerLatenessMs: number;
  /** Who takes part. */
  readonly participants: readonly ParticipantPlan[];
  /** What they do. */
  readonly steps: readonly Step[];
  /** What goes wrong. */
  readonly faults: readonly Trouble[];
  /** From here on nothing goes wrong, and nobody does anything. */
  readonly quietAt: number;
  /** Then everybody stops. */
  readonly endAt: number;
}

/** See `ElectionOptions`. */
export interface Timing {
  /** How often a leader renews. */
  readonly heartbeatInterval: number;
  /** How long a lease lives. */
  readonly heartbeatTimeout: number;
  /** The longest a follower goes without looking. */
  readonly electionInterval: number;
  /** The bound of an acquire. */
  readonly lockTimeout: number;
  /** The bound of any other call. */
  readonly requestTimeout: number;
  /** How long before its lease a term ends. */
  readonly safetyMargin: number;
  /** The fraction by which clocks may be slow. */
  readonly clockRateError: number;
  /** The bound of a drain. */
  readonly drainTimeout: number;
  /** The bound of the first back-off. */
  readonly retryBaseDelay: number;
  /** The bound of every back-off. */
  readonly retryMaxDelay: number;
}

/** One participant. */
export interface ParticipantPlan {
  /** Whether it watches only. */
  readonly observer: boolean;
  /** How fast its clocks run. */
  readonly rate: number;
  /** Milliseconds by which its wall clock is ahead. */
  readonly offset: number;
  /** See `ElectionOptions`. */
  readonly campaignDelay: number;
}

/** The public calls, and what others do to a participant, as the matrix of meetings names them. */
export const CALLS = [
  "start",
  "stop",
  "abort",
  "try",
  "release",
  "run",
  "wait",
  "waitForLeader",
  "look",
  "metadata",
  "subscribe",
  "evict",
] as const;

/** One of {@linkcode CALLS}. */
export type Call = (typeof CALLS)[number];

/** Where a participant is, as seen from outside: by its status, and by the calls of its provider that are under way. */
export const PHASES = [
  "idle",
  "checking",
  "looking",
  "waiting",
  "leading",
  "draining",
  "releasing",
  "stopping",
  "stopped",
] as const;

/** One of {@linkcode PHASES}. */
export type Phase = (typeof PHASES)[number];

/** What a participant, or somebody beside it, does. `abort` aborts every signal that it has given to a call so far. */
export type Action =
  | { readonly do: Exclude<Call, "start" | "try" | "release" | "run" | "subscribe" | "wait"> }
  | { readonly do: "start" | "try" | "wait"; readonly signal: boolean }
  | {
    readonly do: "release";
    readonly cooldownMs: number;
    /** The participant that is to lead next, if it is a transfer. */
    readonly to?: number;
  }
  | {
    readonly do: "run";
    readonly workMs: number;
    readonly drainMs: number;
    readonly once: boolean;
    readonly signal: boolean;
  }
  | { readonly do: "subscribe"; readonly readEveryMs: number }
  | { readonly do: "health"; readonly fit: boolean; readonly takesMs: number }
  | { readonly do: "chain"; readonly link: Link; readonly actions: readonly Action[] };

/** When the next action of a chain comes: in the same turn, after the microtasks, or when the last call has settled. */
export type Link = "turn" | "tick" | "settled";

/** An action, of whom and when: at a moment, or from then on as soon as the participant is in a phase. */
export type Step = Action & { readonly at: number; readonly who: number; readonly when?: Phase };

/** What goes wrong, from when to when. `who` is a participant, or -1 for all. */
export type Trouble = { readonly at: number; readonly until: number; readonly who: number } & Harm;

/** The ways in which things go wrong that need no numbers. */
export type HarmWithoutDetails =
  | "pause"
  | "suspend"
  | "partition"
  | "refusal"
  | "lost answers"
  | "deafness"
  | "freeze"
  | "outage"
  | "amnesia";

/** The ways in which things go wrong. */
export type Harm =
  | { readonly harm: HarmWithoutDetails }
  | { readonly harm: "clock step"; readonly byMs: number }
  | { readonly harm: "crash"; readonly restarts: boolean }
  | { readonly harm: "stalls"; readonly probability: number; readonly maxMs: number }
  | {
    readonly harm: "bad network";
    readonly lose: number;
    readonly duplicate: number;
    readonly late: number;
    readonly lateMs: number;
  };
