/** A real cluster of three: slots that move, nodes that die, and clients of the user's. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Cluster } from "ioredis";
import { type RedisOptions, redisProvider } from "../../../providers/redis.ts";
import { slotOf } from "../../../providers/redis/slots.ts";
import type { Provider } from "../../../src/provider.ts";
import { openProvider } from "../../../src/registry.ts";
import { backend } from "../../servers/backend.ts";
import { type RedisCluster, startRedisCluster } from "../../servers/redis_cluster.ts";
import { delay, LONG, request, soon, win } from "./stage.ts";
import { until } from "../../until.ts";

test("slotOf() is what Redis computes", () => {
  // From the specification, and `CLUSTER KEYSLOT`.
  const slots = { "123456789": 12_739, "multilock:{g}": slotOf("g"), "{user1000}.following": slotOf("user1000") };
  for (const [key, slot] of Object.entries(slots)) assert.equal(slotOf(key), slot, key);
  assert.equal(slotOf("foo{}{bar}"), 8_363);
  assert.equal(slotOf("foo{{bar}}zap"), slotOf("{bar"));
  assert.equal(slotOf("foo{bar}{zap}"), slotOf("bar"));
});

if (backend("redis") !== null) {
  test("elections on a cluster of three, by URL and by an injected client", LONG, () => onCluster({}, elects));
  test("elections follow a slot that moves, and one that is on its way", LONG, () => onCluster({}, slotsMove));
  test("nothing is sent late to a cluster", LONG, () => onCluster({ primaries: 2 }, nothingLate));
  test(
    "a primary of a cluster that goes silent is left within a lease",
    LONG,
    () => onCluster({ replicas: true }, silent),
  );
  test(
    "a client of a cluster that its owner has closed is not opened again",
    LONG,
    () => onCluster({ primaries: 1 }, over),
  );
}

interface Cast {
  readonly cluster: RedisCluster;
  readonly url: string;
  open(options?: RedisOptions): Provider;
  borrow(options?: object): Cluster;
}

async function onCluster(
  setup: Parameters<typeof startRedisCluster>[0],
  work: (cast: Cast) => Promise<void>,
): Promise<void> {
  const cluster = await startRedisCluster(setup);
  const url = `redis+cluster://${cluster.ports.map((port) => `127.0.0.1:${port}`).join()}`;
  const opened: Provider[] = [];
  const clients: Cluster[] = [];
  try {
    await work({
      cluster,
      url,
      open(options = { url }) {
        const provider = redisProvider(options);
        opened.push(provider);
        return provider;
      },
      borrow(options = {}) {
        const nodes = cluster.ports.map((port) => ({ host: "127.0.0.1", port }));
        const client = new Cluster(nodes, { lazyConnect: true, ...options });
        client.on("error", () => {});
        clients.push(client);
        return client;
      },
    });
  } finally {
    for (const client of clients) client.disconnect();
    for (const provider of opened) await provider[Symbol.asyncDispose]();
    await cluster.stop();
  }
}

async function elects({ cluster, url, open, borrow }: Cast): Promise<void> {
  const options = { scaleReads: "slave", redisOptions: { stringNumbers: true, readOnly: true } };
  // One seed is enough.
  const [seed = ""] = url.split(",");
  for (const provider of [open({ url: seed }), open({ client: borrow() }), open({ client: borrow(options) })]) {
    await provider.healthCheck(soon());
    const hints = provider.watch?.("group-0", soon(60_000))[Symbol.asyncIterator]();
    await hints?.next();
    const leases = await Promise.all(Array.from({ length: 30 }, (_, i) => win(provider, `group-${i}`)));
    assert.equal((await provider.groups?.(soon()))?.length, 30);
    for (const lease of leases) {
      assert.equal(await provider.renew(lease, soon()), "renewed");
      assert.equal((await provider.read(lease.electionGroup, soon()))?.token, lease.token);
      assert.equal((await provider.acquire(request(lease.electionGroup), soon())).acquired, false);
    }
    for (const lease of leases) assert.equal(await provider.release(lease, soon()), "released");
    await hints?.next();
    await hints?.return?.();
  }
  const registered = await openProvider(url);
  await registered.healthCheck(soon());
  await registered[Symbol.asyncDispose]();
  // Rights are each node's own.
  await cluster.cli(1, "acl", "setuser", "default", "-hset");
  await assert.rejects(open().healthCheck(soon()), new RegExp(`HSET.*127\\.0\\.0\\.1:${cluster.ports[1]}`));
  // A server of a cluster is no server by itself.
  const alone = redisProvider({ url: `redis://127.0.0.1:${cluster.ports[2]}` });
  const foreign = Array.from({ length: 10 }, (_, i) => `group-${i}`).find((group) => slotOf(`{${group}}`) < 8_000) ??
    "";
  await assert.rejects(alone.acquire(request(foreign), soon()), /redis\+cluster:/);
  await assert.rejects(alone.read(foreign, soon()), /redis\+cluster:/);
  // Behind an address that stands for all of it, it is one: what is in one slot works.
  const own = Array.from({ length: 99 }, (_, i) => `alone-${i}`).find((group) => slotOf(`{${group}}`) > 12_000) ?? "";
  await win(alone, own);
  assert.ok((await alone.groups?.(soon()))?.includes(own));
  await alone[Symbol.asyncDispose]();
}

async function slotsMove({ cluster, open }: Cast): Promise<void> {
  const { cli } = cluster;
  const provider = open();
  const lease = await win(provider, "g");
  const slot = slotOf("{g}");
  const ids = await Promise.all([0, 1, 2].map(async (node) => (await cli(node, "cluster", "myid")).trim()));
  const from = Math.floor(slot * 3 / 16_384);
  const to = (from + 1) % 3;
  await cli(to, "cluster", "setslot", String(slot), "importing", ids[from] ?? "");
  await cli(from, "cluster", "setslot", String(slot), "migrating", ids[to] ?? "");
  assert.equal(await provider.renew(lease, soon()), "renewed");
  for (const key of ["multilock:{g}", "multilock:{g}:token"]) {
    await cli(from, "migrate", "127.0.0.1", String(cluster.ports[to]), key, "0", "5000");
  }
  // It has gone ahead of its slot: the old server says so, and only to those who ask after it.
  assert.equal(await provider.renew(lease, soon()), "renewed");
  assert.equal((await provider.read("g", soon()))?.token, lease.token);
  assert.equal((await provider.acquire(request("g", { termId: lease.termId }), soon())).acquired, true);
  for (const node of [to, from]) await cli(node, "cluster", "setslot", String(slot), "node", ids[to] ?? "");
  assert.equal(await provider.renew(lease, soon()), "renewed");
  assert.equal(await provider.release(lease, soon()), "released");
  await win(provider, "g");
}

async function nothingLate({ cluster, open, borrow }: Cast): Promise<void> {
  const { cli } = cluster;
  const slot = String(slotOf("{g}"));
  for (const redisOptions of [{}, { autoResendUnfulfilledCommands: false }]) {
    for (const provider of [open(), open({ client: borrow({ redisOptions }) })]) {
      // The servers learn the scripts.
      for (let i = 0; i < 8; i++) await provider.release(await win(provider, `known-${i}`), soon());
      const owner = Math.floor(Number(slot) * 2 / 16_384);
      for (const node of [0, 1]) await cli(node, "cluster", "delslots", slot).catch(() => {});
      await assert.rejects(provider.acquire(request("g"), soon(300)));
      await cli(owner, "cluster", "addslots", slot);
      await until("the slot is served", () => provider.read("g", soon()).then(() => true, () => false));
      await delay(1_000);
      assert.equal(await provider.read("g", soon()), null, "who has gone must not get the lease");
    }
  }
}

async function silent({ cluster, open }: Cast): Promise<void> {
  const provider = open();
  const node = Math.floor(slotOf("{g}") * 3 / 16_384);
  const lease = await win(provider, "g", { heartbeatTimeout: 9_000 });
  // The replica has it, too.
  await cluster.cli(node, "wait", "1", "5000");
  await delay(500);
  await cluster.nodes[node]?.freeze();
  const start = performance.now();
  let failed = 0;
  await until("it is renewed elsewhere", async () => {
    const answer = await provider.renew(lease, soon(3_000)).catch(() => "failed");
    if (answer === "failed") failed++;
    assert.notEqual(answer, "lost", `after ${performance.now() - start} ms`);
    return answer === "renewed";
  }, 30_000);
  assert.ok(failed > 0);
  assert.ok(performance.now() - start < 9_000, `it took ${performance.now() - start} ms`);
}

async function over({ open, borrow }: Cast): Promise<void> {
  const client = borrow({ lazyConnect: false });
  await until("it is ready", () => client.status === "ready");
  const provider = open({ client });
  const lease = await win(provider, "g");
  client.disconnect();
  await until("it has ended", () => client.status === "end");
  await assert.rejects(provider.renew(lease, soon()), /closed by its owner/);
  assert.equal(client.status, "end");
}
