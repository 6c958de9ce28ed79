/** Directories that no election can use end its start, instead of being waited for. */

import { existsSync } from "node:fs";
import { mkdir, mkdtemp, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { pathToFileURL } from "node:url";
import "../../../providers/file.ts";
import { refused, refusedToAll } from "../refused.ts";

test("elect() rejects, when there is no directory, and none can be made", async () => {
  const directory = await mkdtemp(join(tmpdir(), "elect-file-"));
  const at = (path: string) => pathToFileURL(join(directory, path));
  try {
    await writeFile(join(directory, "text"), "no directory");
    await refusedToAll(at("text"), /something that is not a directory is in the way/);
    await refusedToAll(at("text/leases"), /something that is not a directory is in the way/);
    await mkdir(join(directory, "elsewhere"));
    await mkdir(join(directory, "leases"));
    await symlink(join(directory, "elsewhere"), join(directory, "leases", "g"));
    await refused(at("leases"), /is a symbolic link/, { electionGroup: "g" });
  } finally {
    await rm(directory, { recursive: true });
  }
});

// Nobody may make a directory there, not even root.
test("elect() rejects, when the user may not write there", { skip: !existsSync("/sys/kernel") }, async () => {
  await refused("file:///sys/kernel/elect", /this user may not|the file system is read-only/);
});
