/** What the provider says of servers that are set up in different ways. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { redisProvider } from "../../../providers/redis.ts";
import type { Finding, Inspection } from "../../../src/provider.ts";
import { backend } from "../../servers/backend.ts";
import { startRedis } from "../../servers/redis.ts";
import { administrator, soon } from "./stage.ts";
import { until } from "../../until.ts";

if (backend("redis") !== null) {
  test("inspect() says what a server could forget, and what to do about it", async () => {
    const careless = await startRedis({ args: ["--appendonly", "no"] });
    const hasty = await startRedis({ args: ["--appendfsync", "everysec"] });
    const port = new URL(hasty.url).port;
    const replica = await startRedis({ args: ["--replicaof", "127.0.0.1", port] });
    const careful = await startRedis();
    const admin = administrator(careful.url);
    try {
      assert.equal(levelOf(await inspect(careless.url), "appendonly"), "warning");
      await until("a replica", async () => levelOf(await inspect(hasty.url), "replicas") === "warning");
      const late = await inspect(hasty.url);
      assert.match(late.version ?? "", /^(Redis|Valkey) \d+\.\d+/);
      assert.equal(levelOf(late, "appendfsync"), "warning");
      assert.ok(late.findings.every(({ level, remedy }) => level === "ok" || remedy !== undefined));
      const good = await inspect(careful.url);
      assert.deepEqual(good.findings.map(({ level }) => level), ["ok", "ok", "ok", "ok"]);
      await admin.call("ACL", "SETUSER", "narrow", "on", ">narrow-secret", "~*", "&*", "+@all", "-info", "-config");
      const narrow = await inspect(careful.url.replace("//", "//narrow:narrow-secret@"));
      assert.deepEqual([narrow.version, levelOf(narrow, "INFO")], [null, "warning"]);
      await admin.call("CONFIG", "SET", "maxmemory", "100mb", "maxmemory-policy", "allkeys-lru");
      assert.equal(levelOf(await inspect(careful.url), "maxmemory-policy"), "error");
    } finally {
      admin.disconnect();
      for (const server of [replica, careful, hasty, careless]) await server.stop();
    }
  });
}

async function inspect(url: string): Promise<Inspection> {
  const provider = redisProvider({ url });
  try {
    assert.ok(provider.inspect);
    return await provider.inspect(soon());
  } finally {
    await provider[Symbol.asyncDispose]();
  }
}

function levelOf({ findings }: Inspection, about: string): Finding["level"] | undefined {
  return findings.find((each) => each.about === about)?.level;
}
