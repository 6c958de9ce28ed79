/**
 * How long is nobody in charge when a leader hands over? From the call of `releaseLeadership` to the moment in which
 * the other participant leads.
 *
 * @module
 */

import { LeaderElection } from "../mod.ts";
import { sleep, systemClock } from "../src/time/clock.ts";
import { openBackends } from "./backend.ts";

const COOLDOWN_MS = 100;

for (const { name, backend } of await openBackends()) {
  const electionGroup = "bench-failover";
  const { heartbeatTimeout } = backend;
  const join = async (participantId: string) => {
    const election = new LeaderElection(backend.provider, { electionGroup, participantId, heartbeatTimeout });
    await election.start();
    return election;
  };
  let pair: LeaderElection[] = [];

  Deno.bench(`${name}: hand-off`, { group: "hand-off", n: 50, warmup: 2 }, async (b) => {
    if (pair.length === 0) pair = [await join("first"), await join("second")];
    const leader = pair.find((election) => election.isLeader);
    const follower = pair.find((election) => !election.isLeader);
    if (leader === undefined || follower === undefined) throw new Error(`Cannot measure "${name}": nobody leads`);
    // The follower led a moment ago: its cool-down must be over, and it must listen.
    await sleep(systemClock, 2 * COOLDOWN_MS);
    b.start();
    const handed = leader.releaseLeadership({ cooldown: COOLDOWN_MS });
    await follower.waitForLeadership();
    b.end();
    await handed;
  });
}
