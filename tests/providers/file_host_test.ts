/**
 * Whose death frees a lease of the file provider at once: that of processes of this host, and of all that act for the
 * holder.
 */

import assert from "node:assert/strict";
import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { readFile, readlink } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { fileURLToPath } from "node:url";
import { fileProvider } from "../../providers/file.ts";
import { nodeFiles } from "../../providers/file/directory.ts";
import { hostProcesses, isDead, ownHolder, parseStat, type Processes } from "../../providers/kit/host_process.ts";
import { FileProvider } from "../../providers/file/provider.ts";
import { systemClock } from "../../src/time/clock.ts";
import { openProvider } from "../../src/registry.ts";
import { newRoots, request, rewrite, soon, win } from "./file/fixture.ts";
import { until } from "../until.ts";

const newRoot = await newRoots("host");
const self = await ownHolder();
const noProof = self === null ? "no process counts as dead here: no /proc" : false;

/** A process that does nothing until it is killed. */
function idle(): ChildProcess & { readonly pid: number } {
  const child = spawn("sleep", ["600"], { stdio: "ignore" });
  assert.ok(child.pid);
  return child as ChildProcess & { readonly pid: number };
}

async function end(child: ChildProcess): Promise<void> {
  const ended = new Promise((resolve) => child.once("exit", resolve));
  child.kill("SIGKILL");
  await ended;
}

test("ownHolder() names what tells this process from any other of any host", { skip: noProof }, async () => {
  assert.ok(self);
  const parts = [
    (await readFile("/proc/sys/kernel/random/boot_id", "utf8")).trim(),
    (await readFile("/proc/sys/kernel/hostname", "utf8")).trim(),
    await readlink("/proc/self/ns/pid"),
    await readlink("/proc/self/ns/time").catch(() => ""),
  ];
  assert.deepEqual(self.host.split(" "), parts);
  assert.equal(self.pid, process.pid);
  assert.match(self.startTime, /^\d+$/);
  // Each part alone makes it another host, whose processes cannot be judged here.
  for (const i of parts.keys()) {
    const other = parts.map((part, j) => i === j ? `${part}x` : part).join(" ");
    assert.equal(await isDead({ host: other, pid: 2 ** 22 + 1, startTime: "1" }), false, `part ${i}`);
  }
  assert.equal(await isDead({ ...self, pid: 2 ** 22 + 1 }), true);
});

test("isDead() takes a process for dead when it has ended, and another with its number for another", async (t) => {
  if (self === null) return t.skip("no process counts as dead here: no /proc");
  const child = idle();
  const [, named] = await hostProcesses.identify([child.pid]) ?? [];
  assert.ok(named);
  assert.equal(await isDead(named), false);
  assert.equal(await isDead({ ...named, startTime: "1" }), true, "the number was given to another process");
  await end(child);
  await until("it is dead", () => isDead(named));
});

test("parseStat() takes a zombie for ended, but not while other threads of it run", () => {
  const line = (state: string, threads: number) =>
    `42 (a ) (b) R 1) ${state} 1 1 1 0 -1 4 0 0 0 0 0 0 0 0 20 0 ${threads} 0 4711 0 0`;
  assert.deepEqual(parseStat(line("Z", 1)), { startTime: "4711", ended: true });
  assert.deepEqual(parseStat(line("X", 0)), { startTime: "4711", ended: true });
  // Killed, while a thread is inside a call to the kernel.
  assert.deepEqual(parseStat(line("Z", 2)), { startTime: "4711", ended: false });
  for (const state of "RSDTtI") assert.equal(parseStat(line(state, 1)).ended, false, state);
  assert.deepEqual(parseStat(""), { startTime: "", ended: false });
});

/** Processes as a test has them: this one, and others that die when it says so. */
class Named implements Processes {
  readonly dead = new Set<number>();

  identify(others: readonly number[]): ReturnType<Processes["identify"]> {
    const [first = 0, ...rest] = [1, ...others];
    const name = (pid: number) => ({ host: "here", pid, startTime: "1" });
    return Promise.resolve(others.some((pid) => this.dead.has(pid)) ? null : [name(first), ...rest.map(name)]);
  }

  isDead({ pid }: { readonly pid: number }): Promise<boolean> {
    return Promise.resolve(this.dead.has(pid));
  }
}

test("acquire() follows a holder at once when all that act for it are dead, in whatever order they die", async () => {
  for (const order of [[1, 2, 3], [3, 2, 1], [2, 1, 3], [2, 3, 1]]) {
    const processes = new Named();
    const directory = newRoot();
    const provider = () => new FileProvider(directory, systemClock, nodeFiles, { processes, heldBy: () => [2, 3] });
    await win(provider());
    for (const pid of order) {
      assert.equal((await provider().acquire(request(), soon())).acquired, false, `${pid} of ${order} lives`);
      assert.equal((await provider().read("g", soon()))?.token, 1n);
      processes.dead.add(pid);
    }
    assert.equal(await provider().read("g", soon()), null);
  }
});

test("acquire() asks anew for each claim who acts for the holder, and names nobody if one cannot be found", async (t) => {
  if (self === null) return t.skip("no process counts as dead here: no /proc");
  const directory = newRoot();
  const child = idle();
  let pids: readonly number[] = [child.pid];
  const provider = await openProvider(`file://${directory}`, { heldBy: () => pids });
  const holdersOf = async (token: bigint) => {
    const record = JSON.parse(await readFile(join(directory, "g", String(token)), "utf8"));
    return [record.holder?.pid ?? null, ...record.heldBy.map(({ pid }: { pid: number }) => pid)];
  };
  const first = await win(provider);
  assert.deepEqual(await holdersOf(first.token), [process.pid, child.pid]);
  await provider.release(first, soon());
  await end(child);
  for (const gone of [child.pid, 0, 2 ** 22 + 1]) {
    pids = [process.ppid, gone];
    const lease = await win(provider);
    assert.deepEqual(await holdersOf(lease.token), [null], `process ${gone}`);
    await provider.release(lease, soon());
  }
  pids = [];
  assert.deepEqual(await holdersOf((await win(provider)).token), [process.pid]);
});

test("acquire() does not follow a dead holder while a process that acts for it lives", async (t) => {
  if (self === null) return t.skip("no process counts as dead here: no /proc");
  const directory = newRoot();
  const guard = idle();
  await win(fileProvider({ directory, heldBy: () => [guard.pid] }));
  // As if this process had died, and its number had been given to another.
  await rewrite(join(directory, "g", "1"), (record) => record["holder"] = { ...self, startTime: "1" });
  assert.equal((await fileProvider({ directory }).acquire(request(), soon())).acquired, false);
  await end(guard);
  await until("the lease is free", async () => (await fileProvider({ directory }).acquire(request(), soon())).acquired);
});

test("acquire() judges no process of another pid namespace or clock, as those of containers that share a directory", async (t) => {
  const script = fileURLToPath(new URL("./file_contender.ts", import.meta.url));
  const args = "Deno" in globalThis ? ["run", "-A", "--no-config", "--no-lock", "--no-check", script] : [script];
  for (const flags of [["--pid", "--fork", "--mount-proc"], ["--time", "--boottime", "100000", "--fork"]]) {
    if (self === null || spawnSync("unshare", [...flags, "true"]).status !== 0) {
      return t.skip("only root on Linux may make namespaces");
    }
    const directory = newRoot();
    const lease = await win(fileProvider({ directory }));
    // In there, nobody has the number of this process, or it started at another time; out here, nobody has theirs.
    const inside = spawnSync("unshare", [...flags, process.execPath, ...args, directory, "60000"], {
      input: "once g\nonce h\n",
      encoding: "utf8",
      env: { ...process.env, NODE_NO_WARNINGS: "1" },
    });
    assert.deepEqual(inside.stdout.split("\n").filter((line) => /held|won/.test(line)).sort(), [
      '{"held":1}',
      '{"won":1}',
    ], inside.stderr);
    assert.equal((await fileProvider({ directory }).acquire(request("h"), soon())).acquired, false, flags.join(" "));
    assert.equal(await fileProvider({ directory }).renew(lease, soon()), "renewed");
  }
});
