/** Clients of the user's: whatever they are set to, nothing is sent on them, late or otherwise. */

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { Cluster, Redis } from "ioredis";
import ioredis from "ioredis";
import { type RedisClient, redisProvider } from "../../../providers/redis.ts";
import type { Provider } from "../../../src/provider.ts";
import { backend } from "../../servers/backend.ts";
import { startRedis } from "../../servers/redis.ts";
import { administrator, delay, LONG, request, soon, startProxy, win } from "./stage.ts";
import { until } from "../../until.ts";

/** What people set, each alone. */
const OPTIONS: readonly object[] = [
  ...[{}, { autoResendUnfulfilledCommands: false }, { enableOfflineQueue: false }, { lazyConnect: true }],
  ...[{ stringNumbers: true }, { enableAutoPipelining: true }, { showFriendlyErrorStack: true }, { readOnly: true }],
  ...[{ replyMapping: "resp3" }, { protocol: 2 }, { commandTimeout: 5_000 }, { maxRetriesPerRequest: null }],
  ...[{ retryStrategy: null }, { reconnectOnError: () => 2 }, { connectionName: "app" }, { noDelay: false }],
];

const server = backend("redis");
if (server !== null) testServer(server.url);

function testServer(url: string): void {
  const admin = administrator(url);
  const clients: { disconnect(): void }[] = [];
  const opened: Provider[] = [];
  after(async () => {
    admin.disconnect();
    for (const client of clients) client.disconnect();
    for (const provider of opened) await provider[Symbol.asyncDispose]();
  });

  function borrow(options: object = {}, at = url): Redis {
    const client = new Redis(at, options as never);
    client.on("error", () => {});
    clients.push(client);
    return client;
  }

  function open(client: RedisClient, prefix = `own-${crypto.randomUUID()}:`): Provider {
    const provider = redisProvider({ client, prefix });
    opened.push(provider);
    return provider;
  }

  for (const options of OPTIONS) {
    test(`redisProvider() elects with a client of ${JSON.stringify(options)}, and leaves it as it is`, async () => {
      const client = borrow(options);
      const { status } = client;
      if (status !== "wait") await until("it is ready", () => client.status === "ready");
      const listeners = () => client.eventNames().map((name) => `${String(name)} ${client.listenerCount(name)}`).sort();
      const [before, sent] = [listeners(), client.call];
      client.call = () => assert.fail("nothing may be sent on a client of the user's");
      for (let i = 0; i < 3; i++) {
        const provider = open(client);
        const lease = await win(provider, "group");
        assert.equal(await provider.renew(lease, { ...soon(), metadata: { a: "b" } }), "renewed");
        const answer = await provider.acquire(request("group"), soon());
        assert.ok(!answer.acquired && answer.leader?.token === lease.token);
        assert.deepEqual(await provider.groups?.(soon()), ["group"]);
        const hints = provider.watch?.("group", soon())[Symbol.asyncIterator]();
        await hints?.next();
        assert.equal(await provider.release(lease, soon()), "released");
        await hints?.next();
        assert.deepEqual(listeners(), before);
        await provider[Symbol.asyncDispose]();
      }
      client.call = sent;
      assert.deepEqual(listeners(), before);
      if (status === "wait") assert.equal(client.status, "wait", "what is not connected stays so");
      else assert.equal(client.status, "ready");
    });
  }

  test("transformers that somebody registered with the driver change nothing", async () => {
    const { Command } = ioredis as unknown as { Command: typeof import("ioredis").Command };
    const transformed = ["evalsha", "eval", "hmget", "select"];
    for (const name of transformed) {
      Command.setReplyTransformer(name, () => "transformed");
      Command.setArgumentTransformer(name, () => []);
    }
    try {
      const provider = open(borrow());
      const lease = await win(provider, "group");
      assert.equal(await provider.renew(lease, soon()), "renewed");
    } finally {
      for (const name of transformed) {
        Command.setReplyTransformer(name, (value: unknown) => value);
        Command.setArgumentTransformer(name, (args: unknown[]) => args as never);
      }
    }
  });

  test("redisProvider() takes database, credentials and socket from a client", LONG, async () => {
    const directory = await (await import("../../servers/process.ts")).temporaryDirectory("redis-socket");
    const path = `${directory}/redis.sock`;
    const redis = await startRedis({ args: ["--requirepass", "s3cret", "--unixsocket", path] });
    try {
      const { port } = new URL(redis.url);
      for (const where of [{ host: "127.0.0.1", port: Number(port) }, { path }]) {
        const client = new Redis({ ...where, password: "s3cret", db: 5, lazyConnect: true });
        const provider = open(client, "socket:");
        await provider.healthCheck(soon());
        const lease = await win(provider, "group");
        // Whatever its owner selects meanwhile.
        await client.select(3);
        assert.equal(await client.exists("socket:{group}"), 0);
        await client.select(5);
        assert.equal(await client.exists("socket:{group}"), 1);
        assert.equal(await provider.release(lease, soon()), "released");
        client.disconnect();
      }
    } finally {
      await redis.stop();
    }
  });

  test("redisProvider() refuses a client that would look for leases elsewhere, or is none", () => {
    const refused: [unknown, RegExp][] = [
      [borrow({ lazyConnect: true, keyPrefix: "x:" }), /keyPrefix/],
      [new Cluster([], { lazyConnect: true, keyPrefix: "x:" }), /keyPrefix/],
      [new Cluster([], { lazyConnect: true, redisOptions: { keyPrefix: "x:" } }), /keyPrefix/],
      [new Cluster([], { lazyConnect: true, useSRVRecords: true }), /useSRVRecords/],
      [borrow({ lazyConnect: true, sentinels: [{ host: "h" }], name: "m", role: "slave" }), /role/],
      [{}, /Redis or a Cluster of ioredis/],
      [null, /./],
      [{ call() {}, duplicate() {} }, /Redis or a Cluster of ioredis/],
    ];
    for (const [client, why] of refused) assert.throws(() => redisProvider({ client: client as RedisClient }), why);
    const client = borrow({ lazyConnect: true });
    assert.throws(() => redisProvider({ client, url }), /url and tls are not for it/);
    assert.throws(() => redisProvider({ client, tls: {} }), /url and tls are not for it/);
  });

  for (const close of ["quit", "disconnect"] as const) {
    test(
      `a client whose owner has called ${close}() is not opened again, and nothing is in its name`,
      LONG,
      async () => {
        const redis = await startRedis();
        const observer = administrator(redis.url);
        try {
          const client = borrow({}, redis.url);
          const provider = open(client);
          const lease = await win(provider, "group", { heartbeatTimeout: 1_000 });
          const hints = provider.watch?.("group", soon(60_000))[Symbol.asyncIterator]();
          await hints?.next();
          const broken = hints?.next().then(() => "a hint", () => "broken");
          await client[close]();
          await until("it has ended", () => client.status === "end");
          await assert.rejects(provider.renew(lease, soon()), /closed by its owner/);
          await assert.rejects(provider.release(lease, soon()), /closed by its owner/);
          assert.equal(await broken, "broken");
          assert.equal(client.status, "end");
          const others = async () => (String(await observer.call("client", "list")).match(/^id=/gm) ?? []).length;
          await until("no connection is left but ours", async () => await others() === 1);
        } finally {
          observer.disconnect();
          await redis.stop();
        }
      },
    );
  }

  for (const options of [{}, { autoResendUnfulfilledCommands: false, retryStrategy: () => 100 }]) {
    test(`no call that was given up is sent later, with a client of ${JSON.stringify(options)}`, LONG, async () => {
      await using proxy = await startProxy(url);
      const prefix = `late-${crypto.randomUUID()}:`;
      const provider = open(borrow(options, proxy.url), prefix);
      await provider.read("group", soon());
      // Nothing of it reaches the server, and then the connection is reset.
      proxy.silence();
      await assert.rejects(provider.acquire(request("group"), soon(200)));
      proxy.cut();
      // Nor is it sent in the moment when the connection has ended and nobody knows.
      const calls = Array.from({ length: 50 }, () => provider.acquire(request("group", { termId: "late" }), soon(1)));
      await Promise.allSettled(calls);
      await delay(1_000);
      const termId = await admin.hget(`${prefix}{group}`, "termId");
      assert.ok(termId === null || termId === "late", "what was given up before the reset must not be sent after it");
      assert.equal(await admin.exists(`${prefix}{group}`), termId === null ? 0 : 1);
    });
  }
}
