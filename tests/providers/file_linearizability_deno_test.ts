/** The lease register of the file provider, under concurrent clients that share a directory. */

import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { fileProvider } from "../../providers/file.ts";
import { checkRegister } from "../linearizability_run.ts";

test("the lease register of file is linearizable", async () => {
  const directory = await mkdtemp(join(tmpdir(), "elect-linearizability-"));
  try {
    await checkRegister({
      name: "file",
      open: () => fileProvider({ directory }),
      heartbeatTimeout: 400,
      durationMs: 6_000,
      paceMs: 40,
      // Every observer judges for itself what stands still.
      expiry: "revocable",
      // A provider that has once renewed a term counts from what it did itself.
      renewsOthers: false,
    });
  } finally {
    await rm(directory, { recursive: true });
  }
});
