/**
 * `elect groups`: which election groups the backend knows.
 *
 * @module
 */

import process from "node:process";
import { ProviderError } from "../../src/errors.ts";
import type { Command, Invocation } from "../args.ts";
import { EXIT } from "../exit.ts";
import { redact } from "../../src/redact.ts";
import { describeLeader, outputTo, printable } from "../output.ts";
import type { Use } from "../scope.ts";
import { standardError } from "../streams.ts";
import { openTarget, patience } from "../target.ts";

/** `elect groups`. */
export const groupsCommand: Command = {
  name: "groups",
  usage: "",
  summary: "Lists the election groups that the backend knows, and who leads each.",
  details:
    `A group stays known when nobody leads it, because its fencing token must outlive every term. One that cannot be
read is named on stderr, and the others follow; the exit code is 69 then.`,
  example: "elect groups --provider redis://localhost",
  options: [],
  run: groups,
};

async function groups(invocation: Invocation, use: Use): Promise<number> {
  const provider = use(await openTarget(invocation));
  if (provider.groups === undefined) {
    throw new ProviderError(provider.name, "groups", `Cannot list the groups of "${provider.name}": it keeps no list`);
  }
  const output = outputTo(process.stdout, invocation.json);
  let exitCode: number = EXIT.done;
  for (const group of (await provider.groups(patience())).sort()) {
    try {
      const info = await provider.read(group, patience());
      output.print(describeLeader(group, info, output), { electionGroup: group, ...(info ?? { leaderId: null }) });
    } catch (error) {
      // A record of somebody else's costs one group. A backend that has gone costs them all.
      if (!(error instanceof ProviderError)) throw error;
      exitCode = EXIT.unavailable;
      const why = redact(error.message);
      const told = outputTo(standardError, invocation.json);
      told.print(`elect: ${printable(group)}: ${printable(why)}`, {
        level: "error",
        electionGroup: group,
        message: why,
      });
    }
  }
  return exitCode;
}
