/**
 * Draws who is preferred in a simulation, and which releases are for somebody.
 *
 * @module
 */

import type { Random } from "./random.ts";
import type { Action, ParticipantPlan, Step } from "./scenario.ts";

/** The part of a scenario that says who is preferred. */
interface Preference {
  readonly participants: readonly ParticipantPlan[];
  readonly steps: readonly Step[];
}

/** In a part of the seeds, lets some participants hold back, and makes transfers of some releases. */
export function withPreference(random: Random, { participants, steps }: Preference): Preference {
  const delayed = random.chance(0.2);
  const transfers = random.chance(0.3);
  const nameSuccessor = <T extends Action>(action: T): T => {
    if (action.do === "chain") return { ...action, actions: action.actions.map(nameSuccessor) };
    if (action.do !== "release" || random.chance(0.5)) return action;
    return { ...action, to: random.ms(0, participants.length - 1) };
  };
  return {
    participants: participants.map((each) => {
      const campaignDelay = delayed ? random.pick([0, 300, 1_000, 3_000]) : 0;
      return { ...each, campaignDelay };
    }),
    steps: transfers ? steps.map(nameSuccessor) : steps,
  };
}
