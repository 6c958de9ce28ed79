/** The lease register of the SQLite provider, under concurrent clients that share a database. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { sqliteProvider } from "../../providers/sqlite.ts";
import { checkRegister } from "../linearizability_run.ts";

test("the lease register of sqlite is linearizable", async () => {
  const directory = await mkdtemp(join(tmpdir(), "elect-linearizability-"));
  try {
    await checkRegister({
      name: "sqlite",
      open: () => sqliteProvider({ path: join(directory, "elections.db") }),
      heartbeatTimeout: 400,
      durationMs: 6_000,
      paceMs: 40,
      // Every observer judges for itself what stands still.
      expiry: "revocable",
    });
  } finally {
    await rm(directory, { recursive: true });
  }
});
