/** What the place of leases in files says about them. */

import assert from "node:assert/strict";
import { chmod, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { test } from "node:test";
import { fileProvider } from "../../../providers/file.ts";
import { inspectFileSystem } from "../../../providers/kit/file_system.ts";
import type { Finding } from "../../../src/provider.ts";
import { soon } from "../asking.ts";
import { mounted } from "../mounted.ts";

const levels = (findings: readonly Finding[]) => findings.map(({ about, level }) => `${about}: ${level}`);

test("inspectFileSystem() tells what a kind of file system means for leases, and its room", async (t) => {
  if (process.platform !== "linux") return t.skip("other systems have other numbers");
  const roomy = { type: 0xef53, bsize: 4096, bavail: 1_000_000, files: 1_000, ffree: 900 };
  const asked = async (changes: Partial<typeof roomy>) => {
    const findings = await inspectFileSystem(tmpdir(), () => Promise.resolve({ ...roomy, ...changes }));
    assert.ok(findings.every(({ level, remedy }) => level === "ok" || remedy !== undefined));
    return levels(findings).slice(0, 2);
  };
  const room = "free space: ok";
  assert.deepEqual(await asked({}), ["file system: ok", room]);
  for (const type of [0x6969, 0xff534d42, 0xff534d42 | 0]) {
    assert.deepEqual(await asked({ type }), ["file system: error", room]);
  }
  for (const type of [0x01021994, 0x858458f6, 0x794c7630, 0x65735546]) {
    assert.deepEqual(await asked({ type }), ["file system: warning", room]);
  }
  const kind = "file system: ok";
  assert.deepEqual(await asked({ bavail: 0 }), [kind, "free space: error"]);
  assert.deepEqual(await asked({ ffree: 0 }), [kind, "free space: error"]);
  assert.deepEqual(await asked({ bavail: 100 }), [kind, "free space: warning"]);
  assert.deepEqual(await asked({ ffree: 10 }), [kind, "free space: warning"]);
  assert.deepEqual(await asked({ files: 0, ffree: 0 }), [kind, room], "some have no limit");
  const unknown = await inspectFileSystem(tmpdir(), () => Promise.reject(new Error("not permitted")));
  assert.deepEqual(levels(unknown).slice(0, 1), ["file system: warning"]);
});

test("file: inspect() looks at the directory, or at the one above it, and makes none", async (t) => {
  const parent = await mkdtemp(join(tmpdir(), "elect-place-"));
  try {
    const inspect = async (directory: string) => {
      await using provider = fileProvider({ directory });
      const { version, findings } = await provider.inspect?.(soon()) ?? { version: "", findings: [] };
      assert.equal(version, null);
      return findings;
    };
    const findings = await inspect(join(parent, "not", "there"));
    assert.deepEqual(findings.map(({ about }) => about), ["file system", "free space", "permissions"]);
    assert.match(findings[2]?.text ?? "", new RegExp(`^${parent} may be read and written`));
    if (process.platform === "win32") return;
    await chmod(parent, 0o777);
    assert.equal(levels(await inspect(parent))[2], "permissions: warning");
    const disk = await mounted(t, join(parent, "disk"), "size=64k,mode=700");
    if (disk === null) return;
    try {
      assert.deepEqual(levels(await inspect(disk.directory)), [
        "file system: warning",
        "free space: warning",
        "permissions: ok",
      ]);
      await writeFile(join(disk.directory, "ballast"), "x".repeat(128 * 1024)).catch(() => {});
      assert.equal(levels(await inspect(disk.directory))[1], "free space: error");
    } finally {
      disk.done();
    }
  } finally {
    await rm(parent, { recursive: true });
  }
});
