/** What the provider makes of SQL Server's settings: on a scripted server, for want of a real one. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { sqlserverProvider } from "../../providers/sqlserver.ts";
import { buildStatements } from "../../providers/sqlserver/statements.ts";
import type { Inspection } from "../../src/provider.ts";
import { soon } from "./asking.ts";
import { startTdsServer } from "./sqlserver/tds_server.ts";

const SOUND = {
  ...{ version: "16.0.4105.2", "may_select": 1n, "may_insert": 1n, "may_update": 1n, "user_name": "a]pp" },
  ...{ updateability: "READ_WRITE", durability: "DISABLED", "has_group": 0n },
};

async function inspect(changes: Partial<Record<keyof typeof SOUND, string | bigint>>): Promise<Inspection> {
  const server = await startTdsServer([{ ...SOUND, ...changes }]);
  const provider = sqlserverProvider({ url: `sqlserver://me:secret@127.0.0.1:${server.port}/d?encrypt=false` });
  try {
    assert.ok(provider.inspect);
    const inspection = await provider.inspect(soon());
    assert.equal(server.requests(), 1);
    assert.ok(inspection.findings.every(({ level, remedy }) => level === "ok" || remedy !== undefined));
    return inspection;
  } finally {
    await provider[Symbol.asyncDispose]();
    server.close();
  }
}

const unsound = ({ findings }: Inspection) => findings.filter(({ level }) => level !== "ok");

test("inspect() tells the version, each right, and what a crash or a failover could forget", async () => {
  const sound = await inspect({});
  assert.equal(sound.version, "SQL Server 16.0.4105.2");
  assert.deepEqual(sound.findings.map(({ about }) => about), [
    ...["privilege SELECT", "privilege INSERT", "privilege UPDATE"],
    ...["updateability", "delayed durability", "availability group"],
  ]);
  assert.deepEqual(unsound(sound), []);
  assert.deepEqual(unsound(await inspect({ "may_update": 0n })), [{
    about: "privilege UPDATE",
    level: "error",
    text: "a]pp lacks it on [dbo].[multilock_leases]",
    remedy: "GRANT UPDATE ON [dbo].[multilock_leases] TO [a]]pp]",
  }]);
  for (
    const [changes, about, level] of [
      [{ updateability: "READ_ONLY" }, "updateability", "error"],
      [{ durability: "FORCED" }, "delayed durability", "warning"],
      [{ "has_group": 1n }, "availability group", "warning"],
    ] as const
  ) {
    assert.deepEqual(unsound(await inspect(changes)).map((each) => [each.about, each.level]), [[about, level]]);
  }
  assert.deepEqual(unsound(await inspect({ durability: "ALLOWED" })), []);
});

test("the question about rights has the table as a text, whatever is in its name", () => {
  assert.match(buildStatements("it's", "t").inspect, /HAS_PERMS_BY_NAME\(N'\[it''s\]\.\[t\]', N'OBJECT', N'SELECT'\)/);
});
