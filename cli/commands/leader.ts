/**
 * `elect leader`: who leads.
 *
 * @module
 */

import process from "node:process";
import type { Command, Invocation } from "../args.ts";
import { EXIT } from "../exit.ts";
import { describeLeader, outputTo } from "../output.ts";
import type { Use } from "../scope.ts";
import { openTarget, patience } from "../target.ts";

/** `elect leader`. */
export const leaderCommand: Command = {
  name: "leader",
  usage: "GROUP",
  summary: "Prints who leads GROUP.",
  details: "Asks the backend, and writes nothing to it. Exit code: 1 when nobody leads.",
  example: "elect leader nightly --json",
  options: [],
  run: leader,
};

async function leader(invocation: Invocation, use: Use): Promise<number> {
  const provider = use(await openTarget(invocation));
  const info = await provider.read(invocation.group, patience());
  const output = outputTo(process.stdout, invocation.json);
  output.print(describeLeader(invocation.group, info, output), {
    electionGroup: invocation.group,
    ...(info ?? { leaderId: null }),
  });
  return info === null ? EXIT.nobody : EXIT.done;
}
