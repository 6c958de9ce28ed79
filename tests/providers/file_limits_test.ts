/** What the file provider does when files, descriptors, disk space or times are scarce. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { mkdir, readdir, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { fileProvider } from "../../providers/file.ts";
import { type Files, nodeFiles } from "../../providers/file/directory.ts";
import { FileProvider } from "../../providers/file/provider.ts";
import { Slots } from "../../providers/kit/slots.ts";
import { type Clock, sleep, systemClock } from "../../src/time/clock.ts";
import { ProviderError } from "../../src/errors.ts";
import { VirtualClock } from "../../testing/virtual_clock.ts";
import { type Call, filesWith, LEASE_MS, lose, newRoots, refusal, request, soon, win } from "./file/fixture.ts";
import { until } from "../until.ts";

const newRoot = await newRoots("limits");

test("Slots.run() lets as many run as there are places, the others in their order, whatever becomes of them", async () => {
  const slots = new Slots(3);
  const [order, ends]: [number[], PromiseWithResolvers<void>[]] = [[], []];
  const works = Array.from({ length: 12 }, (_, i) =>
    slots.run(() => {
      order.push(i);
      const end = Promise.withResolvers<void>();
      ends[i] = end;
      return end.promise;
    }).catch((error: Error) => error.message));
  for (let ended = 0; ended < 12; ended++) {
    await until("the next one runs", () => order.length === Math.min(12, ended + 3));
    await sleep(systemClock, 1);
    assert.equal(order.length, Math.min(12, ended + 3));
    if (ended % 2 === 0) ends[ended]?.reject(new Error("it failed"));
    else ends[ended]?.resolve();
  }
  assert.deepEqual(
    await Promise.all(works),
    Array.from({ length: 12 }, (_, i) => i % 2 === 0 ? "it failed" : undefined),
  );
  assert.deepEqual(order, Array.from({ length: 12 }, (_, i) => i));
});

/** Files that count how many calls of a kind are under way, and how many file handles are open. */
function counting() {
  const most = { readdir: 0, readFile: 0, open: 0 };
  const now = { readdir: 0, readFile: 0, open: 0 };
  const enter = (name: keyof typeof most) => most[name] = Math.max(most[name], ++now[name]);
  const counted = (name: "readdir" | "readFile") => (call: Call): Call => async (...args) => {
    enter(name);
    try {
      return await call(...args);
    } finally {
      now[name]--;
    }
  };
  const files = {
    ...filesWith({ readdir: counted("readdir"), readFile: counted("readFile") }),
    async open(...args: Parameters<typeof nodeFiles.open>) {
      enter("open");
      const file = await nodeFiles.open(...args);
      const close = file.close.bind(file);
      file.close = () => {
        now.open--;
        return close();
      };
      return file;
    },
  };
  return { files, most };
}

test("groups() looks at few directories at a time, and finds all", async () => {
  const directory = newRoot();
  const { files, most } = counting();
  for (let i = 0; i < 150; i++) {
    const name = i % 3 === 0 ? `plain-${i}` : `hashed-${i}~${String(i).padStart(32, "0")}`;
    await mkdir(join(directory, name), { recursive: true });
    await writeFile(join(directory, name, "1"), "{}");
  }
  const mine = fileProvider({ directory });
  for (const name of ["A", "B"]) await win(mine, request(name));
  const groups = await new FileProvider(directory, systemClock, files).groups(soon());
  assert.equal(groups.length, 50 + 2);
  assert.ok(most.readdir <= 16 && most.readFile <= 16, JSON.stringify(most));
});

test("groups() rejects when a directory cannot be read, and goes no further", async () => {
  for (const code of ["EMFILE", "ENFILE", "EACCES", "EIO", "ELOOP"]) {
    for (const call of ["readdir", "readFile"] as const) {
      const directory = newRoot();
      const provider = fileProvider({ directory });
      for (let i = 0; i < 60; i++) await mkdir(join(directory, `g${i}`), { recursive: true });
      for (const group of ["Mine", "other"]) await win(provider, request(group));
      let calls = 0;
      const files = filesWith({
        [call]: (real: Call): Call => (path, ...rest) => {
          calls++;
          return /mine~/.test(path) ? Promise.reject(refusal(code)) : real(path, ...rest);
        },
      });
      const failing = new FileProvider(directory, systemClock, files);
      await assert.rejects(failing.groups(soon()), (error) => {
        return error instanceof ProviderError && error.operation === "groups" && error.message.includes(code);
      });
      const sofar = calls;
      await sleep(systemClock, 20);
      assert.equal(calls, sofar, "no call may come after the rejection");
    }
  }
});

test("groups() passes over what is gone, or no directory, and stops when it is aborted", async () => {
  const directory = newRoot();
  await win(fileProvider({ directory }), request("g"));
  for (let i = 0; i < 60; i++) await mkdir(join(directory, `h${i}`));
  await writeFile(join(directory, "file"), "x");
  for (const code of ["ENOENT", "ENOTDIR"]) {
    const files = filesWith({
      readdir: (real) => (path, ...rest) => /h\d+$/.test(path) ? Promise.reject(refusal(code)) : real(path, ...rest),
    });
    assert.deepEqual(await new FileProvider(directory, systemClock, files).groups(soon()), ["g"]);
  }
  const stop = new AbortController();
  let calls = 0;
  const files = filesWith({
    readdir: (real) => (path, ...rest) => {
      if (++calls === 20) stop.abort(new Error("no answer in time"));
      return real(path, ...rest);
    },
  });
  await assert.rejects(new FileProvider(directory, systemClock, files).groups({ signal: stop.signal }), /in time/);
  await sleep(systemClock, 50);
  assert.ok(calls < 40, `${calls} calls`);
});

test("acquire() and read() of many elections at once have few files open", async () => {
  const directory = newRoot();
  const { files, most } = counting();
  const provider = new FileProvider(directory, systemClock, files);
  const groups = Array.from({ length: 200 }, (_, i) => `g${i}`);
  const leases = await Promise.all(groups.map((group) => win(provider, request(group))));
  await Promise.all(leases.map((lease) => provider.renew(lease, { ...soon(), metadata: { a: "b" } })));
  await Promise.all(groups.map((group) => provider.read(group, soon())));
  await Promise.all(leases.map((lease) => provider.release(lease, soon())));
  assert.ok(most.open <= 16 && most.readdir <= 32 && most.readFile <= 16, JSON.stringify(most));
  assert.ok(most.open > 1, "they do not wait for each other in one queue");
});

test("renew() does not wait behind looks and claims that hang", async () => {
  const directory = newRoot();
  const hang = Promise.withResolvers<void>();
  const stuck = (real: Call): Call => async (path, ...rest) => {
    if (/stuck/.test(path)) await hang.promise;
    return await real(path, ...rest);
  };
  const files = filesWith({ readdir: stuck, open: stuck });
  const provider = new FileProvider(directory, systemClock, files);
  const lease = await win(provider, request("g"));
  const stuckCalls = Array.from({ length: 100 }, (_, i) => provider.read(`stuck-${i}`, soon()));
  assert.equal(await provider.renew(lease, soon()), "renewed");
  hang.resolve();
  await Promise.all(stuckCalls);
});

test("many elections of a process that may open few files lose no heartbeat, also while it lists thousands of groups", async (t) => {
  if (process.platform === "win32") return t.skip("no limit on open files");
  const directory = newRoot();
  for (let i = 0; i < 1_500; i++) {
    await mkdir(join(directory, `g${i}`), { recursive: true });
    await writeFile(join(directory, `g${i}`, "1"), "{}");
  }
  const script = fileURLToPath(new URL("./file_starved.ts", import.meta.url));
  const args = "Deno" in globalThis ? ["run", "-A", "--no-config", "--no-lock", "--no-check", script] : [script];
  const limited = ["-c", 'ulimit -n 160 && exec "$0" "$@"', process.execPath, ...args, directory, "300"];
  const child = spawn("sh", limited, {
    stdio: ["ignore", "pipe", "inherit"],
    env: { ...process.env, NODE_NO_WARNINGS: "1" },
  });
  let said = "";
  child.stdout.on("data", (data) => said += data);
  await new Promise((resolve) => child.once("close", resolve));
  const { beats, ...rest } = JSON.parse(said);
  assert.deepEqual(rest, { leases: 300, listed: 1_800, failures: [] });
  assert.ok(beats >= 300);
});

test("renew() with metadata that cannot be written rejects, and has renewed the lease all the same", async () => {
  for (const [call, code] of [["open", "ENOSPC"], ["open", "EDQUOT"], ["rename", "EIO"], ["open", "EFBIG"]] as const) {
    const directory = newRoot();
    const time = new VirtualClock();
    let refused = false;
    const files = filesWith({
      [call]: (real: Call): Call => (...args) => refused ? Promise.reject(refusal(code)) : real(...args),
    });
    const holder = new FileProvider(directory, time, files);
    const contender = fileProvider({ directory, clock: time });
    const lease = await win(holder, request("g", { metadata: { a: "1" } }));
    refused = true;
    for (let i = 0; i < 4; i++) {
      await lose(contender);
      time.jump(LEASE_MS * 0.9);
      const before = await readdir(join(directory, "g"));
      await assert.rejects(holder.renew(lease, { ...soon(), metadata: { a: "2" } }), (error) => {
        return error instanceof ProviderError && error.operation === "renew" && error.message.includes(code);
      });
      assert.deepEqual(await readdir(join(directory, "g")), before, "no file may be left");
    }
    // And the own deadline has moved as well.
    assert.equal(await holder.renew(lease, soon()), "renewed");
    assert.deepEqual((await contender.read("g", soon()))?.metadata, { a: "1" });
    refused = false;
    assert.equal(await holder.renew(lease, { ...soon(), metadata: { a: "3" } }), "renewed");
    assert.deepEqual((await contender.read("g", soon()))?.metadata, { a: "3" });
  }
});

test("acquire() that asks again on a full disk is granted, since nothing has to be written", async () => {
  const directory = newRoot();
  let full = false;
  const files = filesWith({
    open: (real) => (path, flags, ...rest) =>
      full && flags === "wx" ? Promise.reject(refusal("ENOSPC")) : real(path, flags, ...rest),
  });
  const provider = new FileProvider(directory, systemClock, files);
  const asked = request("g", { metadata: { a: "1" } });
  const lease = await win(provider, asked);
  const { mtimeMs } = await stat(join(directory, "g", "1"));
  full = true;
  assert.deepEqual(await win(provider, asked), lease);
  assert.ok((await stat(join(directory, "g", "1"))).mtimeMs > mtimeMs);
});

for (const refuses of [false, true]) {
  const how = refuses ? "refuses later ones" : "shows later ones as that";
  test(`renew() is seen by others on a file system that keeps times until 2038 and ${how}, wherever the clock is`, async () => {
    const last = 2 ** 31 - 1;
    const kept = (time: unknown) => {
      if (refuses && Number(time) > last) throw refusal("EINVAL");
      return Math.min(Number(time), last);
    };
    const files = filesWith({
      utimes: (real) => async (path, atime, mtime) => await real(path, kept(atime), kept(mtime)),
      open: (real) => async (...args) => {
        const file = await real(...args) as Awaited<ReturnType<Files["open"]>>;
        const set = file.utimes.bind(file);
        file.utimes = async (atime, mtime) => await set(kept(atime), kept(mtime));
        return file;
      },
    });
    const clock = new VirtualClock();
    const directory = newRoot();
    for (const startsAt of ["2026-01-01", "2038-01-19", "2500-01-01"]) {
      let wall = Date.parse(startsAt);
      const own: Clock = { monotonic: () => clock.monotonic(), wall: () => wall, setTimer: clock.setTimer.bind(clock) };
      const [leader, follower] = [new FileProvider(directory, own, files), new FileProvider(directory, own, files)];
      const lease = await win(leader);
      for (const then of ["2027-01-01", "2038-01-20", "2040-01-01", "2500-01-01", "2026-01-01", "2500-01-01"]) {
        wall = Date.parse(then);
        assert.equal(await leader.renew(lease, soon()), "renewed");
        await lose(follower);
        clock.jump(LEASE_MS * 0.9);
        await lose(follower);
      }
      assert.equal(await leader.release(lease, soon()), "released");
    }
  });
}

test("heartbeats show the time of day on a file system that keeps it, also after 2038", async () => {
  const clock = new VirtualClock(Date.UTC(2040, 0, 1));
  const provider = fileProvider({ directory: newRoot(), clock });
  const lease = await win(provider);
  clock.jump(1_000);
  assert.equal(await provider.renew(lease, soon()), "renewed");
  assert.deepEqual((await provider.read("g", soon()))?.lastHeartbeat, new Date(clock.wall()));
});
