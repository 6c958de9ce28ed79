/**
 * What happens in a simulation: who takes part, what they do, what goes wrong. All of it follows from a seed.
 *
 * @module
 */

import { Random } from "./random.ts";

/** Everything that a simulation needs to know. Plain data, so that it can be printed, cut down and run again. */
export interface Scenario {
  /** The seed that it came from, which also decides latencies and jitter while it runs. */
  readonly seed: number;
  /** `calm`: nothing goes wrong. `drifting`: clocks beyond `clockRateError`. `forgetful`: the store loses leases. */
  readonly kind: "calm" | "rough" | "drifting" | "forgetful";
  /** The options of every election, in milliseconds. */
  readonly timing: Timing;
  /** Whether the provider gives hints. */
  readonly watch: boolean;
  /** The longest way of a message while nothing goes wrong, in milliseconds. */
  readonly latencyMs: number;
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
}

/** What a participant does. */
export type Action =
  | { readonly do: "start" | "stop" | "tryAcquire" | "look" | "waitToLead" | "waitForLeader" | "updateMetadata" }
  | { readonly do: "release"; readonly cooldownMs: number }
  | { readonly do: "run"; readonly workMs: number; readonly drainMs: number; readonly once: boolean }
  | { readonly do: "subscribe"; readonly readEveryMs: number }
  | { readonly do: "health"; readonly fit: boolean };

/** An action, of whom and when. */
export type Step = Action & { readonly at: number; readonly who: number };

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

/** Makes the scenario of `seed`. */
export function makeScenario(seed: number): Scenario {
  const random = new Random(seed);
  const kind = pickKind(random);
  const timing = makeTiming(random);
  const quietAt = random.ms(4, 12) * timing.heartbeatTimeout;
  const participants = Array.from({ length: random.ms(2, 4) }, (_, index) => {
    const error = kind === "drifting" ? random.pick([0.2, -0.2, 0.05]) : timing.clockRateError;
    return {
      observer: index > 1 && random.chance(0.3),
      rate: 1 + error * random.pick([-1, -1, 1, random.between(-1, 1)]),
      offset: random.pick([0, random.ms(-300_000, 300_000)]),
    };
  });
  return {
    seed,
    kind,
    timing,
    watch: random.chance(0.6),
    latencyMs: random.pick([1, 5, 20]),
    timerLatenessMs: random.pick([0, 0, 4]),
    participants,
    steps: makeSteps(random, participants, quietAt, timing),
    faults: kind === "calm" ? [] : makeFaults(random, kind, participants.length, quietAt, timing),
    quietAt,
    endAt: quietAt + 2 * timing.heartbeatTimeout + timing.electionInterval + timing.lockTimeout + 6_000,
  };
}

function pickKind(random: Random): Scenario["kind"] {
  const draw = random.next();
  return draw < 0.15 ? "calm" : draw < 0.8 ? "rough" : draw < 0.9 ? "drifting" : "forgetful";
}

function makeTiming(random: Random): Timing {
  const heartbeatTimeout = random.pick([1_000, 2_000, 3_000]);
  return {
    heartbeatTimeout,
    heartbeatInterval: heartbeatTimeout / 3,
    requestTimeout: heartbeatTimeout / random.pick([4, 8]),
    electionInterval: random.pick([heartbeatTimeout / 3, heartbeatTimeout]),
    lockTimeout: heartbeatTimeout * random.pick([1 / 3, 2]),
    safetyMargin: heartbeatTimeout * random.pick([0, 0.02, 0.1]),
    clockRateError: random.pick([0.001, 0.01, 0.05]),
    drainTimeout: heartbeatTimeout * random.pick([0.2, 1, 2]),
    retryBaseDelay: random.pick([10, 100]),
    retryMaxDelay: 500,
  };
}

function makeSteps(
  random: Random,
  participants: readonly ParticipantPlan[],
  quietAt: number,
  { heartbeatTimeout }: Timing,
): Step[] {
  const steps: Step[] = [];
  participants.forEach(({ observer }, who) => {
    const begin = random.ms(0, heartbeatTimeout);
    steps.push({ at: begin, who, do: "start" });
    steps.push({ at: begin, who, do: "subscribe", readEveryMs: 0 });
    if (random.chance(0.3)) steps.push({ at: begin, who, do: "subscribe", readEveryMs: random.ms(100, 2_000) });
    if (!observer && random.chance(0.7)) steps.push({ at: begin, who, ...makeRun(random, heartbeatTimeout) });
    for (let at = begin; at < quietAt; at += random.ms(0, 2 * heartbeatTimeout)) {
      steps.push({ at, who, ...makeAction(random, heartbeatTimeout) });
    }
    // Most are back before the quiet, so that somebody has to lead in it.
    if (random.chance(0.2)) {
      // Some leave just as everything is well again, with calls behind them of which they never heard.
      steps.push({ at: quietAt + random.ms(1, 50), who, do: "stop" });
    } else if (random.chance(0.9)) {
      steps.push({ at: quietAt - 1, who, do: "start" }, { at: quietAt - 1, who, do: "health", fit: true });
    }
  });
  return steps.sort((a, b) => a.at - b.at);
}

function makeRun(random: Random, heartbeatTimeout: number): Action {
  return {
    do: "run",
    workMs: random.ms(0, 4 * heartbeatTimeout),
    drainMs: random.pick([0, random.ms(0, 2 * heartbeatTimeout), random.ms(0, 5 * heartbeatTimeout)]),
    once: random.chance(0.3),
  };
}

function makeAction(random: Random, heartbeatTimeout: number): Action {
  const draw = random.next();
  if (draw < 0.15) return { do: "start" };
  if (draw < 0.28) return { do: "stop" };
  if (draw < 0.45) return { do: "release", cooldownMs: random.pick([0, heartbeatTimeout / 2, heartbeatTimeout]) };
  if (draw < 0.55) return makeRun(random, heartbeatTimeout);
  if (draw < 0.6) return { do: "subscribe", readEveryMs: random.pick([0, 700]) };
  if (draw < 0.66) return { do: "health", fit: random.chance(0.6) };
  return { do: random.pick(["tryAcquire", "look", "waitToLead", "waitForLeader", "updateMetadata"]) };
}

function makeFaults(
  random: Random,
  kind: Scenario["kind"],
  participants: number,
  quietAt: number,
  { heartbeatTimeout }: Timing,
): Trouble[] {
  const faults: Trouble[] = [];
  const someone = () => Math.floor(random.between(0, participants));
  const whomOf = () => random.chance(0.3) ? -1 : someone();
  const steps = random.chance(0.5);
  const add = (harm: Harm, who: number, longest: number, at = random.ms(0, quietAt)) => {
    faults.push({ at, until: Math.min(quietAt, at + random.ms(10, longest)), who, ...harm });
  };
  for (let count = random.ms(1, 10); count > 0; count--) {
    const whom = whomOf();
    const draw = random.next();
    if (draw < 0.2) add({ harm: "pause" }, someone(), 3 * heartbeatTimeout);
    // The larger of two clocks shows the truth unless both are wrong at once: a suspension and a step back exclude each other.
    else if (draw < 0.3 && !steps) add({ harm: "suspend" }, someone(), 4 * heartbeatTimeout);
    else if (draw < 0.3) {
      add({ harm: "clock step", byMs: random.pick([-1, 1]) * random.ms(10, 600_000) }, someone(), 10);
    } else if (draw < 0.4) add({ harm: "crash", restarts: random.chance(0.8) }, someone(), heartbeatTimeout);
    else if (draw < 0.5) {
      add({ harm: random.pick(["partition", "refusal", "lost answers"]) }, whom, 2 * heartbeatTimeout);
    } else if (draw < 0.56) add({ harm: "deafness" }, whom, 2 * heartbeatTimeout);
    else if (draw < 0.64) add({ harm: "freeze" }, -1, 2 * heartbeatTimeout);
    else if (draw < 0.72) add({ harm: "outage" }, -1, 2 * heartbeatTimeout);
    else if (draw < 0.8) {
      add({ harm: "stalls", probability: 0.01, maxMs: 2 * heartbeatTimeout }, whom, heartbeatTimeout);
    } else add(makeNetwork(random, heartbeatTimeout), whom, 5 * heartbeatTimeout);
  }
  // Answers that are lost to the last, so that somebody leaves without having heard of what was granted.
  if (random.chance(0.3)) {
    add({ harm: "lost answers" }, whomOf(), 2 * heartbeatTimeout, quietAt - random.ms(0, 2 * heartbeatTimeout));
  }
  // A backend that is down when everybody starts.
  if (random.chance(0.1)) add({ harm: "outage" }, -1, 3 * heartbeatTimeout, 0);
  if (kind === "forgetful") { for (let count = random.ms(1, 3); count > 0; count--) add({ harm: "amnesia" }, -1, 10); }
  return faults.sort((a, b) => a.at - b.at);
}

function makeNetwork(random: Random, heartbeatTimeout: number): Harm {
  return {
    harm: "bad network",
    lose: random.pick([0, 0.1, 0.4]),
    duplicate: random.pick([0, 0.3]),
    late: random.pick([0.1, 0.5]),
    lateMs: random.pick([heartbeatTimeout / 4, 2 * heartbeatTimeout]),
  };
}
