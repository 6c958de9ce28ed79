/** How many commands waiting, and a hand-off, cost a server. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Redis } from "ioredis";
import { LeaderElection } from "../../../mod.ts";
import { redisProvider } from "../../../providers/redis.ts";
import { hintOf } from "../../../providers/redis/messages.ts";
import { ACQUIRE } from "../../../providers/redis/scripts.ts";
import { backend } from "../../servers/backend.ts";
import { administrator, delay, LONG, request, soon, win } from "./stage.ts";
import { tellsRenewal } from "../asking.ts";
import { until } from "../../until.ts";

const PROCESSES = 100;
const CONTENDERS = 1_000;
const LONG_LEASE = { heartbeatTimeout: "120s", heartbeatInterval: "30s", electionInterval: "60s" } as const;

test("hintOf() reads what the scripts publish, and takes all else for a reason to look", () => {
  assert.equal(hintOf("?"), null);
  assert.deepEqual(hintOf("free 12"), { waiting: 12 });
  const renewed = { termId: "t", expiresIn: 3_000, lastHeartbeat: new Date(1_700_000_000_000) };
  assert.deepEqual(hintOf("renewed t 1700000000000 3000"), { renewed });
  const broken = ["", "free", "free x", "free -1", "renewed t", "renewed t x y", "[", "[]", '["1","t"]', "{}", "null"];
  for (const text of broken) assert.deepEqual(hintOf(text), {}, text);
});

const target = backend("redis");
if (target !== null) {
  const { url } = target;
  test(
    `a hand-off among ${CONTENDERS} takes at most 20 acquires, and all hear of the leader`,
    LONG,
    () => handOff(url),
  );
  test("those who wait are told who has won, unless the metadata are large", LONG, () => toldOfTheWinner(url));
  test("a follower costs 12 commands a minute, a leader 60, with a lease of 3 s", LONG, () => idle(url));
}

/** Counts the commands of others that the server carries out, by `MONITOR`. */
async function monitor(url: string): Promise<{ commands: string[][]; close(): void }> {
  const admin = administrator(url);
  const stream = await admin.monitor();
  const commands: string[][] = [];
  // What a script calls is not a command that travelled.
  stream.on("monitor", (_time: string, args: string[], source: string) => source === "lua" || commands.push(args));
  return {
    commands,
    close() {
      stream.disconnect();
      admin.disconnect();
    },
  };
}

async function handOff(url: string): Promise<void> {
  const prefix = `hand-off-${crypto.randomUUID()}:`;
  const providers = Array.from({ length: PROCESSES }, () => redisProvider({ url, prefix }));
  const elections = Array.from(
    { length: CONTENDERS },
    (_, index) =>
      new LeaderElection(providers[index % PROCESSES] ?? assert.fail(), {
        electionGroup: "g",
        participantId: `p${index}`,
        logger: null,
        ...LONG_LEASE,
      }),
  );
  const [first, ...others] = elections;
  assert(first !== undefined);
  await first.start();
  await Promise.all(others.map((election) => election.start()));
  const admin = new Redis(url);
  const watched = async () => (await admin.call("PUBSUB", "NUMSUB", `${prefix}{g}:released`) as [string, number])[1];
  // The first leads, so its process has a subscription by its other participants.
  await until("all processes listen", async () => await watched() === PROCESSES, 60_000);
  const seen = await monitor(url);
  // Not counted in the first round: the looks that a new subscription calls for are over once its news have come.
  for (let round = 0; round <= 5; round++) {
    seen.commands.length = 0;
    const leader = elections.find(({ isLeader }) => isLeader);
    assert(leader !== undefined);
    await leader.releaseLeadership({ cooldown: "1h" });
    const next = await until("another leads", () => elections.find(({ isLeader }) => isLeader), 60_000);
    const knows = ({ status }: LeaderElection) => status.currentLeader?.leaderId === next.participantId;
    await until("all know it", () => elections.every(knows), 60_000);
    await delay(200);
    const acquires = seen.commands.filter((args) => args[0]?.toLowerCase() === "evalsha" && args[1] === ACQUIRE.sha);
    assert(acquires.length >= 1 && (round === 0 || acquires.length <= 20), `${acquires.length} acquires`);
  }
  seen.close();
  admin.disconnect();
  await Promise.all(elections.map((election) => election.stop()));
  await Promise.all(providers.map((provider) => provider[Symbol.asyncDispose]()));
}

async function toldOfTheWinner(url: string): Promise<void> {
  await using a = redisProvider({ url, prefix: "told:" });
  await using b = redisProvider({ url, prefix: "told:" });
  for (const size of [10, 3_000, 5_000]) {
    const electionGroup = crypto.randomUUID();
    const listening = new AbortController();
    const hints = b.watch?.(electionGroup, listening)[Symbol.asyncIterator]();
    assert.deepEqual((await hints?.next())?.value, {});
    const metadata = { a: 'x"\\\u0001\u00e9'.repeat(size / 10) };
    const next = hints?.next();
    const lease = await win(a, electionGroup, { metadata });
    const seen = await b.read(electionGroup, soon());
    if (JSON.stringify(metadata).length < 4_000) {
      assert.deepEqual({ ...(await next)?.value?.leader, expiresIn: 0 }, { ...seen, expiresIn: 0 });
      const again = hints?.next();
      assert.equal(await a.release(lease, soon()), "released");
      assert.deepEqual((await again)?.value, { waiting: 1 });
    } else {
      assert.equal(await a.release(lease, soon()), "released");
      assert.deepEqual((await next)?.value, { waiting: 1 });
    }
    const short = await win(a, electionGroup, request(electionGroup, { heartbeatTimeout: 3_000 }));
    await hints?.next();
    await tellsRenewal(a, short, hints);
    listening.abort();
    await hints?.return?.();
    await a.release(short, soon());
  }
}

async function idle(url: string): Promise<void> {
  const timing = { heartbeatTimeout: 3_000, heartbeatInterval: 1_000, requestTimeout: 500, logger: null };
  const prefix = `idle-${crypto.randomUUID()}:`;
  await using a = redisProvider({ url, prefix });
  await using b = redisProvider({ url, prefix });
  const leader = new LeaderElection(a, { electionGroup: "g", participantId: "a", ...timing });
  const follower = new LeaderElection(b, { electionGroup: "g", participantId: "b", ...timing });
  await leader.start();
  await follower.start();
  await delay(1_000);
  const seen = await monitor(url);
  const isAcquire = (args: string[]) => args.includes(ACQUIRE.sha);
  const started = performance.now();
  await delay(20_000);
  const minutes = (performance.now() - started) / 60_000;
  const looks = seen.commands.filter(isAcquire).length;
  const mine = seen.commands.filter((args) => args.some((arg) => arg.startsWith(prefix)));
  seen.close();
  // One more than the rate: the window may begin just before one.
  assert(looks <= 12 * minutes + 1, `${looks} looks`);
  assert(mine.length <= (60 + 12) * minutes + 2, `${mine.length} commands: ${mine.map(([name]) => name)}`);
  assert.equal(leader.isLeader, true);
  assert.equal(follower.status.currentLeader?.leaderId, "a");
  await Promise.all([leader.stop(), follower.stop()]);
}
