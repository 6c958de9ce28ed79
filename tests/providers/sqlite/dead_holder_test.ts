/** Leases whose holders have died. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm, symlink } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { DatabaseSync } from "node:sqlite";
import { after, test } from "node:test";
import { fileURLToPath } from "node:url";
import { type Holder, ownHolder, type Processes } from "../../../providers/kit/host_process.ts";
import { sqliteProvider } from "../../../providers/sqlite.ts";
import { SqliteProvider } from "../../../providers/sqlite/provider.ts";
import { systemClock } from "../../../src/time/clock.ts";
import { VirtualClock } from "../../../testing/virtual_clock.ts";
import { until } from "../../until.ts";
import { LEASE_MS, lose, request, soon, win } from "../asking.ts";

const parent = await mkdtemp(join(tmpdir(), "elect-sqlite-dead-"));
after(() => rm(parent, { recursive: true, force: true }));
const newPath = () => join(parent, `${crypto.randomUUID()}.db`);

/** Processes that die when a test says so; each provider has a name as its process. */
function processes(pid: number, dead: Set<number>, host = "here"): Processes {
  const holder = (pid: number): Holder => ({ host, pid, startTime: "1" });
  return {
    identify: (others) => Promise.resolve([holder(pid), ...others.map(holder)]),
    isDead: (each) => Promise.resolve(each.host === host && dead.has(each.pid)),
  };
}

test("the next leads at once when a process that led is killed", async (t) => {
  if (await ownHolder() === null) return t.skip("no process counts as dead here: no /proc");
  const path = newPath();
  const script = fileURLToPath(new URL("./holder.ts", import.meta.url));
  const args = "Deno" in globalThis ? ["run", "-A", "--no-config", "--no-lock", "--no-check", script] : [script];
  const child = spawn(process.execPath, [...args, path], { stdio: ["ignore", "pipe", "inherit"] });
  await once(child.stdout, "data");
  // By its clock no time passes, so no lease ever expires.
  const time = new VirtualClock();
  await using next = sqliteProvider({ path, clock: { ...time.skewed({}), setTimer: systemClock.setTimer } });
  await lose(next);
  let hints = 0;
  const leaving = new AbortController();
  const watching = (async () => {
    for await (const _ of next.watch?.("g", { signal: leaving.signal }) ?? []) hints++;
  })();
  await until("the watch has begun", () => hints === 1);
  child.kill("SIGKILL");
  await until("the death is a hint", () => hints === 2);
  assert.equal(await next.read("g", soon()), null);
  assert.equal((await win(next)).token, 2n);
  leaving.abort();
  await watching;
});

test("a holder that somebody has edited is nobody's, and only a standstill decides", async () => {
  for (const holders of ["no JSON", "[]", "{}", "[{}]"]) {
    const [path, time] = [newPath(), new VirtualClock()];
    const clock = { ...time.skewed({}), setTimer: systemClock.setTimer };
    await using leader = sqliteProvider({ path, clock });
    await using next = sqliteProvider({ path, clock });
    await win(leader);
    const database = new DatabaseSync(path);
    database.prepare("UPDATE elections SET holders = ?").run(holders);
    database.close();
    await lose(next);
    assert.notEqual(await next.read("g", soon()), null, holders);
  }
});

test("a name that leads nowhere is an error, and no endless search", async () => {
  const path = newPath();
  await symlink(`${path}.nowhere/file.db`, path);
  await using provider = sqliteProvider({ path });
  await assert.rejects(provider.acquire(request("g"), soon()), /leads nowhere|ENOENT/);
});

test("a lease is held while one of the processes that act for it lives", async () => {
  for (const order of [[1, 2], [2, 1]]) {
    const [path, dead, time] = [newPath(), new Set<number>(), new VirtualClock()];
    const as = (pid: number) =>
      new SqliteProvider(path, time, 5_000, { processes: processes(pid, dead), heldBy: () => [2] });
    await using leader = as(1);
    await using next = as(3);
    await win(leader);
    for (const pid of order) {
      await lose(next);
      dead.add(pid);
    }
    assert.equal((await win(next)).token, 2n);
  }
});

test("a term that another process has renewed, or asked for again, is not judged by the death of the first", async () => {
  for (const how of ["renew", "acquire"] as const) {
    const [path, dead, time] = [newPath(), new Set<number>(), new VirtualClock()];
    const as = (pid: number) => new SqliteProvider(path, time, 5_000, { processes: processes(pid, dead) });
    await using leader = as(1);
    await using other = as(2);
    await using next = as(3);
    const asked = request();
    const lease = await win(leader, asked);
    assert.equal(await leader.renew(lease, soon()), "renewed");
    if (how === "renew") assert.equal(await other.renew(lease, soon()), "renewed");
    else await win(other, asked);
    // The first writes again, which does not bring its name back.
    assert.equal(await leader.renew(lease, soon()), "renewed");
    dead.add(1);
    await lose(next);
    assert.equal((await next.read("g", soon()))?.token, 1n);
    time.jump(LEASE_MS * 1.001);
    assert.equal((await win(next)).token, 2n, "only time decides");
  }
});

test("the holder's own renewals keep its name, and its death is noticed", async () => {
  const [path, dead, time] = [newPath(), new Set<number>(), new VirtualClock()];
  const as = (pid: number) => new SqliteProvider(path, time, 5_000, { processes: processes(pid, dead) });
  await using leader = as(1);
  await using next = as(3);
  const asked = request();
  const lease = await win(leader, asked);
  assert.equal(await leader.renew(lease, soon()), "renewed");
  await win(leader, asked);
  await lose(next);
  dead.add(1);
  assert.equal((await win(next)).token, 2n);
  // The next holder has a name of its own, and lives.
  await lose(next);
  await using third = as(4);
  await lose(third);
});

test("a process of another pid namespace is not judged, nor one that could not be named", async () => {
  const dead = new Set([1]);
  for (const nameless of [false, true]) {
    const [path, time] = [newPath(), new VirtualClock()];
    const theirs = processes(1, new Set(), "boot name pid:[1]");
    const named = nameless ? { ...theirs, identify: () => Promise.resolve(null) } : theirs;
    await using leader = new SqliteProvider(path, time, 5_000, { processes: named });
    await using next = new SqliteProvider(path, time, 5_000, { processes: processes(3, dead, "boot name pid:[2]") });
    await win(leader);
    await lose(next);
    await lose(next);
  }
});
