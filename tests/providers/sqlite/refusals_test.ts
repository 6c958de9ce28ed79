/** Files that no election can use end its start, instead of being waited for. */

import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import "../../../providers/sqlite.ts";
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
