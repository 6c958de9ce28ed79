/**
 * `elect evict`: takes leadership away.
 *
 * @module
 */

import process from "node:process";
import type { Command, Invocation } from "../args.ts";
import { EXIT, UsageError } from "../exit.ts";
import { describeLeader, outputTo, printable } from "../output.ts";
import { ask, isYes } from "../question.ts";
import type { Use } from "../scope.ts";
import { openTarget, patience } from "../target.ts";

/** `elect evict`. */
export const evictCommand: Command = {
  name: "evict",
  usage: "GROUP",
  summary: "Releases the lease of whoever leads GROUP.",
  details: `The evicted leader learns it with its next heartbeat, and may act as leader until then: what must not happen
twice has to check fencing tokens. Somebody else may lead at once; the evicted participant may win again, too.
Asks first on a terminal; elsewhere --yes is required. \
Ctrl-C and Ctrl-D at the question do nothing, with exit code 130.`,
  example: "elect evict nightly --yes",
  options: ["yes"],
  run: evict,
};

async function evict(invocation: Invocation, use: Use): Promise<number> {
  if (!invocation.yes && process.stdin.isTTY !== true) {
    throw new UsageError(
      `Cannot evict the leader of "${invocation.group}": without a terminal to ask on, --yes is required`,
    );
  }
  const provider = use(await openTarget(invocation));
  const output = outputTo(process.stdout, invocation.json);
  const { group } = invocation;
  const leader = await provider.read(group, patience());
  if (leader === null) {
    output.print(`nobody leads ${group}`, { electionGroup: group, outcome: "nobody" });
    return EXIT.done;
  }
  if (!invocation.yes) {
    const answer = await ask(`${describeLeader(group, leader, output)}\nTake the lease away? [y/N] `);
    if (!isYes(answer)) {
      output.print("nothing was done", { electionGroup: group, outcome: "declined" });
      return answer === null ? EXIT.interrupted : EXIT.done;
    }
  }
  const who = printable(leader.leaderId);
  // By the term that was shown: whoever has come to lead in the meantime is left alone.
  const outcome = await provider.release({ electionGroup: group, termId: leader.termId }, patience());
  output.print(
    outcome === "released"
      ? `released the lease of ${who}, which learns it with its next heartbeat`
      : `nothing was done: the term of ${who} had ended already`,
    { electionGroup: group, outcome, leaderId: leader.leaderId, termId: leader.termId, token: leader.token },
  );
  return EXIT.done;
}
