/** Leases in a SQLite database on a disk that has no room, and gets some again. */

import assert from "node:assert/strict";
import { mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { sqliteProvider } from "../../../providers/sqlite.ts";
import { ProviderError } from "../../../src/errors.ts";
import { lose, request, soon, win } from "../asking.ts";
import { mounted } from "../mounted.ts";

test("acquire(), renew() and release() say that the disk is full, and nothing is lost when it has room again", async (t) => {
  const parent = await mkdtemp(join(tmpdir(), "elect-sqlite-"));
  try {
    const disk = await mounted(t, join(parent, "disk"), "size=512k,mode=700");
    if (disk === null) return;
    try {
      await fill(disk.directory);
    } finally {
      disk.done();
    }
  } finally {
    await rm(parent, { recursive: true });
  }
});

async function fill(directory: string): Promise<void> {
  const [path, ballast] = [join(directory, "elections.db"), join(directory, "ballast")];
  await using leader = sqliteProvider({ path });
  await using follower = sqliteProvider({ path });
  await using newcomer = sqliteProvider({ path: join(directory, "new.db") });
  const asked = request("led", { heartbeatTimeout: 600_000, metadata: { a: "1" } });
  const lease = await win(leader, asked);
  await lose(follower, request("led"));
  await writeFile(ballast, "x".repeat(1024 * 1024)).catch(() => {});
  const files = (await readdir(directory)).sort();
  for (let i = 0; i < 3; i++) {
    for (
      const call of [
        () => leader.renew(lease, { ...soon(), metadata: { a: "2" } }),
        () => leader.acquire(asked, soon()),
        () => leader.release(lease, soon()),
        () => follower.acquire(request("g"), soon()),
        () => newcomer.acquire(request("g"), soon()),
      ]
    ) {
      // Not for good: a disk gets room again, and until then elections go on asking.
      await assert.rejects(call, (error) => {
        return error instanceof ProviderError && /disk is full/.test(error.message) && !error.permanent;
      });
    }
    // Looks need no room.
    await lose(follower, request("led"));
    assert.deepEqual((await follower.read("led", soon()))?.metadata, { a: "1" });
    assert.equal(await follower.read("g", soon()), null);
  }
  assert.deepEqual((await readdir(directory)).sort(), files, "no part of a new database stays");
  await rm(ballast);
  assert.equal(await leader.renew(lease, { ...soon(), metadata: { a: "2" } }), "renewed");
  assert.deepEqual((await follower.read("led", soon()))?.metadata, { a: "2" });
  assert.deepEqual(await win(leader, asked), lease);
  for (const provider of [follower, newcomer]) assert.equal((await win(provider, request("g"))).token, 1n);
  assert.equal(await leader.release(lease, soon()), "released");
  assert.equal((await win(follower, request("led"))).token, 2n);
}
