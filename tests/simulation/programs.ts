/**
 * Draws what the participants of a simulation do: what a program would, what nobody would, and everything at once.
 *
 * @module
 */

import type { Random } from "./random.ts";
import {
  type Action,
  type Call,
  CALLS,
  type Link,
  type ParticipantPlan,
  PHASES,
  type Step,
  type Timing,
} from "./scenario.ts";

/** How many pairs of calls each participant is made to do, each in a phase that was drawn for it. */
const MEETINGS = 6;

/** Draws the steps of all. */
export function makeSteps(
  random: Random,
  participants: readonly ParticipantPlan[],
  quietAt: number,
  timing: Timing,
): Step[] {
  const { heartbeatTimeout } = timing;
  const steps: Step[] = [];
  participants.forEach(({ observer }, who) => {
    const begin = random.ms(0, heartbeatTimeout);
    const action = () => makeAction(random, random.pick(CALLS), timing);
    steps.push({ at: begin, who, do: "start", signal: random.chance(0.3) });
    steps.push({ at: begin, who, do: "subscribe", readEveryMs: 0 });
    if (random.chance(0.3)) steps.push({ at: begin, who, do: "subscribe", readEveryMs: random.ms(100, 2_000) });
    if (!observer && random.chance(0.7)) steps.push({ at: begin, who, ...makeAction(random, "run", timing) });
    for (let at = begin; at < quietAt; at += random.ms(0, 2 * heartbeatTimeout)) {
      steps.push({ at, who, ...makeStep(random, timing) });
    }
    // Each pair of calls is to meet in each phase, over enough seeds.
    for (let count = random.ms(0, MEETINGS); count > 0; count--) {
      const pair: Action = { do: "chain", link: random.pick(["turn", "turn", "tick"]), actions: [action(), action()] };
      const when = random.chance(0.3) ? "draining" : random.pick(PHASES);
      steps.push({ at: random.ms(0, when === "idle" ? begin : quietAt), who, when, ...pair });
    }
    // Most are back before the quiet, so that somebody has to lead in it.
    if (random.chance(0.2)) {
      // Some leave just as everything is well again, with calls behind them of which they never heard.
      steps.push({ at: quietAt + random.ms(1, 50), who, do: "stop" });
    } else if (random.chance(0.9)) {
      steps.push({ at: quietAt - 1, who, do: "start", signal: false });
      steps.push({ at: quietAt - 1, who, do: "health", fit: true, takesMs: 0 });
    }
  });
  return steps.sort((a, b) => a.at - b.at);
}

function makeStep(random: Random, timing: Timing): Action {
  const draw = random.next();
  if (draw < 0.1) {
    const takesMs = random.pick([0, 5, timing.requestTimeout / 2, 2 * timing.requestTimeout]);
    return { do: "health", fit: random.chance(0.6), takesMs };
  }
  if (draw < 0.2) return makeChain(random, timing);
  return makeAction(random, random.pick(USUAL), timing);
}

/** What programs do, more often what they do often. */
const USUAL: readonly [Call, ...Call[]] = [
  "start",
  "start",
  "stop",
  "release",
  "release",
  "try",
  "try",
  "run",
  "wait",
  "waitForLeader",
  "look",
  "metadata",
  "subscribe",
  "abort",
];

/** A program that does one thing after another, with or without waiting: try, do something short, release, stop. */
function makeChain(random: Random, timing: Timing): Action {
  const calls = random.pick<readonly Call[]>([
    ["try", "release"],
    ["try", "release", "stop"],
    ["start", "try", "release", "stop"],
    ["stop", "start"],
    ["release", "stop", "start"],
    ["try", "stop", "start", "try"],
    ["run", "abort"],
    ["start", "abort"],
    ["wait", "abort", "release"],
    ["release", "try"],
    ["metadata", "metadata", "release"],
  ]);
  const link = random.pick<Link>(["turn", "tick", "settled"]);
  return { do: "chain", link, actions: calls.map((call) => makeAction(random, call, timing)) };
}

function makeAction(random: Random, call: Call, { heartbeatTimeout }: Timing): Action {
  switch (call) {
    case "start":
    case "try":
    case "wait":
      return { do: call, signal: random.chance(0.4) };
    case "release":
      return { do: call, cooldownMs: random.pick([0, heartbeatTimeout / 2, heartbeatTimeout]) };
    case "subscribe":
      return { do: call, readEveryMs: random.pick([0, 700]) };
    case "run":
      return {
        do: call,
        workMs: random.pick([0, random.ms(0, 4 * heartbeatTimeout)]),
        drainMs: random.pick([0, random.ms(0, 2 * heartbeatTimeout), random.ms(0, 5 * heartbeatTimeout)]),
        once: random.chance(0.3),
        signal: random.chance(0.4),
      };
    default:
      return { do: call };
  }
}
