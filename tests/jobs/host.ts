/**
 * A host, for the tests of jobs: a process with a clock of its own.
 *
 *     host.ts job URL GROUP AT_LEAST_MS   waits until its clock shows what it is told, then runs the job
 *     host.ts lead URL GROUP ID           takes part, and hands over to whom it is told
 */

import process from "node:process";
import { createInterface } from "node:readline";
import { MODULES } from "../../cli/modules.ts";
import { elect, exclusive } from "../../mod.ts";

const [, , mode = "", url = "", electionGroup = "", value = ""] = process.argv;
for (const load of Object.values(MODULES)) await load();
const lines = createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const line = async (): Promise<string> => (await lines.next()).value ?? "";

if (mode === "job") {
  console.log("ready");
  const at = Number(await line());
  while (Date.now() < at) await new Promise((resolve) => setTimeout(resolve, Math.min(20, at - Date.now())));
  const options = { electionGroup, atLeast: Number(value), logger: null };
  const end = await exclusive(url, options, (term) => {
    console.log(`ran ${term.token}`);
    return Promise.resolve();
  });
  console.log(end.outcome);
  process.exit(0);
}

const election = await elect(url, { electionGroup, participantId: value, logger: null });
void election.changes({ types: ["acquired"] }).forEach(() => console.log(`leads ${value}`));
console.log(election.isLeader ? `leads ${value}` : `follows ${value}`);
for (let to = await line(); to !== ""; to = await line()) {
  await election.transferLeadership({ to });
  console.log("handed over");
}
await election.stop();
process.exit(0);
