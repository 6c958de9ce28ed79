/** What the file provider removes: what is provably its own, and nothing else. */

import assert from "node:assert/strict";
import { copyFile, mkdir, readdir, readFile, readlink, rm, stat, symlink, unlink, writeFile } from "node:fs/promises";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { fileProvider } from "../../providers/file.ts";
import { nodeFiles } from "../../providers/file/directory.ts";
import { FileProvider } from "../../providers/file/provider.ts";
import { systemClock } from "../../src/time/clock.ts";
import { ProviderError } from "../../src/errors.ts";
import type { Provider } from "../../src/provider.ts";
import { VirtualClock } from "../../testing/virtual_clock.ts";
import { newRoots, request, soon, win } from "./file/fixture.ts";

const newRoot = await newRoots("sweep");

/** Lets one term after the other begin and end. Returns the directory of the group, in which the last one lasts. */
async function terms(directory: string, count: number, provider: Provider = fileProvider({ directory })) {
  for (let i = 1; i <= count; i++) {
    const lease = await win(provider);
    await provider.renew(lease, { ...soon(), metadata: { i: String(i) } });
    if (i < count) await provider.release(lease, soon());
  }
  return join(directory, "g");
}

/** Names and contents of a directory, with those below it. */
async function contents(path: string): Promise<Map<string, string>> {
  const all = new Map<string, string>();
  for (const entry of await readdir(path, { withFileTypes: true })) {
    const at = join(path, entry.name);
    all.set(at, entry.isFile() ? await readFile(at, "utf8") : entry.isDirectory() ? "a directory" : "something else");
    if (entry.isDirectory()) { for (const [name, text] of await contents(at)) all.set(name, text); }
  }
  return all;
}

async function assertKept(before: Map<string, string>, path: string): Promise<void> {
  const now = await contents(path);
  for (const [name, text] of before) assert.equal(now.get(name), text, `${name} must be left as it is`);
}

/** What somebody else may keep under names like ours. `own` is the directory of a group, for copies. */
const FOREIGN: readonly { what: string; make(path: string, number: number, own: string): Promise<unknown> }[] = [
  { what: "a mail", make: (path, number) => writeFile(join(path, `${number}`), "From: somebody") },
  { what: "an empty file", make: (path, number) => writeFile(join(path, `${number}`), "") },
  { what: "JSON", make: (path, number) => writeFile(join(path, `${number}`), '{"electionGroup":"g"}') },
  { what: "a directory", make: (path, number) => mkdir(join(path, `${number}`)) },
  {
    what: "a directory with files",
    make: async (path, number) => {
      await mkdir(join(path, `${number}.${UUID}`));
      await writeFile(join(path, `${number}.${UUID}`, `${number}`), "x");
    },
  },
  {
    what: "a link to a record of ours elsewhere",
    make: async (path, number, own) => {
      const record = (await readdir(own)).find((name) => /^\d+\.[0-9a-f-]{36}$/.test(name)) ?? "";
      await mkdir(join(path, "~elsewhere"), { recursive: true });
      await copyFile(join(own, record), join(path, "~elsewhere", record));
      await symlink(join("~elsewhere", record), join(path, record.replace(/^\d+/, `${number}`)));
      await symlink(join("~elsewhere", record), join(path, `${number}`));
    },
  },
  { what: "a file named like a term's", make: (path, number) => writeFile(join(path, `${number}.${UUID}`), "x") },
  {
    what: "what was added to nothing",
    make: (path, number) => writeFile(join(path, `${number}.${UUID}.released`), ""),
  },
  {
    what: "an old copy of a record",
    make: async (path, number, own) => {
      const record = (await readdir(own)).find((name) => /^\d+\.[0-9a-f-]{36}$/.test(name)) ?? "";
      await copyFile(join(own, record), join(path, `${number}.${UUID}`));
      await copyFile(join(own, record), join(path, `${number}`));
    },
  },
];
const UUID = "01234567-89ab-4cde-8f01-23456789abcd";

test("acquire() removes nothing that is not provably its own, whatever its name", async () => {
  for (const { what, make } of FOREIGN) {
    const directory = newRoot();
    const provider = fileProvider({ directory });
    const own = await terms(directory, 12, provider);
    for (const number of [3, 5, 11]) {
      await make(own, number, own);
    }
    const foreign = await contents(own);
    for (const name of foreign.keys()) if (/\/12(\.|$)/.test(name)) foreign.delete(name);
    assert.ok(foreign.size > 0, what);
    for (let i = 0; i < 3; i++) {
      const leader = await provider.read("g", soon());
      await provider.release({ electionGroup: "g", termId: leader?.termId ?? "" }, soon());
      await win(provider);
    }
    await assertKept(foreign, own);
    const ours = (await readdir(own)).filter((name) => !foreign.has(join(own, name)));
    assert.deepEqual(ours.filter((name) => /^1[234](\.|$)/.test(name)), [], `${what}: ours go`);
  }
});

test("acquire() removes what a late claim left, but not what another keeps under its number", async () => {
  const directory = newRoot();
  const provider = fileProvider({ directory });
  const own = await terms(directory, 5, provider);
  const record = JSON.parse(await readFile(join(own, "5"), "utf8"));
  await writeFile(join(own, `3.${UUID}`), JSON.stringify({ ...record, beat: `3.${UUID}` }));
  await writeFile(join(own, "3"), "From: somebody");
  await provider.release({ electionGroup: "g", termId: record.termId }, soon());
  await win(provider);
  assert.deepEqual((await readdir(own)).filter((name) => /^[1-5](\.|$)/.test(name)), ["3"]);
  assert.equal(await readFile(join(own, "3"), "utf8"), "From: somebody");
});

test("acquire() removes nothing in a directory full of numbers, also when it has taken them for a lease", async () => {
  const directory = newRoot();
  await mkdir(join(directory, "g"), { recursive: true });
  for (const number of [1, 2, 3, 17]) await writeFile(join(directory, "g", `${number}`), `message ${number}`);
  const before = await contents(directory);
  const time = new VirtualClock();
  const provider = fileProvider({ directory, clock: time });
  await assert.rejects(provider.acquire(request(), soon()), /not a record of this group/);
  time.jump(61_000);
  assert.equal((await win(provider)).token, 18n);
  await assertKept(before, directory);
});

test("acquire() and every other call refuse a symbolic link in place of a group's directory, and write nothing there", async () => {
  const directory = newRoot();
  const elsewhere = join(newRoot(), "inbox");
  const ownElsewhere = await terms(newRoot(), 3);
  await mkdir(elsewhere, { recursive: true });
  await writeFile(join(elsewhere, "17"), "From: somebody");
  await mkdir(directory, { recursive: true });
  const empty = newRoot();
  await mkdir(empty);
  for (const [i, target] of [elsewhere, ownElsewhere, empty, newRoot()].entries()) {
    const before = await contents(target).catch(() => new Map());
    await rm(join(directory, "g"), { force: true });
    await symlink(target, join(directory, "g"));
    const time = new VirtualClock();
    const provider = fileProvider({ directory, clock: time });
    for (let tries = 0; tries < 3; tries++) {
      await assert.rejects(provider.acquire(request(), soon()), (error) => {
        return error instanceof ProviderError && error.message.includes(`${join(directory, "g")} is a symbolic link`);
      });
      time.jump(61_000);
    }
    if (i === 1) {
      const termId = JSON.parse(await readFile(join(target, "3"), "utf8")).termId;
      await assert.rejects(provider.release({ electionGroup: "g", termId }, soon()), /is a symbolic link/);
    }
    assert.deepEqual(await contents(target).catch(() => new Map()), before);
    assert.deepEqual(await provider.groups?.(soon()), []);
  }
  // The root may be one: its owner chose it.
  const real = newRoot();
  await mkdir(real);
  const root = newRoot();
  await symlink(real, root);
  assert.equal((await win(fileProvider({ directory: root }))).token, 1n);
});

test("acquire() does not open what is no regular file, such as a pipe", async (t) => {
  if (process.platform === "win32") return t.skip("no pipes in directories");
  const { spawnSync } = await import("node:child_process");
  const directory = newRoot();
  await mkdir(join(directory, "g"), { recursive: true });
  assert.equal(spawnSync("mkfifo", [join(directory, "g", "7")]).status, 0);
  const time = new VirtualClock();
  const provider = fileProvider({ directory, clock: time });
  await assert.rejects(provider.acquire(request(), soon()), /not a record of this group/);
  time.jump(61_000);
  assert.equal((await win(provider)).token, 8n);
  assert.ok((await stat(join(directory, "g", "7"))).isFIFO());
});

test("acquire() takes a symbolic link that leads nowhere for somebody else's file, and goes on after it", async (t) => {
  if (process.platform === "win32") return t.skip("not everybody may make symbolic links");
  for (const target of ["nowhere", "7"]) {
    const directory = newRoot();
    await mkdir(join(directory, "g"), { recursive: true });
    await symlink(target, join(directory, "g", "7"));
    const time = new VirtualClock();
    const provider = fileProvider({ directory, clock: time });
    await assert.rejects(provider.acquire(request(), soon()), /g.7 is not a record of this group/);
    time.jump(61_000);
    assert.equal((await win(provider)).token, 8n);
    assert.equal(await readlink(join(directory, "g", "7")), target);
  }
});

test("acquire() removes what ended terms left in ascending order, number first, and stops where it cannot", async () => {
  for (const stuck of [null, 2, 4]) {
    const directory = newRoot();
    // Nothing is swept while these come and go.
    const hoarder = new FileProvider(directory, systemClock, {
      ...nodeFiles,
      unlink: () => Promise.reject(Object.assign(new Error("EBUSY"), { code: "EBUSY" })),
    });
    const own = await terms(directory, 5, hoarder);
    const removed: string[] = [];
    const provider = new FileProvider(directory, systemClock, {
      ...nodeFiles,
      unlink(path) {
        const name = String(path).split(/[\\/]/).at(-1) ?? "";
        if (name.startsWith(`${stuck}.`)) return Promise.reject(Object.assign(new Error("EBUSY"), { code: "EBUSY" }));
        removed.push(name.replace(/[0-9a-f-]{36}/, "UUID"));
        return unlink(path);
      },
    });
    const leader = await provider.read("g", soon());
    await provider.release({ electionGroup: "g", termId: leader?.termId ?? "" }, soon());
    assert.equal((await win(provider)).token, 6n);
    const numbers = removed.map((name) => Number(name.split(".")[0]));
    assert.deepEqual(numbers, numbers.toSorted((a, b) => a - b));
    assert.deepEqual([...new Set(numbers)], stuck === null ? [1, 2, 3, 4, 5] : [1, 2, 3, 4].slice(0, stuck));
    for (const number of new Set(numbers)) {
      const names = removed.filter((name) => name.startsWith(`${number}`));
      assert.equal(names[0], `${number}`);
      if (number !== stuck) {
        assert.equal(names.at(-1), `${number}.UUID`, "the file that tells what the others are goes last");
      }
    }
    const left = await readdir(own);
    assert.equal(left.some((name) => name.startsWith("1")), false);
    assert.equal(left.some((name) => name.startsWith("5.")), stuck !== null);
  }
});

test("acquire() whose sweep stalls until the directory was removed and made anew removes nothing of those who began anew", async () => {
  const directory = newRoot();
  let stall = true;
  const arrived = Promise.withResolvers<void>();
  const go = Promise.withResolvers<void>();
  const slow = new FileProvider(directory, systemClock, {
    ...nodeFiles,
    async unlink(path) {
      if (stall) {
        stall = false;
        arrived.resolve();
        await go.promise;
      }
      await unlink(path);
    },
  });
  const hoarder = new FileProvider(directory, systemClock, {
    ...nodeFiles,
    unlink: () => Promise.reject(Object.assign(new Error("EBUSY"), { code: "EBUSY" })),
  });
  const own = await terms(directory, 4, hoarder);
  const leader = await hoarder.read("g", soon());
  await hoarder.release({ electionGroup: "g", termId: leader?.termId ?? "" }, soon());
  const sweeping = slow.acquire(request(), soon());
  await arrived.promise;
  await rm(own, { recursive: true });
  const fresh = fileProvider({ directory });
  await terms(directory, 2, fresh);
  const before = await contents(own);
  go.resolve();
  await sweeping;
  // The number whose removal was already under way cannot be called back; here it was 1, which is swept in the new one
  // too.
  await assertKept(before, own);
  assert.equal((await fresh.read("g", soon()))?.token, 2n);
});

test("acquire() and renew() that fail on the way leave no file behind", async () => {
  const fails = (call: "link" | "rename" | "open", code: string) => () =>
    Promise.reject(Object.assign(new Error(`${code}: as the kernel says`), { code, call }));
  for (const call of ["link", "open"] as const) {
    const directory = newRoot();
    const provider = new FileProvider(directory, systemClock, { ...nodeFiles, [call]: fails(call, "ENOSPC") });
    await assert.rejects(provider.acquire(request(), soon()), /disk is full/);
    assert.deepEqual(await readdir(join(directory, "g")), [], call);
  }
  const directory = newRoot();
  const lease = await win(fileProvider({ directory }));
  const before = (await readdir(join(directory, "g"))).sort();
  const provider = new FileProvider(directory, systemClock, { ...nodeFiles, rename: fails("rename", "EDQUOT") });
  await assert.rejects(provider.renew(lease, { ...soon(), metadata: { a: "b" } }), /quota is used up/);
  assert.deepEqual((await readdir(join(directory, "g"))).sort(), before);
  const stopped = new AbortController();
  const aborting = new FileProvider(directory, systemClock, {
    ...nodeFiles,
    async open(...args: Parameters<typeof nodeFiles.open>) {
      const file = await nodeFiles.open(...args);
      stopped.abort(new Error("no answer in time"));
      return file;
    },
  });
  await assert.rejects(aborting.renew(lease, { signal: stopped.signal, metadata: { a: "b" } }), /no answer in time/);
  for (let i = 0; i < 200 && (await readdir(join(directory, "g"))).length > before.length; i++) {
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
  assert.deepEqual((await readdir(join(directory, "g"))).sort(), before);
});
