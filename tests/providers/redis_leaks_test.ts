/** Nothing piles up over a real Redis: elections that start and stop, and terms that change hands, a thousand times. */

import { equal } from "node:assert/strict";
import { after, test } from "node:test";
import { Redis } from "ioredis";
import { redisProvider } from "../../providers/redis.ts";
import { LeaderElection } from "../../src/election.ts";
import { CountingClock, heapStaysFlat, nobodyListens } from "../leaks.ts";
import { backend } from "../servers/backend.ts";

const ROUNDS = 1_000;
/** Bun gives a test five seconds unless it is told. */
const TIMEOUT = { timeout: 120_000 };

const server = backend("redis");
if (server !== null) testServer(server.url);

function testServer(url: string): void {
  const admin = new Redis(url, { lazyConnect: true });
  admin.on("error", () => {});
  after(() => admin.disconnect());

  test(`start() and stop() over redis leave nothing behind, ${ROUNDS} times`, TIMEOUT, async () => {
    const clock = new CountingClock();
    const { signal } = new AbortController();
    const before = await connections(admin);
    {
      await using provider = redisProvider({ url });
      const options = { electionGroup: "leaks-start", participantId: "p", clock, signal };
      let inUse = 0;
      await heapStaysFlat(ROUNDS, async () => {
        const election = new LeaderElection(provider, options);
        await election.start();
        equal(election.isLeader, true);
        await election.stop();
        inUse ||= await connections(admin);
      });
      equal(await connections(admin), inUse);
      equal(clock.pending, 0);
      nobodyListens(signal);
    }
    await settles(admin, before);
  });

  test(`terms that change hands over redis leave nothing behind, ${ROUNDS} times`, TIMEOUT, async () => {
    const clock = new CountingClock();
    const { signal } = new AbortController();
    const before = await connections(admin);
    {
      await using a = redisProvider({ url });
      await using b = redisProvider({ url });
      let [leader, follower] = [a, b].map((provider, index) =>
        new LeaderElection(provider, {
          electionGroup: "leaks-terms",
          participantId: `p${index}`,
          clock,
          signal,
          random: () => 0,
        })
      ) as [LeaderElection, LeaderElection];
      await leader.start();
      await follower.start();
      await heapStaysFlat(ROUNDS, async () => {
        // On a busy machine the same one may win again after its cool-down, and then gives way again.
        while (!follower.isLeader) {
          await leader.releaseLeadership({ cooldown: 10 });
          await Promise.race([leader, follower].map((each) => each.waitForLeadership({ signal })));
        }
        [leader, follower] = [follower, leader];
      });
      await Promise.all([leader.stop(), follower.stop()]);
      equal(clock.pending, 0);
      nobodyListens(signal);
    }
    await settles(admin, before);
  });
}

/** How many clients the server has. */
async function connections(admin: Redis): Promise<number> {
  return Number(/connected_clients:(\d+)/.exec(await admin.info("clients"))?.[1]);
}

/** Waits until the server has as few clients as before: it learns of an end a moment after it. */
async function settles(admin: Redis, before: number): Promise<void> {
  for (const deadline = performance.now() + 5_000; performance.now() < deadline;) {
    if (await connections(admin) <= before) return;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
  equal(await connections(admin), before);
}
