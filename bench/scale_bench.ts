/**
 * What do many elections on one provider cost? A round is: all start and are won, all send a heartbeat, all stop.
 *
 * @module
 */

import { LeaderElection } from "../mod.ts";
import { memoryProvider } from "../providers/memory.ts";

for (const count of [100, 1_000, 10_000]) {
  const group = `${count} elections, memory`;
  const start = async () => {
    const provider = memoryProvider({ name: `scale-${crypto.randomUUID()}` });
    const elections = Array.from(
      { length: count },
      (_, index) => new LeaderElection(provider, { electionGroup: `scale-${index}` }),
    );
    await Promise.all(elections.map((election) => election.start()));
    if (!elections.every((election) => election.isLeader)) {
      throw new Error("Cannot measure: not every election was won");
    }
    return elections;
  };
  const stop = (elections: LeaderElection[]) => Promise.all(elections.map((election) => election.stop()));

  Deno.bench(`start ${count}`, { group, n: 10, warmup: 1 }, async (b) => {
    b.start();
    const elections = await start();
    b.end();
    await stop(elections);
  });
  Deno.bench(`one heartbeat of each of ${count}`, { group, n: 10, warmup: 1 }, async (b) => {
    const elections = await start();
    b.start();
    await Promise.all(elections.map((election) => election.updateMetadata({ round: "1" })));
    b.end();
    await stop(elections);
  });
  Deno.bench(`stop ${count}`, { group, n: 10, warmup: 1 }, async (b) => {
    const elections = await start();
    b.start();
    await stop(elections);
    b.end();
  });
}
