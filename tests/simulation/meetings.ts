/**
 * Which public calls have met which others, and where: what a set of simulations has explored.
 *
 * @module
 */

import { type Call, CALLS, type Phase, PHASES } from "./scenario.ts";

/** A call that was made while another had not settled, or in the same turn, and where the participant was then. */
export type Meeting = `${Phase}: ${Call}, ${Call}`;

/** Every meeting that can be: a call that moves its participant on at once meets none where it was. */
export function allMeetings(): Meeting[] {
  const meetings: Meeting[] = [];
  for (const phase of PHASES) {
    for (const first of CALLS) {
      if (LEAVES[first]?.includes(phase)) continue;
      for (const second of CALLS) meetings.push(`${phase}: ${first}, ${second}`);
    }
  }
  return meetings;
}

/** The phases that a call ends in the turn in which it is made. */
const LEAVES: Readonly<Partial<Record<Call, readonly Phase[]>>> = {
  start: ["idle", "stopped"],
  stop: ["idle", "checking", "looking", "waiting", "leading", "draining", "releasing"],
  release: ["leading"],
};
