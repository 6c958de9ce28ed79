/**
 * Draws a scenario: all of it follows from a seed.
 *
 * @module
 */

import { makeFaults } from "./faults.ts";
import { withPreference } from "./preference.ts";
import { makeSteps } from "./programs.ts";
import { Random } from "./random.ts";
import type { Scenario, Timing } from "./scenario.ts";

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
      campaignDelay: 0,
    };
  });
  const scenario: Scenario = {
    seed,
    kind,
    timing,
    watch: random.chance(0.6),
    latencyMs: random.pick([1, 5, 20]),
    refusesMetadata: random.chance(0.1),
    timerLatenessMs: random.pick([0, 0, 4]),
    participants,
    steps: makeSteps(random, participants, quietAt, timing),
    faults: kind === "calm" ? [] : makeFaults(random, kind, participants.length, quietAt, timing),
    quietAt,
    endAt: quietAt + 2 * timing.heartbeatTimeout + timing.electionInterval + timing.lockTimeout + 12_000,
  };
  // From a source of its own: the rest of a scenario is as it was before there were preferences.
  return { ...scenario, ...withPreference(new Random(seed ^ 0x5eed), scenario) };
}

function pickKind(random: Random): Scenario["kind"] {
  const draw = random.next();
  if (draw < 0.15) return "calm";
  if (draw < 0.25) return "outages";
  if (draw < 0.32) return "stepped";
  return draw < 0.78 ? "rough" : draw < 0.87 ? "drifting" : "forgetful";
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
    retryMaxDelay: random.pick([500, heartbeatTimeout]),
  };
}
