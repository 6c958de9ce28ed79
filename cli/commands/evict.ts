/**
 * `elect evict`: takes leadership away.
 *
 * @module
 */

import process from "node:process";
import { createInterface } from "node:readline/promises";
import type { Command, Invocation } from "../args.ts";
import { EXIT, UsageError } from "../exit.ts";
import { describeLeader, outputTo } from "../output.ts";
import { openTarget, patience } from "../target.ts";

/** `elect evict`. */
export const evictCommand: Command = {
  name: "evict",
  usage: "GROUP",
  summary: "Releases the lease of whoever leads GROUP.",
  details: `The evicted leader learns it with its next heartbeat, and may act as leader until then: what must not happen
twice has to check fencing tokens. Somebody else may lead at once; the evicted participant may win again, too.
Asks first on a terminal; elsewhere --yes is required.`,
  example: "elect evict nightly --yes",
  options: ["yes"],
  run: evict,
};

async function evict(invocation: Invocation): Promise<number> {
  if (!invocation.yes && process.stdin.isTTY !== true) {
    throw new UsageError(
      `Cannot evict the leader of "${invocation.group}": without a terminal to ask on, --yes is required`,
    );
  }
  await using provider = await openTarget(invocation);
  const output = outputTo(process.stdout, invocation.json);
  const { group } = invocation;
  const leader = await provider.read(group, patience());
  if (leader === null) {
    output.print(`nobody leads ${group}`, { electionGroup: group, outcome: "nobody" });
    return EXIT.done;
  }
  if (!invocation.yes && !await confirmed(`${describeLeader(group, leader, output)}\nTake the lease away? [y/N] `)) {
    output.print("nothing was done", { electionGroup: group, outcome: "declined" });
    return EXIT.done;
  }
  // By the term that was shown: whoever has come to lead in the meantime is left alone.
  const outcome = await provider.release({ electionGroup: group, termId: leader.termId }, patience());
  output.print(
    outcome === "released"
      ? `released the lease of ${leader.leaderId}, which learns it with its next heartbeat`
      : `nothing was done: the term of ${leader.leaderId} had ended already`,
    { electionGroup: group, outcome, leaderId: leader.leaderId, termId: leader.termId, token: leader.token },
  );
  return EXIT.done;
}

async function confirmed(question: string): Promise<boolean> {
  const terminal = createInterface({ input: process.stdin, output: process.stderr });
  try {
    return /^y(es)?$/i.test((await terminal.question(question)).trim());
  } finally {
    terminal.close();
  }
}
