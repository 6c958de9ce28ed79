/** SQLite beside the bare statements: an insert that waits for the disk, an update that does not, a delete. */

import { rm } from "node:fs/promises";
import { DatabaseSync } from "node:sqlite";
import { fileURLToPath } from "node:url";
import { sqliteProvider } from "../../providers/sqlite.ts";
import type { BenchBackend } from "../backend.ts";

/** Opens the provider on the file of `url`, and keeps the bare statements in another one beside it. */
export function open(url: string): Promise<BenchBackend> {
  const path = fileURLToPath(url.replace(/^sqlite:/, "file:"));
  const provider = sqliteProvider({ path });
  const bare = new DatabaseSync(`${path}.bare`);
  bare.exec("PRAGMA journal_mode = WAL; CREATE TABLE locks (name TEXT PRIMARY KEY, beat INTEGER) STRICT");
  const run = (sql: string) => Promise.resolve(bare.exec(sql));
  return Promise.resolve({
    provider,
    bare: {
      acquireWon: () =>
        run("PRAGMA synchronous = FULL; INSERT INTO locks VALUES ('a', 0); PRAGMA synchronous = NORMAL"),
      acquireLost: () => run("SELECT * FROM locks WHERE name = 'a'"),
      heartbeat: () => run("UPDATE locks SET beat = beat + 1 WHERE name = 'a'"),
      release: () => run("DELETE FROM locks WHERE name = 'a'"),
    },
    version: () => Promise.resolve(`SQLite ${bare.prepare("SELECT sqlite_version() AS v").get()?.["v"]}`),
    heartbeatTimeout: 15_000,
    async close() {
      await provider[Symbol.asyncDispose]();
      bare.close();
      for (const file of [path, `${path}.bare`]) {
        for (const end of ["", "-wal", "-shm"]) await rm(file + end, { force: true });
      }
    },
  });
}
