/** Real sentinels, and a primary that goes away with or without a word. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Redis } from "ioredis";
import { redisProvider } from "../../../providers/redis.ts";
import { LeaderElection } from "../../../src/election.ts";
import type { Provider } from "../../../src/provider.ts";
import { openProvider } from "../../../src/registry.ts";
import { backend } from "../../servers/backend.ts";
import { type SentinelRedis, startSentinelRedis } from "../../servers/redis_sentinel.ts";
import { delay, LONG, soon, win } from "./stage.ts";
import { until } from "../../until.ts";

/** Long enough for sentinels to replace a primary, which takes them two to four seconds here. */
const LEASE = { heartbeatTimeout: 15_000 };

if (backend("redis") !== null) {
  test("the majority of sentinels is believed, and not the quickest", LONG, majority);
  test("elections by way of sentinels, with passwords", LONG, withPasswords);
  test(
    "a primary that freezes, with the first sentinel on its host, is left within a lease",
    LONG,
    () => replaced("freeze"),
  );
  test("a primary that dies is left within a lease", LONG, () => replaced("kill"));
  test("an election leads on, while the primary is replaced", LONG, leadsOn);
}

async function withPasswords(): Promise<void> {
  const servers = await startSentinelRedis("s3cret");
  try {
    const at = servers.url.slice("redis+sentinel://".length);
    const hosts = at.split("/")[0];
    const sentinels = servers.sentinels.map(({ port }) => ({ host: "127.0.0.1", port }));
    const client = new Redis({
      sentinels,
      name: "m",
      password: "s3cret",
      sentinelPassword: "s3cret",
      lazyConnect: true,
    });
    for (
      const provider of [
        await openProvider(`redis+sentinel://:s3cret@${at}`),
        await openProvider(`redis+sentinel://:s3cret@${at}/3?sentinelPassword=s3cret`),
        redisProvider({ client }),
      ]
    ) {
      await provider.healthCheck(soon());
      const lease = await win(provider, "group");
      const hints = provider.watch?.("group", soon())[Symbol.asyncIterator]();
      await hints?.next();
      assert.equal(await provider.release(lease, soon()), "released");
      await hints?.next();
      await provider[Symbol.asyncDispose]();
    }
    client.disconnect();
    for (
      const [url, why] of [
        [`redis+sentinel://:wrong@${at}`, /AUTH was refused/],
        [`redis+sentinel://${at}`, /NOAUTH/],
        [`redis+sentinel://:s3cret@${hosts}/other`, /knows no primary "other"/],
      ] as const
    ) {
      const provider = redisProvider({ url });
      await assert.rejects(provider.healthCheck(soon()), (error) => {
        assert.match(String(error), why);
        assert.doesNotMatch(String(error), /s3cret|wrong/);
        return true;
      });
      await provider[Symbol.asyncDispose]();
    }
  } finally {
    await servers.stop();
  }
}

/** One that is cut off from the others names a server that is no primary of anybody's any more. */
async function majority(): Promise<void> {
  const [stale, servers] = await Promise.all([startSentinelRedis(), startSentinelRedis()]);
  try {
    const [lonely, ...others] = [stale.sentinels[0], ...servers.sentinels.slice(0, 2)];
    assert.ok(lonely);
    const hosts = [lonely, ...others].map(({ port }) => `127.0.0.1:${port}`).join();
    for (let i = 0; i < 5; i++) {
      const provider = redisProvider({ url: `redis+sentinel://${hosts}/m` });
      // So that the others answer after it.
      for (const each of others) await each.freeze();
      const lease = win(provider, `group-${i}`);
      await delay(100);
      for (const each of others) await each.thaw();
      await lease;
      await provider[Symbol.asyncDispose]();
    }
    const right = redisProvider({ url: servers.primary.url });
    assert.equal((await right.groups?.(soon()))?.length, 5);
    await right[Symbol.asyncDispose]();
  } finally {
    await Promise.all([stale.stop(), servers.stop()]);
  }
}

async function replaced(how: "freeze" | "kill"): Promise<void> {
  const servers = await startSentinelRedis();
  const opened: Provider[] = [];
  try {
    const sentinels = servers.sentinels.map(({ port }) => ({ host: "127.0.0.1", port }));
    const client = new Redis({ sentinels, name: "m", lazyConnect: true });
    opened.push(redisProvider({ url: servers.url }), redisProvider({ client, prefix: "injected:" }));
    const leases = await Promise.all(opened.map((provider) => win(provider, "group", LEASE)));
    await servers.replicated();
    const start = performance.now();
    await servers.primary[how]();
    if (how === "freeze") await servers.sentinels[0]?.freeze();
    await Promise.all(opened.map((provider, i) =>
      until("it is renewed elsewhere", async () => {
        const lease = leases[i];
        assert.ok(lease);
        const answer = await provider.renew(lease, soon(3_000)).catch(() => "failed");
        if (answer === "failed") await delay(50);
        else assert.equal(answer, "renewed", `after ${performance.now() - start} ms`);
        return answer === "renewed";
      }, 60_000)
    ));
    const took = performance.now() - start;
    assert.ok(took < LEASE.heartbeatTimeout, `it took ${took} ms`);
    client.disconnect();
  } finally {
    for (const provider of opened) await provider[Symbol.asyncDispose]();
    await servers.stop();
  }
}

/** And its follower hears of a release on the new primary. */
async function leadsOn(): Promise<void> {
  const servers: SentinelRedis = await startSentinelRedis();
  const opened = [redisProvider({ url: servers.url }), redisProvider({ url: servers.url })];
  const elections = opened.map((provider, i) =>
    new LeaderElection(provider, { electionGroup: "g", participantId: `p${i}`, electionInterval: "60s", ...LEASE })
  );
  const [first, second] = elections;
  assert.ok(first && second);
  try {
    await first.start();
    await until("it leads", () => first.isLeader);
    await second.start();
    await servers.replicated();
    const token = first.term?.token;
    await servers.primary.freeze();
    const { port } = new URL(servers.replica.url);
    await until(
      "the replica is promoted",
      async () => await servers.primaryPort().catch(() => null) === Number(port),
      40_000,
    );
    await delay(LEASE.heartbeatTimeout);
    assert.equal(first.isLeader, true);
    assert.equal(first.term?.token, token, "the term must outlive the failover");
    const start = performance.now();
    await first.releaseLeadership({ cooldown: "60s" });
    await until("the other leads", () => second.isLeader);
    assert.ok(performance.now() - start < 5_000, `the hand-off took ${performance.now() - start} ms`);
  } finally {
    await Promise.all(elections.map((election) => election.stop()));
    for (const provider of opened) await provider[Symbol.asyncDispose]();
    await servers.stop();
  }
}
