/** A release is told by the file, and not by the next look at it. */

import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
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

test("watch() yields when the log was written to, without waiting for its next look", async (t) => {
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
