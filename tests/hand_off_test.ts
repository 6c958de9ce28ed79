/** Who looks after a hint, and how many do. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { LeaderElection } from "../src/election.ts";
import { hintDelay, Rivals } from "../src/participant/spread.ts";
import type { Hint, LeaderInfo, Provider } from "../src/provider.ts";
import { Stage } from "./stage.ts";

/** The delays of `clients`, each the first of its own, whose lots are spread evenly. */
function delays(clients: number, place = 0, lookMs = 1): number[] {
  return Array.from(
    { length: clients },
    (_, index) => hintDelay(clients, lookMs, place, () => (index + 0.5) / clients),
  );
}

test("hintDelay() lets whoever waits alone look at once, and a few of any number", () => {
  for (const clients of [1, 2, 4]) assert.deepEqual(delays(clients), Array(clients).fill(0));
  for (const clients of [10, 200, 1_000, 10_000]) {
    assert.equal(delays(clients).filter((delay) => delay === 0).length, 4, `${clients}`);
  }
});

test("hintDelay() doubles those that have looked with each 10 ms, and keeps nobody for long", () => {
  const sorted = delays(1_000).sort((a, b) => a - b);
  const before = (ms: number) => sorted.filter((delay) => delay < ms).length;
  assert.deepEqual([before(10), before(20), before(30), before(40)], [4, 8, 16, 32]);
  assert(Math.max(...sorted) < 100);
});

test("hintDelay() gives those of a slow server as much longer as a look takes", () => {
  const rounded = (times: number[]) => times.map((time) => Math.round(time));
  assert.deepEqual(rounded(delays(1_000, 0, 100)), rounded(delays(1_000).map((delay) => delay * 20)));
  assert(Math.max(...delays(1_000, 0, 1e9)) < 6_000);
});

test("hintDelay() sends the second of a client only when the first has not answered soon", () => {
  for (const clients of [1, 1_000]) assert(Math.min(...delays(clients, 1)) >= 10);
  assert(hintDelay(1, 1, 999, () => 0) < 100);
});

test("Rivals counts one while it wins, and as many as it loses to", () => {
  const rivals = new Rivals();
  rivals.note(true);
  assert.equal(rivals.count, 1);
  for (let round = 0; round < 100; round++) rivals.note(false);
  assert.equal(rivals.count, 1_024);
  for (let round = 0; round < 20; round++) rivals.note(true);
  assert(rivals.count < 1.01);
});

/** A provider that counts its calls. */
function counting(stage: Stage, methods: Partial<Provider> = {}): { provider: Provider; calls: { acquire: number } } {
  const store = stage.open();
  const calls = { acquire: 0 };
  const acquire: Provider["acquire"] = (request, options) => {
    calls.acquire++;
    return store.acquire(request, options);
  };
  return { provider: stage.wrap(store, { acquire, ...methods }), calls };
}

async function enter(stage: Stage, provider: Provider, participantId: string): Promise<LeaderElection> {
  const { clock } = stage;
  const election = new LeaderElection(provider, { electionGroup: "g", participantId, clock, logger: null });
  await stage.finish(election.start(), 1);
  return election;
}

test("a hundred followers of one process share one look, and all know who leads", async () => {
  const stage = new Stage();
  const { provider, calls } = counting(stage);
  const elections: LeaderElection[] = [];
  for (let i = 0; i < 100; i++) elections.push(await enter(stage, provider, `p${i}`));
  await stage.clock.advance(200);
  const [first] = elections;
  calls.acquire = 0;
  const told: (string | undefined)[] = [];
  const watching = elections.slice(1).map(async (election, index) => {
    for await (const { current } of election.changes({ types: ["changed", "acquired"] }).take(1)) {
      told[index] = current?.leaderId;
    }
  });
  await stage.finish(first?.releaseLeadership({ cooldown: "1h" }) ?? Promise.reject(), 1);
  await stage.clock.advance(200);
  await stage.finish(Promise.all(watching));
  const leader = elections.find(({ isLeader }) => isLeader)?.participantId;
  assert.deepEqual(told, Array(99).fill(leader));
  assert.equal(calls.acquire, 1);
  // A look at a time is enough for all of them, also while nothing happens.
  calls.acquire = 0;
  await stage.clock.advance(60_000);
  assert(calls.acquire <= 6, `${calls.acquire} looks in a minute`);
  await stage.finish(Promise.all(elections.map((election) => election.stop())));
  assert.equal(stage.clock.pending, 0);
});

test("where there are no hints, a follower of the same process leads as soon as the lease is given back", async () => {
  const stage = new Stage();
  const { provider } = counting(stage, { watch: undefined as never });
  const [a, b] = [await enter(stage, provider, "a"), await enter(stage, provider, "b")];
  await stage.finish(a.releaseLeadership({ cooldown: "1h" }), 1);
  await stage.clock.advance(0);
  assert.equal(b.isLeader, true);
});

test("a follower that is told of each renewal asks once an electionInterval or lease, whichever is longer", async () => {
  const stage = new Stage();
  const { provider, calls } = counting(stage);
  const timing = { heartbeatInterval: "1s", heartbeatTimeout: "3s", requestTimeout: "500ms" } as const;
  const a = stage.actor("a", timing);
  await stage.start(a);
  const b = new LeaderElection(provider, { electionGroup: "g", clock: stage.clock, logger: null, ...timing });
  await stage.finish(b.start());
  await stage.clock.advance(1_000);
  calls.acquire = 0;
  await stage.clock.advance(60_000);
  assert(calls.acquire > 6 && calls.acquire <= 12, `${calls.acquire} looks in a minute`);
  assert.equal(b.status.currentLeader?.leaderId, "a");
  // And still it notices a leader that is gone without a word, as soon as its lease is over.
  a.provider.faults.renew = a.provider.faults.acquire = { hang: true };
  await stage.clock.advance(3_000 + 200);
  assert.equal(b.isLeader, true);
});

test("a follower whose backend alone knows of an expiry asks as rarely while hints arrive, and often without", async () => {
  for (const isLive of [true, false]) {
    const stage = new Stage();
    await stage.start(stage.actor("a"));
    let looks = 0;
    const provider = stage.wrap(stage.open(), {
      async acquire(...call) {
        looks++;
        const answer = await stage.store.acquire(...call);
        return answer.acquired ? answer : { ...answer, leader: { ...answer.leader as LeaderInfo, expiresIn: null } };
      },
      async *watch(_, { signal }): AsyncIterable<void> {
        if (isLive) yield;
        await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
      },
    });
    const timing = { heartbeatInterval: "1s", heartbeatTimeout: "3s", requestTimeout: "500ms" } as const;
    const b = new LeaderElection(provider, { electionGroup: "g", clock: stage.clock, logger: null, ...timing });
    await stage.finish(b.start());
    await stage.clock.advance(1_000);
    looks = 0;
    await stage.clock.advance(60_000);
    if (isLive) assert(looks >= 11 && looks <= 12, `${looks} looks in a minute`);
    else assert(looks > 12 && looks <= 20, `${looks} looks in a minute`);
  }
});

test("messages that say for ever that a dead leader is alive put a look off by no more than a lease", async () => {
  for (const forge of ["renewed", "leader"] as const) {
    const stage = new Stage();
    const a = stage.actor("a");
    await stage.start(a);
    const leader = await stage.store.read("g", { signal: AbortSignal.timeout(1_000) }) as LeaderInfo;
    const { provider } = counting(stage, {
      async *watch(_, { signal }): AsyncIterable<Hint> {
        while (!signal.aborted) {
          yield { [forge]: { ...leader, expiresIn: 1e9 } };
          await new Promise<void>((resolve) => stage.clock.setTimer(resolve, 100));
        }
      },
    });
    const b = await enter(stage, provider, "b");
    a.provider.faults.renew = a.provider.faults.acquire = { hang: true };
    await stage.clock.advance(2 * 15_000 + 200);
    assert.equal(b.isLeader, true, forge);
  }
});

test("news of a term before the one that was seen are no news", async () => {
  const stage = new Stage();
  const a = stage.actor("a");
  await stage.start(a);
  const old = await stage.store.read("g", { signal: AbortSignal.timeout(1_000) }) as LeaderInfo;
  await stage.finish(a.election.stop());
  await stage.start(a);
  const news = Promise.withResolvers<Hint>();
  const { provider } = counting(stage, {
    async *watch(): AsyncIterable<Hint | void> {
      yield;
      yield await news.promise;
      await new Promise(() => {});
    },
  });
  const b = await enter(stage, provider, "b");
  await stage.clock.advance(10);
  news.resolve({ leader: old });
  await stage.clock.advance(10);
  assert.equal(b.status.currentLeader?.token, 2n);
});

test("hints without rest do not make looks without rest", async () => {
  const stage = new Stage();
  const a = stage.actor("a");
  await stage.start(a);
  const { provider, calls } = counting(stage, {
    async *watch(_, { signal }) {
      while (!signal.aborted) {
        yield;
        await new Promise<void>((resolve) => stage.clock.setTimer(resolve, 1));
      }
    },
  });
  await enter(stage, provider, "b");
  calls.acquire = 0;
  await stage.clock.advance(1_000);
  assert(calls.acquire > 10 && calls.acquire <= 100, `${calls.acquire} looks in a second`);
});
