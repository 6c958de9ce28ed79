/**
 * Draws what goes wrong in a simulation.
 *
 * @module
 */

import type { Random } from "./random.ts";
import type { Harm, HarmWithoutDetails, Scenario, Timing, Trouble } from "./scenario.ts";

/** Draws what goes wrong until `quietAt`. */
export function makeFaults(
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
  if (kind === "outages") {
    for (let count = random.ms(1, 6); count > 0; count--) {
      const harm = random.pick<HarmWithoutDetails>(["outage", "freeze", "partition", "refusal", "lost answers"]);
      add({ harm }, harm === "outage" || harm === "freeze" ? -1 : whomOf(), 2 * heartbeatTimeout);
    }
    return faults.sort((a, b) => a.at - b.at);
  }
  if (kind === "stepped") {
    for (let count = random.ms(1, 4); count > 0; count--) {
      add({ harm: "clock step", byMs: random.pick([-1, 1]) * random.ms(10, 600_000) }, someone(), 10);
    }
    return faults.sort((a, b) => a.at - b.at);
  }
  for (let count = random.ms(1, 10); count > 0; count--) {
    const whom = whomOf();
    const draw = random.next();
    if (draw < 0.2) add({ harm: "pause" }, someone(), 3 * heartbeatTimeout);
    // The larger of two clocks shows the truth unless both are wrong at once: a suspension and a step back exclude each
    // other.
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
