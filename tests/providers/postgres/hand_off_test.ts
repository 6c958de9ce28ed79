/** How many looks a hand-off takes among many who share few connections. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { LeaderElection, type Provider } from "../../../mod.ts";
import { postgresProvider } from "../../../providers/postgres.ts";
import { ForwardingProvider } from "../../../src/forwarding_provider.ts";
import { sleep, systemClock } from "../../../src/time/clock.ts";
import { backend } from "../../servers/backend.ts";
import { patience } from "../../slowness.ts";

/** As many as a server of a hundred connections serves well; each of them has a hundred participants. */
const PROCESSES = 10;
const CONTENDERS = 1_000;

const target = backend("postgres");
if (target !== null) {
  test(`a hand-off among ${CONTENDERS} takes at most 20 acquires, and all hear of the leader`, {
    timeout: patience(120_000),
  }, () => handOff(target.url));
}

async function handOff(url: string): Promise<void> {
  let acquires = 0;
  const table = `hand_off_${crypto.randomUUID().slice(0, 8)}`;
  const providers = Array.from({ length: PROCESSES }, (): Provider => {
    const inner = postgresProvider({ url, table });
    // Each call is one statement.
    return Object.assign(new ForwardingProvider(inner), {
      acquire(...args: Parameters<Provider["acquire"]>) {
        acquires++;
        return inner.acquire(...args);
      },
    });
  });
  const timing = { heartbeatTimeout: "120s", heartbeatInterval: "30s", electionInterval: "60s" } as const;
  const elections = Array.from(
    { length: CONTENDERS },
    (_, index) =>
      new LeaderElection(providers[index % PROCESSES] ?? assert.fail(), {
        electionGroup: "g",
        participantId: `p${index}`,
        logger: null,
        ...timing,
      }),
  );
  for (const election of elections.slice(0, PROCESSES)) await election.start();
  await Promise.all(elections.map((election) => election.start()));
  // Those looks are over that new subscriptions called for.
  for (let before = -1; before !== acquires; await sleep(systemClock, 1_000)) before = acquires;
  for (let round = 0; round < 3; round++) {
    acquires = 0;
    const leader = elections.find(({ isLeader }) => isLeader) ?? assert.fail("nobody leads");
    await leader.releaseLeadership({ cooldown: "1h" });
    const knows = (next: LeaderElection) =>
      elections.every(({ status }) => status.currentLeader?.leaderId === next.participantId);
    for (const deadline = performance.now() + patience(30_000);;) {
      const next = elections.find(({ isLeader }) => isLeader);
      if (next !== undefined && knows(next)) break;
      assert(performance.now() < deadline, "not all have heard of the next leader");
      await sleep(systemClock, 20);
    }
    assert(acquires >= 1 && acquires <= 20, `${acquires} acquires`);
  }
  await Promise.all(elections.map((election) => election.stop()));
  await Promise.all(providers.map((provider) => provider[Symbol.asyncDispose]()));
}
