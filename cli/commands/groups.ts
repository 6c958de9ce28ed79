/**
 * `elect groups`: which election groups the backend knows.
 *
 * @module
 */

import process from "node:process";
import { ProviderError } from "../../src/errors.ts";
import type { Command, Invocation } from "../args.ts";
import { EXIT } from "../exit.ts";
import { describeLeader, outputTo } from "../output.ts";
import { openTarget, patience } from "../target.ts";

/** `elect groups`. */
export const groupsCommand: Command = {
  name: "groups",
  usage: "",
  summary: "Lists the election groups that the backend knows, and who leads each.",
  details: "A group stays known when nobody leads it, because its fencing token must outlive every term.",
  example: "elect groups --provider redis://localhost",
  options: [],
  run: groups,
};

async function groups(invocation: Invocation): Promise<number> {
  await using provider = await openTarget(invocation);
  if (provider.groups === undefined) {
    throw new ProviderError(provider.name, "groups", `Cannot list the groups of "${provider.name}": it keeps no list`);
  }
  const output = outputTo(process.stdout, invocation.json);
  for (const group of (await provider.groups(patience())).sort()) {
    const info = await provider.read(group, patience());
    output.print(describeLeader(group, info, output), { electionGroup: group, ...(info ?? { leaderId: null }) });
  }
  return EXIT.done;
}
