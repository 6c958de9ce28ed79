/** Files that no election can use end its start, instead of being waited for. */

import assert from "node:assert/strict";
import { mkdir, mkdtemp, readdir, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { sqliteProvider } from "../../../providers/sqlite.ts";
import { SqliteProvider } from "../../../providers/sqlite/provider.ts";
import { systemClock } from "../../../src/time/clock.ts";
import { request, soon, win } from "../asking.ts";
import { refused, refusedToAll } from "../refused.ts";

test("elect() rejects, when the file is a directory, has none, or is not a database of elections", async () => {
  const directory = await mkdtemp(join(tmpdir(), "elect-sqlite-"));
  const at = (path: string) => `sqlite:${directory}/${path}`;
  try {
    await mkdir(join(directory, "directory"));
    await refusedToAll(at("directory"), /it is a directory/);
    await refused(at("no/such/elections.db"), /the directory of the file does not exist/);
    await writeFile(join(directory, "text"), "neither a database nor empty. ".repeat(100));
    await refusedToAll(at("text"), /not a database/);
    await refusedToAll(at("text/elections.db"), /something that is not a directory is in the way/);
    await refusedToAll("sqlite:/dev/null", /not a database of elections/);
  } finally {
    await rm(directory, { recursive: true });
  }
});

test("elect() rejects, when the file is on a network file system, or would be, and leaves it as it is", async () => {
  const directory = await mkdtemp(join(tmpdir(), "elect-sqlite-"));
  try {
    const path = join(directory, "elections.db");
    let [type, asked] = [0, ""];
    const statfs = (path: string) => Promise.resolve({ type, asked: asked = path });
    const open = (at = path) => new SqliteProvider(at, systemClock, 5_000, { statfs });
    const types = [0x6969, 0x517b, 0xff534d42, 0xfe534d42, 0x5346414f, 0x6b414653, 0xc36400, 0xbd00bd0, 0x1021997];
    for (type of [...types, 0xff534d42 | 0]) {
      await using none = open();
      await refusedToAll(none, /network file system \((NFS|SMB|CIFS|AFS|Ceph|Lustre|9p)\).*use a disk of this host/);
      assert.equal(asked, directory, "of a file that is not there, the directory tells");
      await assert.rejects(none.healthCheck(soon()), /network file system/);
    }
    assert.deepEqual(await readdir(directory), []);
    // FUSE, ext4, and a mount that hides the file of before.
    for (type of [0x65735546, 0xef53]) {
      await using local = open();
      await win(local, request(String(type)));
    }
    type = 0x6969;
    await using mounted = open();
    await refusedToAll(mounted, /network file system \(NFS\)/);
    assert.equal(asked, path, "of one that is there, itself tells: it may be a link to elsewhere");
    await using elsewhere = sqliteProvider({ path });
    assert.equal((await elsewhere.groups?.(soon()))?.length, 2);
  } finally {
    await rm(directory, { recursive: true });
  }
});

test("a file system that cannot be asked refuses nothing", async () => {
  const directory = await mkdtemp(join(tmpdir(), "elect-sqlite-"));
  try {
    const failing = () => Promise.reject(new Error('Requires sys access to "statfs"'));
    await using provider = new SqliteProvider(join(directory, "elections.db"), systemClock, 5_000, { statfs: failing });
    await win(provider);
  } finally {
    await rm(directory, { recursive: true });
  }
});
