/**
 * `elect transfer`: hands leadership over to one participant.
 *
 * @module
 */

import process from "node:process";
import type { LeaderInfo, Provider } from "../../mod.ts";
import { TRANSFER_HOLD_MS } from "../../src/participant/restraint.ts";
import { sleep, systemClock } from "../../src/time/clock.ts";
import type { Command, Invocation } from "../args.ts";
import { EXIT, UsageError } from "../exit.ts";
import { describeLeader, outputTo, printable } from "../output.ts";
import { ask, isYes } from "../question.ts";
import type { Use } from "../scope.ts";
import { openTarget, patience } from "../target.ts";

/** The time to look who leads, beyond that for which the others hold back, in milliseconds. */
const LOOK_MS = 1_000;
/** The time between two looks. */
const PAUSE_MS = 100;

/** `elect transfer`. */
export const transferCommand: Command = {
  name: "transfer",
  usage: "GROUP",
  summary: "Releases the lease of whoever leads GROUP, for --to ID to lead next.",
  details:
    `The others hold back for two seconds, so that ID can lead first; then anybody may. A hint: it does nothing for a
participant that is not there, and not every backend carries it (elect providers names them).
As with elect evict, the leader of before learns it with its next heartbeat, and may act as leader until then: a
program hands over without that by transferLeadership(). Asks first on a terminal; elsewhere --yes is required.
Exit code 0 if ID leads in the end; 1 if another does, or nobody.`,
  example: "elect transfer nightly --to web-2 --yes",
  options: ["to", "yes"],
  run: transfer,
};

async function transfer(invocation: Invocation, use: Use): Promise<number> {
  const { group, to, yes, json } = invocation;
  if (to === undefined) throw new UsageError(`Cannot transfer "${group}": --to says which participant is to lead`);
  if (!yes && process.stdin.isTTY !== true) {
    throw new UsageError(`Cannot transfer "${group}": without a terminal to ask on, --yes is required`);
  }
  const provider = use(await openTarget(invocation));
  const output = outputTo(process.stdout, json);
  const told = (outcome: string, leader: LeaderInfo | null, text: string) =>
    output.print(text, { electionGroup: group, outcome, leaderId: leader?.leaderId ?? null, token: leader?.token });
  const leader = await provider.read(group, patience());
  if (leader === null) {
    told("nobody", null, `nobody leads ${group}`);
    return EXIT.nobody;
  }
  if (leader.leaderId === to) {
    told("transferred", leader, `${printable(to)} leads ${group} already`);
    return EXIT.done;
  }
  if (!yes) {
    const answer = await ask(`${describeLeader(group, leader, output)}\nHand over to ${to}? [y/N] `);
    if (!isYes(answer)) {
      told("declined", leader, "nothing was done");
      return answer === null ? EXIT.interrupted : EXIT.nobody;
    }
  }
  // By the term that was shown: whoever has come to lead in the meantime is left alone.
  const lease = { electionGroup: group, termId: leader.termId };
  const outcome = await provider.release(lease, { ...patience(), transferTo: to });
  if (outcome === "notHolder") {
    told("notHolder", leader, `nothing was done: the term of ${printable(leader.leaderId)} had ended already`);
    return EXIT.nobody;
  }
  const next = await successor(provider, group, leader.termId);
  const isDone = next?.leaderId === to;
  const who = next === null ? "nobody leads" : `${printable(next.leaderId)} leads`;
  const hint = provider.capabilities.transfer ? "" : `; ${provider.name} tells nobody for whom a lease was released`;
  told(isDone ? "transferred" : "released", next, `${who} ${group}${isDone ? "" : hint}`);
  return isDone ? EXIT.done : EXIT.nobody;
}

/** Returns who leads after the term `termId`; null if nobody does for as long as the others hold back. */
async function successor(provider: Provider, group: string, termId: string): Promise<LeaderInfo | null> {
  const began = systemClock.monotonic();
  for (;;) {
    const leader = await provider.read(group, patience());
    if (leader !== null && leader.termId !== termId) return leader;
    if (systemClock.monotonic() - began > TRANSFER_HOLD_MS + LOOK_MS) return null;
    await sleep(systemClock, PAUSE_MS);
  }
}
