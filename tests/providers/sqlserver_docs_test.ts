/** What the documentation of the SQL Server provider says, as far as it can be compared. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { test } from "node:test";
import { SETTINGS } from "../../providers/sqlserver/settings.ts";
import { buildStatements } from "../../providers/sqlserver/statements.ts";

const text = readFileSync(new URL("../../docs/backends/sqlserver.md", import.meta.url), "utf8");

test("the documentation has the table that the provider makes", () => {
  const columnsIn = (sql: string) =>
    /CREATE TABLE [^(]*\(\n([^;]*?)\n\s*\);/.exec(sql)?.[1]?.split("\n").map((line) => line.trim());
  const made = columnsIn(buildStatements("locks", "multilock_leases").createTable);
  assert.equal(made?.length, 13);
  assert.deepEqual(columnsIn(text), made);
});

test("the documentation names every setting", () => {
  for (const name of Object.keys(SETTINGS)) assert.ok(text.includes(`\`${name}\``), name);
});
