/** Connections that die without a word, calls whose caller has gone, and servers that are primaries no more. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { LeaderElection } from "../../../src/election.ts";
import { backend } from "../../servers/backend.ts";
import { startRedis } from "../../servers/redis.ts";
import { patience } from "../../slowness.ts";
import { delay, LONG, request, soon, stage, startProxy, win } from "./stage.ts";
import { until } from "../../until.ts";

const server = backend("redis");
if (server !== null) testServer(server.url);

const listens = (sent: string) => /subscribe/i.test(sent);

function testServer(url: string): void {
  const { admin, open } = stage(url);

  test("a connection for hints that died is noticed within a lease, and hints are quick again", LONG, async () => {
    await using proxy = await startProxy(url);
    const prefix = `dead-${crypto.randomUUID()}:`;
    const [holder, watcher] = [open({ prefix }), open({ url: proxy.url, prefix })];
    const lease = await win(holder, "group", { heartbeatTimeout: 6_000 });
    // An observer knows of leases from records alone.
    await watcher.read("group", soon());
    const hints = watcher.watch?.("group", soon(60_000))[Symbol.asyncIterator]();
    await hints?.next();
    const start = performance.now();
    assert.equal(proxy.silence(listens), 1);
    await assert.rejects(async () => await hints?.next(), /silent/);
    assert.ok(performance.now() - start < 6_000, `it took ${performance.now() - start} ms`);
    const again = watcher.watch?.("group", soon(60_000))[Symbol.asyncIterator]();
    await again?.next();
    const told = again?.next();
    await holder.release(lease, soon());
    const releasedAt = performance.now();
    await told;
    assert.ok(performance.now() - releasedAt < 2_000);
    await again?.return?.();
  });

  test(
    "a provider that is closed ends its checks and lists, and their connections, to a silent server",
    LONG,
    async () => {
      await using proxy = await startProxy(url);
      proxy.silent = true;
      // Of itself it would wait for longer than this test may take.
      const provider = open({ url: proxy.url, socketTimeout: "10m" });
      const calls = [provider.healthCheck(soon(30_000)), provider.groups?.(soon(30_000))];
      await until("both are connected", () => proxy.open() === 2);
      await provider[Symbol.asyncDispose]();
      for (const call of calls) await assert.rejects(call ?? Promise.resolve(), /the provider is closed/);
      await until("no connection is left", () => proxy.open() === 0);
      await assert.rejects(provider.healthCheck(soon()), /the provider is closed/);
      assert.equal(proxy.connections(), 2, "nothing is asked by a provider that is closed");
    },
  );

  test("a graceful hand-off is quick again, a lease after the connection for hints died", LONG, async () => {
    await using proxy = await startProxy(url);
    const prefix = `dead-${crypto.randomUUID()}:`;
    const options = { electionGroup: "g", heartbeatTimeout: 4_000, electionInterval: 60_000 };
    const leader = new LeaderElection(open({ prefix }), { ...options, participantId: "leader" });
    const follower = new LeaderElection(open({ url: proxy.url, prefix }), { ...options, participantId: "follower" });
    try {
      await leader.start();
      await until("it leads", () => leader.isLeader);
      await follower.start();
      await until("it listens", () => proxy.silence(listens) === 1);
      const before = proxy.connections();
      await until("it listens again", () => proxy.connections() > before, 10_000);
      await delay(500);
      const start = performance.now();
      await leader.releaseLeadership({ cooldown: "60s" });
      await until("the follower leads", () => follower.isLeader);
      assert.ok(performance.now() - start < patience(2_000), `it took ${performance.now() - start} ms`);
    } finally {
      await Promise.all([leader.stop(), follower.stop()]);
    }
  });

  test("channels are unsubscribed when nobody watches them, and the connection goes with the last", LONG, async () => {
    const prefix = `unsub-${crypto.randomUUID()}:`;
    const provider = open({ prefix });
    await provider.acquire(request("lease", { heartbeatTimeout: patience(300) }), soon());
    const channels = async () => (await admin.pubsub("CHANNELS", `${prefix}*`) as string[]).length;
    const watches = ["a", "b", "b"].map((group) => provider.watch?.(group, soon(60_000))[Symbol.asyncIterator]());
    for (const watch of watches) await watch?.next();
    assert.equal(await channels(), 2);
    await watches[1]?.return?.();
    await watches[0]?.return?.();
    await until("a is unsubscribed", async () => await channels() === 1);
    await watches[2]?.return?.();
    await until("b is unsubscribed", async () => await channels() === 0);
    const again = provider.watch?.("a", soon(60_000))[Symbol.asyncIterator]();
    await again?.next();
    assert.equal(await channels(), 1);
    await again?.return?.();
  });

  test("a connection that went silent is left with the first call that is given up on it", LONG, async () => {
    await using proxy = await startProxy(url);
    const provider = open({ url: proxy.url });
    const lease = await win(provider, "group", { heartbeatTimeout: 2_000 });
    proxy.silence();
    await assert.rejects(provider.renew(lease, soon(650)));
    // The call that follows does not wait for it.
    assert.equal(await provider.renew(lease, soon(650)), "renewed");
    assert.equal(proxy.connections(), 2);
  });

  test("a silent server is left after a lease, whoever waits for it", LONG, async () => {
    await using proxy = await startProxy(url);
    const provider = open({ url: proxy.url });
    const lease = await win(provider, "group", { heartbeatTimeout: 700 });
    proxy.silence();
    const start = performance.now();
    await assert.rejects(provider.read("group", soon(60_000)), /silent/);
    assert.ok(performance.now() - start < 4_000, `it took ${performance.now() - start} ms`);
    assert.notEqual(await provider.renew(lease, soon()), undefined);
  });

  test(
    "a connection that cannot be made is given up within a lease, also while its first answers are due",
    LONG,
    async () => {
      await using proxy = await startProxy(url);
      const provider = open({ url: `${proxy.url}/3` });
      proxy.silent = true;
      const start = performance.now();
      await assert.rejects(
        provider.acquire(request("g", { heartbeatTimeout: 1_500 }), soon(60_000)),
        /no connection within/,
      );
      assert.ok(performance.now() - start < 3_000, `it took ${performance.now() - start} ms`);
      proxy.silent = false;
      await win(provider, "group");
    },
  );

  test("a call that is given up at once costs nobody a connection", async () => {
    await using proxy = await startProxy(url);
    const provider = open({ url: proxy.url });
    const lease = await win(provider, "group", { heartbeatTimeout: 60_000 });
    for (let i = 0; i < 20; i++) {
      const giveUp = new AbortController();
      const call = provider.read("group", { signal: giveUp.signal });
      giveUp.abort(new Error("never mind"));
      await assert.rejects(call, /never mind/);
    }
    assert.equal(await provider.renew(lease, soon()), "renewed");
    assert.equal(proxy.connections(), 1);
  });

  test("a command that waited for its connection is not sent after its caller has gone", LONG, async () => {
    const redis = await startRedis();
    try {
      const provider = open({ url: `${redis.url}/3`, prefix: "late:" });
      await win(provider, "known");
      await using proxy = await startProxy(redis.url);
      const late = open({ url: `${proxy.url}/3`, prefix: "late:" });
      await redis.freeze();
      await assert.rejects(late.acquire(request("group"), soon(200)));
      await redis.thaw();
      await delay(500);
      assert.equal(await provider.read("group", soon()), null, "nobody waits for it");
      await win(late, "group");
    } finally {
      await redis.stop();
    }
  });

  test("a connection to a server that became a replica is left, and so are its hints", LONG, async () => {
    const next = await startRedis();
    try {
      await using proxy = await startProxy(url);
      const prefix = `demoted-${crypto.randomUUID()}:`;
      const provider = open({ url: proxy.url, prefix });
      const lease = await win(provider, "group");
      const hints = provider.watch?.("group", soon(60_000))[Symbol.asyncIterator]();
      await hints?.next();
      await admin.call("replicaof", "127.0.0.1", "1");
      try {
        const { hostname, port } = new URL(next.url);
        proxy.target = { host: hostname, port: Number(port) };
        await assert.rejects(provider.renew(lease, soon()), /READONLY/);
        await assert.rejects(async () => await hints?.next(), /READONLY/);
        // The address leads to the new primary by now.
        assert.equal(await provider.renew(lease, soon()), "lost");
        await win(provider, "group");
        await until("nothing of the old connections is left", () => proxy.open() === 1);
      } finally {
        await admin.call("replicaof", "no", "one");
      }
    } finally {
      await next.stop();
    }
  });
}
