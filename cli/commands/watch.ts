/**
 * `elect watch`: every change of leadership, as it happens.
 *
 * @module
 */

import process from "node:process";
import type { Command, Invocation } from "../args.ts";
import { EXIT } from "../exit.ts";
import { describeLeader, outputTo } from "../output.ts";
import type { Use } from "../scope.ts";
import { onSignal } from "../signals.ts";
import { electionOf, openTarget, patience } from "../target.ts";

/** `elect watch`. */
export const watchCommand: Command = {
  name: "watch",
  usage: "GROUP",
  summary: "Prints who leads GROUP now, and every change from then on.",
  details: "Watches only, and never campaigns. Ends with SIGINT or SIGTERM, which is success.",
  example: "elect watch nightly --json",
  options: [],
  run: watch,
};

async function watch(invocation: Invocation, use: Use): Promise<number> {
  const provider = use(await openTarget(invocation));
  const election = use(electionOf(provider, invocation, { observer: true }).election);
  const output = outputTo(process.stdout, invocation.json);
  use(onSignal((_signal, ending) => ending && void election.stop()));
  // A wrong URL is better told at once than waited for. Later failures are waited out.
  const first = await provider.read(invocation.group, patience());
  const print = (at: Date, current: typeof first, previous: typeof first) =>
    output.print(`${output.faint(at.toISOString())}  ${describeLeader(invocation.group, current, output)}`, {
      at,
      electionGroup: invocation.group,
      current,
      previous,
    });
  const changes = election.changes();
  await election.start();
  // A leader that the first look found comes as the first change; that there is none does not.
  if (election.status.currentLeader === null) print(new Date(), null, null);
  for await (const change of changes) print(change.at, change.current, change.previous);
  return EXIT.done;
}
