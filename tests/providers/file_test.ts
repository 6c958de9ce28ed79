import assert from "node:assert/strict";
import { chmod, mkdir, mkdtemp, readdir, readFile, rm, stat, utimes, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { after, test } from "node:test";
import { pathToFileURL } from "node:url";
import { type FileOptions, fileProvider } from "../../providers/file.ts";
import { type Files, nodeFiles } from "../../providers/file/directory.ts";
import { isDead, ownHolder } from "../../providers/kit/host_process.ts";
import { directoryName, parseListing } from "../../providers/file/names.ts";
import { FileProvider } from "../../providers/file/provider.ts";
import { type Clock, sleep, systemClock } from "../../src/time/clock.ts";
import { ProviderError } from "../../src/errors.ts";
import type { Provider } from "../../src/provider.ts";
import { openProvider } from "../../src/registry.ts";
import { conformanceCases } from "../../testing/conformance.ts";
import { VirtualClock } from "../../testing/virtual_clock.ts";
import { LEASE_MS, lose, request, soon, win } from "./asking.ts";
import { until } from "../until.ts";

const parent = await mkdtemp(join(tmpdir(), "elect file \u00fc "));
after(() => rm(parent, { recursive: true, force: true }));

function newRoot(): string {
  return join(parent, crypto.randomUUID());
}

/** Rewrites the record of a term, as only a test does. */
async function rewrite(path: string, change: (record: Record<string, unknown>) => void): Promise<void> {
  const { mtime } = await stat(path);
  const record = JSON.parse(await readFile(path, "utf8"));
  change(record);
  await writeFile(path, JSON.stringify(record));
  await utimes(path, mtime, mtime);
}

const conformance = newRoot();
const target = {
  name: "file",
  open: (options?: FileOptions) => fileProvider({ ...options, directory: conformance }),
  heartbeatTimeout: 400,
};
for (const { name, run } of conformanceCases(target)) test(`file: ${name}`, run);

test("fileProvider() opens URLs with spaces, percent signs and non-ASCII, and relative ones", async () => {
  const directory = join(newRoot(), "a b", "50% \u65e5\u672c");
  await win(await openProvider(pathToFileURL(directory)), request("g"));
  assert.deepEqual(await fileProvider({ directory }).groups?.(soon()), ["g"]);
  const relative = fileProvider({ url: "file:./no%20such" });
  await assert.rejects(
    // Nothing can be made below a file, so the error names the path and nothing is written.
    fileProvider({ url: "file:./deno.json/x" }).acquire(request("g"), soon()),
    (error) => error instanceof ProviderError && error.message.includes(join(process.cwd(), "deno.json", "x")),
  );
  assert.equal(await relative.read("g", soon()), null);
});

test("fileProvider() refuses what names no directory of this host, and settings it does not have", () => {
  for (const url of ["file:", "file://host/share", "file:///a?mode=0777", "file:///a#b", "file:///%E0%A4%A"]) {
    assert.throws(() => fileProvider({ url }), TypeError, url);
  }
  const misspelt = /setting "heartbeat": it does not exist; there are none; in a path, write \? as %3F/;
  assert.throws(() => fileProvider({ url: "file:///dir?heartbeat=1" }), misspelt);
  assert.throws(() => fileProvider({ url: "file:///dir?" }), /it takes no settings/);
  const options = { directory: "/dir", clok: systemClock };
  assert.throws(
    () => fileProvider(options as FileOptions),
    /file option "clok": it does not exist; did you mean "clock"/,
  );
  assert.throws(
    () => fileProvider({ directory: "/dir", durable: 1 } as unknown as FileOptions),
    /"durable": it must be/,
  );
  assert.throws(() => fileProvider({}), TypeError);
  assert.throws(() => fileProvider({ directory: "" }), TypeError);
  assert.throws(() => fileProvider({ url: "file:///a", directory: "/a" }), TypeError);
});

test("acquire() keeps directories to 0700 and files to 0600, and only the newest term's files", async () => {
  const directory = join(newRoot(), "deep", "er");
  const provider = fileProvider({ directory });
  for (let i = 0; i < 3; i++) {
    const lease = await win(provider, request("nightly"));
    assert.equal(await provider.renew(lease, { ...soon(), metadata: { i: String(i) } }), "renewed");
    if (i < 2) assert.equal(await provider.release(lease, soon()), "released");
  }
  const names = await readdir(join(directory, "nightly"));
  assert.deepEqual(names.map((name) => name.replace(/[0-9a-f-]{36}/, "UUID")).sort(), [
    "3",
    "3.UUID",
    "3.UUID.metadata",
  ]);
  if (process.platform === "win32") return;
  for (const path of [join(directory, ".."), directory, join(directory, "nightly")]) {
    assert.equal((await stat(path)).mode & 0o777, 0o700, path);
  }
  for (const name of names) assert.equal((await stat(join(directory, "nightly", name))).mode & 0o777, 0o600, name);
});

test("directoryName() keeps groups apart on file systems that ignore case, trailing dots or long names", () => {
  const groups = [
    "a",
    "a.1",
    "a.1.1",
    "A",
    "Nightly",
    "nightly",
    "nightly.",
    "con",
    "con.x",
    "lpt1",
    ".",
    "..",
    "...",
    "-",
  ];
  groups.push("x".repeat(255), `${"x".repeat(254)}y`, "X".repeat(255), "1", "1.released", ".hidden", "__proto__");
  const names = groups.map(directoryName);
  assert.equal(new Set(names.map((name) => name.toLowerCase())).size, groups.length);
  for (const name of names) {
    assert.ok(name.length <= 133 && !/^\.+$|\.$|^(con|lpt1)(\.|$)/.test(name), name);
  }
  assert.equal(directoryName("nightly"), "nightly");
  assert.match(directoryName("Nightly"), /^nightly~[0-9a-f]{32}$/);
});

test("acquire() waits for the disk twice, and with durable: false never", async () => {
  // The record, and the directory but for Windows.
  for (const [durable, expected] of [[true, process.platform === "win32" ? 1 : 2], [false, 0]] as const) {
    let waits = 0;
    const open = async (...args: Parameters<Files["open"]>) => {
      const file = await nodeFiles.open(...args);
      const { sync } = file;
      file.sync = () => (waits++, sync.call(file));
      return file;
    };
    const files = { ...nodeFiles, open } as Files;
    const provider = new FileProvider(newRoot(), systemClock, files, { durable });
    const lease = await win(provider, request("g"));
    assert.equal(await provider.renew(lease, soon()), "renewed");
    assert.equal(await provider.release(lease, soon()), "released");
    assert.equal(waits, expected);
    assert.match(provider.capabilities.durability, durable ? /survive .*power failures/ : /power failure may forget/);
  }
});

test("groups() finds every group that had a term, whatever its name, and nothing else", async () => {
  const directory = newRoot();
  const provider = fileProvider({ directory });
  assert.deepEqual(await provider.groups?.(soon()), []);
  const names = ["a", "a.1", "Nightly", "..", "X".repeat(255)];
  for (const name of names) await win(provider, request(name));
  await mkdir(join(directory, "empty"));
  await writeFile(join(directory, "README"), "not a group");
  assert.deepEqual((await provider.groups?.(soon()))?.sort(), names.toSorted());
});

test("parseListing() takes one spelling of a number only, and orders by number", () => {
  const names = ["10", "9", "09", "0", "-1", "1e3", "8.uuid", "9.released", "~10", "11 ", "1".repeat(19), "\u0661"];
  assert.deepEqual(parseListing(names).numbers, [9n, 10n]);
});

test("acquire() takes over after a whole lease on its own clock, whatever its wall clock does", async () => {
  const directory = newRoot();
  const time = new VirtualClock();
  const jumping = { ...time.skewed({}), wall: () => time.wall() + Math.sin(time.monotonic()) * 1e9 };
  const holder = fileProvider({ directory, clock: time.skewed({}) });
  const contender = fileProvider({ directory, clock: jumping });
  await win(holder, request("g"));
  await rewriteHolder(directory, "g");
  // It has not seen the record before, so the lease begins with the first look.
  time.jump(LEASE_MS * 5);
  await lose(contender, request("g"));
  time.jump(LEASE_MS);
  await lose(contender, request("g"));
  time.jump(LEASE_MS * 0.001 - 1);
  await lose(contender, request("g"));
  time.jump(1);
  assert.equal((await win(contender, request("g"))).token, 2n);
});

/** Lets a record look as if a process of another machine held it. */
async function rewriteHolder(directory: string, group: string): Promise<void> {
  await rewrite(join(directory, group, "1"), (record) => record["holder"] = null);
}

test("renew() is seen by others, also when the wall clock stands still or falls back", async () => {
  for (const wall of [() => 1_700_000_000_000, (now: number) => 1_700_000_000_000 - now]) {
    const directory = newRoot();
    const time = new VirtualClock();
    const holder = fileProvider({ directory, clock: { ...time.skewed({}), wall: () => wall(time.monotonic()) } });
    const contender = fileProvider({ directory, clock: time.skewed({}) });
    const lease = await win(holder, request("g"));
    for (let i = 0; i < 10; i++) {
      await lose(contender, request("g"));
      time.jump(LEASE_MS * 0.9);
      assert.equal(await holder.renew(lease, soon()), "renewed");
    }
    await lose(contender, request("g"));
  }
});

test("renew() refuses a lease that expired, and goes on refusing it", async () => {
  const directory = newRoot();
  const time = new VirtualClock();
  const holder = fileProvider({ directory, clock: time.skewed({}) });
  const lease = await win(holder, request("g"));
  time.jump(LEASE_MS - 1);
  assert.equal(await holder.renew(lease, soon()), "renewed");
  time.jump(LEASE_MS);
  assert.equal(await holder.renew(lease, soon()), "lost");
  assert.equal(await holder.renew(lease, soon()), "lost");
});

test("acquire() passes over an expired lease of its own provider without another wait, but not before", async () => {
  const time = new VirtualClock();
  const provider = fileProvider({ directory: newRoot(), clock: time.skewed({}) });
  const lease = await win(provider, request("g"));
  time.jump(LEASE_MS / 2);
  assert.equal(await provider.renew(lease, { ...soon(), metadata: { a: "b" } }), "renewed");
  assert.deepEqual((await provider.read("g", soon()))?.metadata, { a: "b" });
  time.jump(LEASE_MS);
  await lose(provider, request("g"));
  time.jump(LEASE_MS * 0.001);
  assert.equal((await win(provider, request("g"))).token, 2n);
});

test("renew() and release() work through another provider, as after a restart of the caller", async () => {
  const directory = newRoot();
  const lease = await win(fileProvider({ directory }), request("g"));
  const other = fileProvider({ directory });
  const before = await other.read("g", soon());
  assert.equal(await other.renew(lease, { ...soon(), metadata: { a: "b" } }), "renewed");
  const seen = await other.read("g", soon());
  assert.ok(Number(seen?.lastHeartbeat) > Number(before?.lastHeartbeat), "a heartbeat must show");
  assert.deepEqual(seen?.metadata, { a: "b" });
  assert.equal(await other.release(lease, soon()), "released");
  assert.equal(await other.renew(lease, soon()), "lost");
});

test("acquire() takes over at once from a process that is dead, and not from one that it cannot judge", async (t) => {
  const self = await ownHolder();
  if (self === null) return t.skip("no process counts as dead here: no /proc");
  const judge = async (holder: unknown): Promise<boolean> => {
    const directory = newRoot();
    const lease = await win(fileProvider({ directory }), request("g"));
    await rewrite(join(directory, "g", "1"), (record) => record["holder"] = holder);
    const contender = fileProvider({ directory });
    const answer = await contender.acquire(request("g"), soon());
    assert.equal(await contender.read("g", soon()).then((info) => info?.token), answer.acquired ? 2n : lease.token);
    return answer.acquired;
  };
  assert.equal(await judge(self), false, "this process lives");
  assert.equal(await judge({ ...self, startTime: "1" }), true, "the process id was given to another process");
  assert.equal(await judge({ ...self, pid: 2 ** 22 + 1 }), true, "no process has this id");
  assert.equal(await judge({ ...self, pid: 2 ** 22 + 1, host: `${self.host}x` }), false, "another container or boot");
  assert.equal(await judge(null), false, "a holder that could not tell who it is");
  assert.equal(await isDead({ ...self, pid: process.ppid, startTime: "1" }), true);
});

test("acquire() says that a record is garbage, and passes over it when it has stood still for a minute", async () => {
  const garbage = ["", "{", "null", "[]", '{"electionGroup":"g"}', "\0".repeat(400), '{"electionGroup":"other"}'];
  for (const content of garbage) {
    const directory = newRoot();
    const time = new VirtualClock();
    const provider = fileProvider({ directory, clock: time.skewed({}) });
    await mkdir(join(directory, "g"), { recursive: true });
    await writeFile(join(directory, "g", "7"), content);
    const path = join(directory, "g", "7");
    for (const call of [() => provider.acquire(request("g"), soon()), () => provider.read("g", soon())]) {
      await assert.rejects(call, (error) => error instanceof ProviderError && error.message.includes(path), content);
    }
    time.jump(59_000);
    await assert.rejects(provider.acquire(request("g"), soon()), ProviderError);
    time.jump(1_100);
    assert.equal(await provider.read("g", soon()), null);
    assert.equal((await win(provider, request("g"))).token, 8n);
  }
});

test("acquire() pays no heed to foreign files and garbage below the highest number", async () => {
  const directory = newRoot();
  const provider = fileProvider({ directory });
  const lease = await win(provider, request("g"));
  await provider.release(lease, soon());
  const second = await win(provider, request("g"));
  assert.equal(second.token, 2n);
  const foreign = ["1", "README", "09", "3.tmp", `3.${crypto.randomUUID()}`, "2.released", "~"];
  for (const name of foreign) await writeFile(join(directory, "g", name), "x");
  assert.equal(await provider.renew(second, soon()), "renewed");
  await provider.release(second, soon());
  const third = await win(provider, request("g"));
  assert.equal(third.token, 3n);
  const left = await readdir(join(directory, "g"));
  assert.deepEqual(foreign.filter((name) => !left.includes(name)), [], "what is not ours stays");
  assert.equal(left.includes("2"), false);
});

test("renew() says lost, when the directory was removed, and tokens go on where it had come to", async () => {
  const directory = newRoot();
  const leader = fileProvider({ directory });
  const follower = fileProvider({ directory });
  let lease = await win(leader, request("g"));
  for (let i = 0; i < 3; i++) {
    await leader.release(lease, soon());
    lease = await win(leader, request("g"));
  }
  assert.equal(lease.token, 4n);
  await lose(follower, request("g"));
  await rm(directory, { recursive: true });
  assert.equal(await leader.renew(lease, soon()), "lost");
  assert.equal(await leader.renew(lease, { ...soon(), metadata: { a: "b" } }), "lost");
  assert.equal(await leader.release(lease, soon()), "notHolder");
  assert.equal(await leader.read("g", soon()), null);
  await assert.rejects(stat(directory), "neither may make it again");
  const next = await win(follower, request("g"));
  assert.equal(next.token, 5n);
  await follower.release(next, soon());
  assert.equal((await win(leader, request("g"))).token, 6n);
});

test("renew() and release() of an old term leave a term with the same number alone, when the directory is a new one", async () => {
  const directory = newRoot();
  const old = fileProvider({ directory });
  const lease = await win(old, request("g"));
  await rm(directory, { recursive: true });
  const fresh = fileProvider({ directory });
  const other = await win(fresh, request("g", { metadata: { mine: "1" } }));
  assert.equal(other.token, lease.token);
  const before = await readFile(join(directory, "g", "1"), "utf8");
  const { mtimeMs } = await stat(join(directory, "g", "1"));
  assert.equal(await old.renew(lease, soon()), "lost");
  assert.equal(await old.release(lease, soon()), "notHolder");
  assert.equal(await readFile(join(directory, "g", "1"), "utf8"), before);
  assert.equal((await stat(join(directory, "g", "1"))).mtimeMs, mtimeMs);
  assert.equal(await fresh.renew(other, soon()), "renewed");
});

/** A provider whose calls of one kind fail with `code`. */
function failing(directory: string, name: keyof Files, code: string): Provider {
  const fail = () => Promise.reject(Object.assign(new Error(`${code}: as the kernel says`), { code }));
  return new FileProvider(directory, systemClock, { ...nodeFiles, [name]: fail });
}

test("acquire() and healthCheck() say in words why the file system refused", async () => {
  const refusals = [
    ["open", "EACCES", /may not read or write/],
    ["mkdir", "EROFS", /read-only/],
    ["open", "ENOSPC", /disk is full/],
    ["link", "EPERM", /hard links/],
    ["link", "ENOTSUP", /hard links/],
  ] as const;
  for (const [name, code, why] of refusals) {
    const directory = newRoot();
    const provider = failing(directory, name, code);
    for (const call of [() => provider.acquire(request("g"), soon()), () => provider.healthCheck(soon())]) {
      await assert.rejects(call, (error) => {
        assert.ok(error instanceof ProviderError && error.message.includes(directory), String(error));
        assert.match(error.message, why);
        return true;
      });
    }
    assert.equal(await fileProvider({ directory }).read("g", soon()), null);
  }
});

test("acquire(), read() and healthCheck() say so, when a file is where the directory should be", async () => {
  const directory = newRoot();
  await writeFile(directory, "a file");
  const provider = fileProvider({ directory });
  for (
    const call of [
      () => provider.acquire(request("g"), soon()),
      () => provider.read("g", soon()),
      () => provider.healthCheck(soon()),
      () => provider.groups?.(soon()),
    ]
  ) {
    await assert.rejects(async () => await call(), /Cannot .* file ".*": something that is not a directory/);
  }
});

test("acquire() says so, when the directory is not writable", async (t) => {
  if (process.getuid?.() === 0) return t.skip("root may write everywhere; the mapping of EACCES is tested above");
  const directory = newRoot();
  await mkdir(directory, { mode: 0o500 });
  await assert.rejects(fileProvider({ directory }).acquire(request("g"), soon()), /may not read or write/);
  await chmod(directory, 0o700);
});

test("acquire() refuses a file system that rounds times: it would hide heartbeats", async () => {
  const open = async (...args: Parameters<Files["open"]>) => {
    const file = await nodeFiles.open(...args);
    const rounded = file.utimes.bind(file);
    file.utimes = (atime, mtime) => rounded(Math.floor(Number(atime)), Math.floor(Number(mtime)));
    return file;
  };
  const provider = new FileProvider(newRoot(), systemClock, { ...nodeFiles, open });
  await assert.rejects(provider.acquire(request("g"), soon()), /does not keep times/);
  await assert.rejects(provider.healthCheck(soon()), /does not keep times/);
});

test("release() of a lease that has expired releases nothing, and leaves no mark", async () => {
  const directory = newRoot();
  const clock = new VirtualClock();
  const provider = fileProvider({ directory, clock });
  const lease = await win(provider, request("g"));
  clock.jump(LEASE_MS * 1.01);
  assert.equal(await provider.release(lease, soon()), "notHolder");
  assert.deepEqual((await readdir(join(directory, "g"))).filter((name) => name.endsWith(".released")), []);
});

test("read() and watch() write nothing, and make no directory", async () => {
  const directory = newRoot();
  const provider = fileProvider({ directory });
  assert.equal(await provider.read("g", soon()), null);
  for await (const _ of provider.watch?.("g", soon()) ?? []) break;
  await assert.rejects(stat(directory));
});

test("watch() hints at a term that begins and one that ends, but not at heartbeats", async () => {
  const directory = newRoot();
  const [leader, follower] = [fileProvider({ directory }), fileProvider({ directory })];
  let hints = 0;
  const stop = new AbortController();
  const watching = (async () => {
    for await (const _ of follower.watch?.("g", { signal: stop.signal }) ?? []) hints++;
  })();
  await until("the watch is live", () => hints === 1);
  // The directory did not exist when the watch began.
  const lease = await win(leader, request("g"));
  await until("a term has begun", () => hints === 2);
  for (let i = 0; i < 60; i++) {
    assert.equal(await leader.renew(lease, { ...soon(), ...(i % 9 === 0 && { metadata: { i: `${i}` } }) }), "renewed");
    await sleep(systemClock, 10);
  }
  assert.equal(hints, 2, "a heartbeat must not hint");
  await leader.release(lease, soon());
  await until("the term has ended", () => hints === 3);
  // A new directory of the same name is watched too.
  await rm(directory, { recursive: true });
  await until("the directory is gone", () => hints === 4);
  await win(leader, request("g"));
  await until("a term has begun in the new directory", () => hints === 5);
  stop.abort();
  await watching;
});

test("watch() hints when a lease expires that nobody renews", async () => {
  const directory = newRoot();
  const [leader, follower] = [fileProvider({ directory }), fileProvider({ directory })];
  await win(leader, request("g", { heartbeatTimeout: 300 }));
  let hints = 0;
  const stop = new AbortController();
  const watching = (async () => {
    for await (const _ of follower.watch?.("g", { signal: stop.signal }) ?? []) hints++;
  })();
  await until("the watch is live, and the lease expires", () => hints === 2);
  assert.equal(await follower.read("g", soon()), null);
  stop.abort();
  await watching;
});

test("watch() keeps one timer, when watchers leave and come while a look is under way", async () => {
  const timers = new Set<symbol>();
  let set = 0;
  const clock: Clock = {
    ...systemClock,
    setTimer(callback) {
      const timer = Symbol();
      timers.add(timer);
      set++;
      const cancel = systemClock.setTimer(() => {
        timers.delete(timer);
        callback();
      }, 5);
      return () => {
        timers.delete(timer);
        cancel();
      };
    },
  };
  const slow = async (path: Parameters<Files["readdir"]>[0]) => {
    await sleep(systemClock, 10);
    return await readdir(path);
  };
  const provider = new FileProvider(newRoot(), clock, { ...nodeFiles, readdir: slow as Files["readdir"] });
  // Each leaves while a tick looks, and the next one comes before that look is over.
  for (let i = 0; i < 10; i++) {
    for await (const _ of provider.watch("g", soon())) {
      await until("a tick is due", () => timers.size === 0);
      break;
    }
  }
  const stop = new AbortController();
  const stream = provider.watch("g", { signal: stop.signal })[Symbol.asyncIterator]();
  await stream.next();
  const ended = stream.next();
  const before = set;
  await until("ticks go on", () => set > before + 5);
  assert.ok(timers.size <= 1, `${timers.size} timers are set`);
  stop.abort();
  assert.equal((await ended).done, true);
  await sleep(systemClock, 30);
  assert.equal(timers.size, 0, "nothing must keep the process alive");
});

test("acquire() by many elections of one provider at once deposes nobody and skips no number", async () => {
  const provider = fileProvider({ directory: newRoot() });
  for (let round = 1n; round <= 40n; round++) {
    const answers = await Promise.all(Array.from({ length: 12 }, async (_, i) => {
      await sleep(systemClock, i % 3);
      return await provider.acquire(request("g"), soon());
    }));
    const leases = answers.flatMap((answer) => answer.acquired ? [answer.lease] : []);
    assert.deepEqual(leases.map(({ token }) => token), [round]);
    const [lease] = leases;
    assert.ok(lease && await provider.renew(lease, soon()) === "renewed");
    assert.equal(await provider.release(lease, soon()), "released");
  }
});

test("renew() never replaces the record of a term", async () => {
  const directory = newRoot();
  const provider = fileProvider({ directory });
  const lease = await win(provider, request("g"));
  const { ino } = await stat(join(directory, "g", "1"));
  await provider.renew(lease, { ...soon(), metadata: { a: "b" } });
  assert.equal((await stat(join(directory, "g", "1"))).ino, ino);
});
