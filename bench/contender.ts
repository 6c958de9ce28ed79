/**
 * A process with participants of one group, for the suites between processes:
 *
 *     deno run -A bench/contender.ts URL GROUP COUNT HEARTBEAT_TIMEOUT_MS
 *
 * It prints `ready` once all know a leader, and `leads MS HINT LOOKS LOOKED` whenever one of them begins to lead;
 * `hand over MS` on its input makes that one release the lease for as long, and prints `released MS` and
 * `free MS RELEASING` when the backend has answered. Times that are printed are of the wall clock, with fractions;
 * `recording.ts` names those of the steps.
 */

import process from "node:process";
import { createInterface } from "node:readline";
import { LeaderElection, openProvider } from "../mod.ts";
import { CATALOG } from "../providers/catalog.ts";
import { now, RecordingProvider, type Step } from "./recording.ts";

const [url = "", electionGroup = "", count = "1", timeout = "15000"] = process.argv.slice(2);
for (const { module } of Object.values(CATALOG)) await import(`../providers/${module.replaceAll("-", "_")}.ts`);
const provider = new RecordingProvider(await openProvider(url));
const heartbeatTimeout = Number(timeout);
const timing = { heartbeatTimeout, heartbeatInterval: heartbeatTimeout / 3, requestTimeout: heartbeatTimeout / 4 };
const say = (word: string, at: number, ...steps: Step[]) =>
  console.log([word, at, ...steps.map((step) => provider.at.get(step) ?? NaN)].join(" "));

const elections = Array.from({ length: Number(count) }, (_, index) =>
  new LeaderElection(provider, {
    electionGroup,
    participantId: `${process.pid}-${index}`,
    logger: null,
    ...timing,
  }));
for (const election of elections) {
  void (async () => {
    for await (const _ of election.changes({ types: ["acquired"] })) say("leads", now(), "hint", "looks", "looked");
  })();
  await election.start();
}
await Promise.all(elections.map((election) => election.waitForLeader()));
console.log("ready");

for await (const line of createInterface({ input: process.stdin })) {
  const leader = elections.find(({ isLeader }) => isLeader);
  const [, cooldownMs] = /^hand over (\d+)$/.exec(line) ?? [];
  if (cooldownMs === undefined || leader === undefined) continue;
  const releasedAt = now();
  // Nothing is printed before: that takes time, too.
  void leader.releaseLeadership({ cooldown: Number(cooldownMs) }).then(() => {
    say("released", releasedAt);
    say("free", provider.at.get("free") ?? NaN, "releasing");
  });
}
await Promise.all(elections.map((election) => election.stop()));
await provider[Symbol.asyncDispose]();
