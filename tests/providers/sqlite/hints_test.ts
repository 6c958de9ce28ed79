/** A release is told by the file, and not by the next look at it; and a watch costs no lock. */

import assert from "node:assert/strict";
import { mkdtemp, readFile, rm, utimes } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { sqliteProvider } from "../../../providers/sqlite.ts";
import { type Clock, sleep, systemClock } from "../../../src/time/clock.ts";
import { until } from "../../until.ts";
import { request, soon, win } from "../asking.ts";

/** A clock by which nobody looks again and again. */
const TICKLESS: Clock = {
  ...{ monotonic: systemClock.monotonic, wall: systemClock.wall },
  setTimer: (callback, ms) => systemClock.setTimer(callback, ms === 100 ? 1e9 : ms),
};

// On Deno there is no watch of the log: see below.
const skip = "Deno" in globalThis;

test("watch() yields when the log was written to, without waiting for its next look", { skip }, async (t) => {
  const directory = await mkdtemp(join(tmpdir(), "elect-sqlite-"));
  t.after(() => rm(directory, { recursive: true }));
  const path = join(directory, "elections.db");
  await using leader = sqliteProvider({ path });
  await using follower = sqliteProvider({ path, clock: TICKLESS });
  const lease = await win(leader, request());
  const listening = new AbortController();
  let hints = 0;
  const watching = (async () => {
    for await (const _ of follower.watch?.("g", listening) ?? []) hints++;
  })();
  await until("it is live", () => hints > 0);
  const before = hints;
  // A heartbeat changes nothing that is worth a look.
  for (let i = 0; i < 3; i++) assert.equal(await leader.renew(lease, soon()), "renewed");
  await sleep(systemClock, 200);
  assert.equal(hints, before);
  assert.equal(await leader.release(lease, soon()), "released");
  await until("the release is told", () => hints > before);
  listening.abort();
  await watching;
});

test("watch(), healthCheck() and inspect() leave the locks of their process on the database as they are", async (t) => {
  const directory = await mkdtemp(join(tmpdir(), "elect-sqlite-"));
  t.after(() => rm(directory, { recursive: true }));
  const path = join(directory, "elections.db");
  await using provider = sqliteProvider({ path });
  const another = sqliteProvider({ path });
  const lease = await win(provider, request());
  const listening = new AbortController();
  let hints = 0;
  const watching = (async () => {
    for await (const _ of provider.watch?.("g", listening) ?? []) hints++;
  })();
  await until("it is live", () => hints > 0);
  const locks = async () => {
    const all = (await readFile("/proc/locks", "utf8")).split("\n");
    return all.filter((line) => line.includes(` ${process.pid} `)).map((line) => line.replace(/^\d+: /, "")).sort();
  };
  const before = await locks();
  assert.ok(before.length > 1, "SQLite keeps a lock on the file, and one beside it");
  for (let i = 0; i < 5; i++) {
    assert.equal(await provider.renew(lease, soon()), "renewed");
    // As if another process had changed them. By their names: to open them here would end the locks.
    for (const end of ["", "-wal", "-shm"]) await utimes(path + end, new Date(), new Date());
    await sleep(systemClock, 60);
  }
  await provider.healthCheck(soon());
  await provider.inspect?.(soon());
  // One that looks at the file for the first time, and closes it.
  await another.inspect?.(soon());
  await another[Symbol.asyncDispose]();
  assert.deepEqual(await locks(), before);
  listening.abort();
  await watching;
});
