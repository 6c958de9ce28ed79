/** Listing groups among many keys of others. */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Redis } from "ioredis";
import { redisProvider } from "../../../providers/redis.ts";
import { backend } from "../../servers/backend.ts";
import { startRedis } from "../../servers/redis.ts";
import { administrator, LONG, soon, win } from "./stage.ts";
import { until } from "../../until.ts";

const FOREIGN_KEYS = 1_000_000;
const GROUPS = 50_000;

if (backend("redis") !== null) {
  test(`groups() is quick among ${FOREIGN_KEYS} foreign keys`, LONG, quick);
  test(
    `groups() holds up no heartbeat, and ends when it is aborted: by a set of ${GROUPS}, and in a cluster`,
    LONG,
    patient,
  );
}

async function quick(): Promise<void> {
  const redis = await startRedis({ args: ["--enable-debug-command", "yes", "--appendonly", "no"] });
  const admin = administrator(redis.url);
  try {
    await admin.call("debug", "populate", FOREIGN_KEYS, "session", 16);
    await using provider = redisProvider({ url: redis.url });
    await using other = redisProvider({ url: redis.url, prefix: "other:" });
    await win(other, "d");
    const leases = await Promise.all(["a", "b", "c"].map((group) => win(provider, group)));
    const before = await commands(admin);
    assert.deepEqual((await provider.groups?.(soon()))?.sort(), ["a", "b", "c"]);
    assert.ok(await commands(admin) - before < 5, "as many questions as there are groups, and not keys");
    // A group stays known, for its token does.
    for (const lease of leases) await provider.release(lease, soon());
    assert.deepEqual((await provider.groups?.(soon()))?.sort(), ["a", "b", "c"]);
    assert.deepEqual(await other.groups?.(soon()), ["d"]);
    // What is in the way of the list is in the way of nothing else.
    await admin.set("foreign:groups", "theirs");
    await using third = redisProvider({ url: redis.url, prefix: "foreign:" });
    await win(third, "e");
    await assert.rejects(third.groups?.(soon()) ?? Promise.resolve(), /WRONGTYPE/);
  } finally {
    admin.disconnect();
    await redis.stop();
  }
}

async function commands(admin: Redis): Promise<number> {
  return Number(/total_commands_processed:(\d+)/.exec(await admin.info("stats"))?.[1]);
}

async function patient(): Promise<void> {
  for (const isCluster of [false, true]) {
    const args = ["--enable-debug-command", "yes", "--appendonly", "no"];
    if (isCluster) args.push("--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1");
    const redis = await startRedis({ args });
    const admin = administrator(redis.url);
    try {
      if (isCluster) {
        await admin.call("cluster", "addslotsrange", 0, 16_383);
        await until("it is well", async () => /cluster_state:ok/.test(String(await admin.call("cluster", "info"))));
        await admin.call("debug", "populate", FOREIGN_KEYS, "session", 16);
      } else {
        const fill = "for i = 1, ARGV[1] do redis.call('SADD', KEYS[1], 'group-' .. i) end";
        await admin.eval(fill, 1, "multilock:groups", GROUPS);
      }
      await checkPatience(isCluster ? redis.url.replace("redis:", "redis+cluster:") : redis.url, admin, isCluster);
    } finally {
      admin.disconnect();
      await redis.stop();
    }
  }
}

async function checkPatience(url: string, admin: Redis, isCluster: boolean): Promise<void> {
  await using provider = redisProvider({ url });
  const leases = await Promise.all(["a", "b", "c"].map((group) => win(provider, group)));
  const connections = async () => (String(await admin.call("client", "list")).match(/^id=/gm) ?? []).length;
  const before = await connections();
  let isDone = false;
  let beats = 0;
  const listed = provider.groups?.(soon(60_000)).finally(() => isDone = true);
  while (!isDone) {
    assert.equal(await provider.renew(leases[beats++ % 3] ?? assert.fail(), soon()), "renewed");
  }
  assert.equal((await listed)?.length, isCluster ? 3 : GROUPS + 3);
  // One and the next: a list that held up the connection would let one through, sent before it.
  assert.ok(beats >= 2, `only ${beats} heartbeats came through`);

  const giveUp = new AbortController();
  const aborted = provider.groups?.({ signal: giveUp.signal });
  setTimeout(() => giveUp.abort(new Error("enough")), 5);
  await assert.rejects(aborted ?? Promise.resolve(), /enough/);
  await until("its connection is closed", async () => await connections() === before);
  const seen = await commands(admin);
  await new Promise((resolve) => setTimeout(resolve, 100));
  assert.ok(await commands(admin) - seen <= 2, "nothing goes on for a caller who has gone");
}
