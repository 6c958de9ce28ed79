/** Listing groups among many keys of others. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { redisProvider } from "../../../providers/redis.ts";
import { backend } from "../../servers/backend.ts";
import { startRedis } from "../../servers/redis.ts";
import { administrator, LONG, soon, until, win } from "./stage.ts";

const FOREIGN_KEYS = 1_000_000;

if (backend("redis") !== null) {
  test(`groups() among ${FOREIGN_KEYS} foreign keys holds up no heartbeat, and ends when it is aborted`, LONG, among);
}

async function among(): Promise<void> {
  const redis = await startRedis({ args: ["--enable-debug-command", "yes", "--appendonly", "no"] });
  const admin = administrator(redis.url);
  try {
    await admin.call("debug", "populate", FOREIGN_KEYS, "session", 16);
    await using provider = redisProvider({ url: redis.url });
    const leases = await Promise.all(["a", "b", "c"].map((group) => win(provider, group)));
    const connections = async () => (String(await admin.call("client", "list")).match(/^id=/gm) ?? []).length;
    const before = await connections();

    const start = performance.now();
    let isDone = false;
    const listed = provider.groups?.(soon(60_000)).finally(() => isDone = true);
    const waits: number[] = [];
    while (!isDone) {
      const sentAt = performance.now();
      for (const lease of leases) assert.equal(await provider.renew(lease, soon()), "renewed");
      waits.push(performance.now() - sentAt);
    }
    assert.deepEqual((await listed)?.sort(), ["a", "b", "c"]);
    const took = performance.now() - start;
    assert.ok(waits.length > 10, `${waits.length} heartbeats came through in ${took} ms`);
    assert.ok(Math.max(...waits) < took / 2, `one waited ${Math.max(...waits)} ms of ${took}`);

    const giveUp = new AbortController();
    const aborted = provider.groups?.({ signal: giveUp.signal });
    setTimeout(() => giveUp.abort(new Error("enough")), 20);
    await assert.rejects(aborted ?? Promise.resolve(), /enough/);
    await until("its connection is closed", async () => await connections() === before);
    const scans = async () => Number(/cmdstat_scan:calls=(\d+)/.exec(await admin.info("commandstats"))?.[1]);
    const seen = await scans();
    await new Promise((resolve) => setTimeout(resolve, 100));
    assert.equal(await scans(), seen, "nothing goes on for a caller who has gone");
  } finally {
    admin.disconnect();
    await redis.stop();
  }
}
