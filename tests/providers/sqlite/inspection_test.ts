/** What the provider says of its database. */

import assert from "node:assert/strict";
import { mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { DatabaseSync } from "node:sqlite";
import { test } from "node:test";
import { sqliteProvider } from "../../../providers/sqlite.ts";
import { request, soon, win } from "../asking.ts";

test("inspect() tells the version, the modes that decide what survives, and the place; it makes no file", async () => {
  const directory = await mkdtemp(join(tmpdir(), "elect-sqlite-"));
  try {
    const path = join(directory, "elections.db");
    const inspect = async () => {
      await using provider = sqliteProvider({ path });
      return await provider.inspect?.(soon()) ?? { version: "", findings: [] };
    };
    const none = await inspect();
    assert.equal(none.version, null);
    assert.deepEqual(none.findings.map(({ about }) => about), ["file system", "free space", "permissions"]);
    assert.deepEqual(await readdir(directory), []);
    {
      await using provider = sqliteProvider({ path });
      await win(provider, request("g"));
    }
    const { version, findings } = await inspect();
    assert.match(version ?? "", /^SQLite 3\.\d+/);
    assert.deepEqual(findings.slice(0, 2).map(({ about, level }) => `${about}: ${level}`), [
      "journal_mode: ok",
      "synchronous: ok",
    ]);
    const other = new DatabaseSync(path);
    other.exec("PRAGMA journal_mode = DELETE");
    other.close();
    const [journal] = (await inspect()).findings;
    assert.deepEqual([journal?.about, journal?.level], ["journal_mode", "warning"]);
    const again = new DatabaseSync(path);
    again.exec(journal?.remedy ?? "");
    again.close();
    assert.equal((await inspect()).findings[0]?.level, "ok");
  } finally {
    await rm(directory, { recursive: true });
  }
});
