/** Leases in a SQLite database. */

import assert from "node:assert/strict";
import { createHash } from "node:crypto";
import { copyFile, mkdtemp, readdir, readFile, rm, stat, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { DatabaseSync } from "node:sqlite";
import { after, test } from "node:test";
import { pathToFileURL } from "node:url";
import { type SqliteOptions, sqliteProvider } from "../../providers/sqlite.ts";
import { ProviderError } from "../../src/errors.ts";
import { openProvider } from "../../src/registry.ts";
import { sleep, systemClock } from "../../src/time/clock.ts";
import { conformanceCases } from "../../testing/conformance.ts";
import { VirtualClock } from "../../testing/virtual_clock.ts";
import { heldCalls } from "../testing/held_calls.ts";
import { LEASE_MS, lose, request, soon, win } from "./asking.ts";

const parent = await mkdtemp(join(tmpdir(), "elect sqlite \u00fc "));
after(() => rm(parent, { recursive: true, force: true }));

function newPath(): string {
  return join(parent, `${crypto.randomUUID()}.db`);
}

const shared = newPath();
const open = (options?: SqliteOptions) => sqliteProvider({ ...options, path: shared });
const target = { name: "sqlite", open, heartbeatTimeout: 400, detour: heldCalls(open) };
for (const { name, run } of conformanceCases(target)) test(`sqlite: ${name}`, run);

test("a URL names the file, percent-encoded, and its settings; what names none is refused", async () => {
  const path = join(parent, "50% \u65e5\u672c?.db");
  const url = pathToFileURL(path).href.replace("file:", "sqlite:");
  {
    await using provider = await openProvider(`${url}?busyTimeout=200ms`);
    await win(provider, request("g"));
  }
  await using same = sqliteProvider({ path });
  assert.deepEqual(await same.groups?.(soon()), ["g"]);
  for (
    const bad of [
      "sqlite:",
      "sqlite::memory:",
      "sqlite://host/a.db",
      "sqlite:///a#b",
      "sqlite:///%E0%A4%A",
      "sqlite:///",
    ]
  ) {
    assert.throws(() => sqliteProvider({ url: bad }), TypeError, bad);
  }
  assert.throws(() => sqliteProvider({ url: "sqlite:///a.db?busytimeout=1s" }), /did you mean "busyTimeout"/);
  assert.throws(() => sqliteProvider({ path: "/a.db", clok: systemClock } as SqliteOptions), /did you mean "clock"/);
  assert.throws(() => sqliteProvider({}), TypeError);
  assert.throws(() => sqliteProvider({ path: "" }), TypeError);
  assert.throws(() => sqliteProvider({ path: "/a.db", url: "sqlite:///a.db" }), TypeError);
});

test("looking makes no file; acquire() makes one that is complete, and of its user alone", async () => {
  const path = newPath();
  await using provider = sqliteProvider({ path });
  assert.equal(await provider.read("g", soon()), null);
  assert.deepEqual(await provider.groups?.(soon()), []);
  await provider.healthCheck(soon());
  await assert.rejects(stat(path));
  await Promise.all(["a", "b", "c"].map((group) => win(provider, request(group))));
  const names = (await readdir(parent)).filter((name) => join(parent, name).startsWith(path));
  assert.deepEqual(names.filter((name) => !/\.db(-wal|-shm)?$/.test(name)), [], "no draft stays");
  if (process.platform === "win32") return;
  for (const name of names) assert.equal((await stat(join(parent, name))).mode & 0o777, 0o600, name);
});

test("a file that is not ours, or that is broken, is refused, and left as it is, with all that is beside it", async () => {
  const directory = await mkdtemp(join(parent, "foreign-"));
  const at = (name: string) => join(directory, name);
  await writeFile(at("text"), "no database at all\n".repeat(500));
  await writeFile(at("empty"), "");
  const foreign = (name: string, sql: string) => {
    const db = new DatabaseSync(at(name));
    db.exec(`${sql}; CREATE TABLE elections (election_group TEXT); INSERT INTO elections VALUES ('g')`);
    return db;
  };
  foreign("foreign", "PRAGMA journal_mode = DELETE").close();
  // With nothing beside it; with a log, as of a process that was killed; and with a transaction to be rolled back.
  foreign("logged", "PRAGMA journal_mode = WAL").close();
  const killed = foreign("killed", "PRAGMA journal_mode = WAL");
  for (const end of ["", "-wal"]) await copyFile(at(`killed${end}`), at(`left${end}`));
  killed.close();
  const hot = foreign("hot", "PRAGMA journal_mode = DELETE; PRAGMA cache_size = 1");
  hot.exec(`BEGIN; CREATE TABLE t (v); ${"INSERT INTO t VALUES (randomblob(9000)); ".repeat(50)}`);
  for (const end of ["", "-journal"]) await copyFile(at(`hot${end}`), at(`half${end}`));
  hot.close();
  const ours = async (name: string) => {
    await using provider = sqliteProvider({ path: at(name) });
    await win(provider, request("g"));
  };
  await ours("broken");
  await writeFile(at("broken"), (await readFile(at("broken"))).fill(0x55, 100));
  await ours("cut");
  await truncate(at("cut"), 5_000);
  await ours("earlier");
  const old = new DatabaseSync(at("earlier"));
  old.exec("PRAGMA user_version = 1");
  old.close();
  const before = await contents(directory);
  for (
    const name of ["text", "empty", "foreign", "logged", "killed", "left", "hot", "half", "broken", "cut", "earlier"]
  ) {
    await using provider = sqliteProvider({ path: at(name) });
    const isOurs = (error: unknown) =>
      error instanceof ProviderError && error.message.includes(at(name)) && error.permanent;
    await assert.rejects(provider.acquire(request("g"), soon()), isOurs, name);
    await assert.rejects(provider.read("g", soon()), isOurs, name);
    await assert.rejects(provider.healthCheck(soon()), isOurs, name);
    assert.deepEqual(await contents(directory), before, name);
  }
});

/** The hash of each file of a directory. */
async function contents(directory: string): Promise<Record<string, string>> {
  const all: Record<string, string> = {};
  for (const name of (await readdir(directory)).sort()) {
    all[name] = createHash("sha256").update(await readFile(join(directory, name))).digest("hex");
  }
  return all;
}

test("a database whose log was being written back, when its process was killed, is read with its log", async () => {
  const [path, left] = [newPath(), newPath()];
  await using provider = sqliteProvider({ path });
  const metadata = { text: "x".repeat(60_000) };
  const lease = await win(provider, request("g", { metadata }));
  const log = await readFile(`${path}-wal`);
  const other = new DatabaseSync(path);
  other.exec("PRAGMA wal_checkpoint");
  other.close();
  // The first page, which says how many there are, has been written back, and the others have not.
  await writeFile(left, (await readFile(path)).subarray(0, 8_192));
  await writeFile(`${left}-wal`, log);
  await using successor = sqliteProvider({ path: left });
  assert.deepEqual((await successor.read("g", soon()))?.metadata, metadata);
  assert.equal((await successor.read("g", soon()))?.token, lease.token);
});

test("acquire() takes over after a whole lease on its own clock, whatever its wall clock does", async () => {
  const path = newPath();
  const time = new VirtualClock();
  const jumping = { ...time.skewed({}), wall: () => time.wall() + Math.sin(time.monotonic()) * 1e9 };
  await using holder = sqliteProvider({ path, clock: time.skewed({}) });
  await using contender = sqliteProvider({ path, clock: jumping });
  const lease = await win(holder, request("g"));
  // It has not seen the row before, so the lease begins with the first look.
  time.jump(LEASE_MS * 5);
  await lose(contender, request("g"));
  time.jump(LEASE_MS);
  await lose(contender, request("g"));
  assert.equal(await holder.renew(lease, soon()), "renewed");
  time.jump(LEASE_MS * 0.001);
  await lose(contender, request("g"));
  time.jump(LEASE_MS * 1.001 - 1);
  await lose(contender, request("g"));
  time.jump(1);
  assert.equal((await win(contender, request("g"))).token, 2n);
  assert.equal(await holder.renew(lease, soon()), "lost");
});

test("a locked database holds up no other work, and is an error when it stays so", async () => {
  const path = newPath();
  await using provider = sqliteProvider({ path, busyTimeout: 300 });
  const lease = await win(provider, request("g"));
  const other = new DatabaseSync(path);
  try {
    other.exec("BEGIN IMMEDIATE");
    let ticks = 0;
    const timer = setInterval(() => ticks++, 5);
    await assert.rejects(provider.renew(lease, soon()), /locked/);
    clearInterval(timer);
    assert.ok(ticks > 5, `the process did other work ${ticks} times`);
    const aborting = new AbortController();
    const given = provider.release(lease, { signal: aborting.signal });
    const reason = new Error("given up");
    setTimeout(() => aborting.abort(reason), 20);
    await assert.rejects(given, (error) => error === reason);
    const waiting = provider.renew(lease, soon());
    await sleep(systemClock, 20);
    other.exec("ROLLBACK");
    assert.equal(await waiting, "renewed", "nothing of the release was sent later");
  } finally {
    other.close();
  }
});

test("a file that is removed costs its leader the lease, and those who live through it no token", async () => {
  const path = newPath();
  await using provider = sqliteProvider({ path });
  const lease = await win(provider, request("g"));
  for (const end of ["", "-wal", "-shm"]) await rm(path + end, { force: true });
  assert.equal(await provider.renew(lease, soon()), "lost");
  await using other = sqliteProvider({ path });
  await win(other, request("h"));
  assert.equal((await win(provider, request("g"))).token, 2n);
});

test("renew() never moves the heartbeat back, when the wall clock of the host is set back", async () => {
  const time = new VirtualClock();
  let behind = 0;
  const clock = {
    monotonic: () => time.monotonic(),
    wall: () => time.wall() - behind,
    setTimer: (callback: () => void, delayMs: number) => time.setTimer(callback, delayMs),
  };
  await using provider = sqliteProvider({ path: newPath(), clock });
  const lease = await win(provider, request("g"));
  time.jump(1_000);
  assert.equal(await provider.renew(lease, soon()), "renewed");
  const before = (await provider.read("g", soon()))?.lastHeartbeat;
  behind = 3_600_000;
  assert.equal(await provider.renew(lease, soon()), "renewed");
  assert.deepEqual((await provider.read("g", soon()))?.lastHeartbeat, before);
});

test("tokens beyond 2^53 are exact, in the grant, to others, and after a release", async () => {
  const path = newPath();
  await using provider = sqliteProvider({ path });
  await provider.release(await win(provider, request("g")), soon());
  const db = new DatabaseSync(path);
  db.exec("UPDATE elections SET token = 9007199254740992, version = 9007199254740992");
  db.close();
  await using other = sqliteProvider({ path });
  for (let token = 9007199254740993n; token < 9007199254740999n; token++) {
    const lease = await win(provider, request("g"));
    assert.equal(lease.token, token);
    assert.equal((await other.read("g", soon()))?.token, token);
    assert.equal(await provider.renew(lease, soon()), "renewed");
    assert.equal(await other.release(lease, soon()), "released");
  }
});
