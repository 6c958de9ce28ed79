/** Defects of `sqlite:`. */

import type { ProviderMutant } from "../provider_mutant.ts";

const LEASES = "providers/sqlite/leases.ts";
const TEST = "tests/providers/sqlite_test.ts";
const DEAD = "tests/providers/sqlite/dead_holder_test.ts";
const REFUSALS = "tests/providers/sqlite/refusals_test.ts";
const HINTS = "tests/providers/sqlite/hints_test.ts";

/** Each must be noticed by the tests of the provider. */
export const MUTANTS: readonly ProviderMutant[] = [
  mutant(
    "a renewal by group, whoever holds it",
    "  WHERE election_group = ? AND term_id = ?`;\nconst RELEASE",
    "  WHERE election_group = ? AND term_id <> ?`;\nconst RELEASE",
  ),
  mutant(
    "a release by group, whoever holds it",
    "metadata = ?\n  WHERE election_group = ? AND term_id = ?`;",
    "metadata = ?\n  WHERE election_group = ? AND term_id IS NOT NULL AND ? <> ''`;",
  ),
  mutant(
    "a renewal that leaves the version alone",
    "const RENEW = `UPDATE elections SET version = version + 1, heartbeat_at",
    "const RENEW = `UPDATE elections SET heartbeat_at",
  ),
  mutant("a heartbeat that moves back", "heartbeat_at = max(heartbeat_at, ?)", "heartbeat_at = ?"),
  {
    name: "tokens start anew",
    file: LEASES,
    find: "const token = (this.#tokens.get(electionGroup) ?? 0n) + 1n;",
    replace: "const token = 1n;",
    test: { file: TEST, filter: "a file that is removed" },
  },
  mutant(
    "a lease is free after half its time",
    "return row.termId === null || asOf - since >= lasts(row);",
    "return row.termId === null || asOf - since >= lasts(row) / 2;",
  ),
  mutant(
    "a lease never expires",
    "return row.termId === null || asOf - since >= lasts(row);",
    "return row.termId === null;",
  ),
  mutant(
    "a standstill is counted from the first look, whatever was written since",
    "const isSame = row !== null && earlier?.row?.version === row.version && earlier.row.termId === row.termId;",
    "const isSame = row !== null && earlier?.row !== null && earlier !== undefined;",
  ),
  {
    name: "tokens pass through a double",
    file: "providers/sqlite/database.ts",
    find: "statement.setReadBigInts(true);",
    replace: "statement.setReadBigInts(false);",
    test: { file: TEST, filter: "beyond 2^53" },
  },
  mutant("a term that asks again is refused", "if (row?.termId === termId) {", 'if (row?.termId === "") {'),
  mutant(
    "metadata that a renewal carries is dropped",
    "const json = metadata === undefined ? null : JSON.stringify(metadata);",
    "const json = metadata === undefined ? null : null;",
  ),
  {
    name: "a process that renews for another leaves its name",
    file: LEASES,
    find: "holders = CASE holders WHEN ? THEN holders ELSE '' END",
    replace: "holders = CASE ? WHEN '' THEN holders ELSE holders END",
    test: { file: DEAD, filter: "another process has renewed" },
  },
  {
    name: "the holder's own renewal wipes its name",
    file: LEASES,
    find: 'const holders = own?.termId === termId ? own.holders : "";',
    replace: 'const holders = own?.termId === "" ? own.holders : "";',
    test: { file: DEAD, filter: "own renewals" },
  },
  {
    name: "one dead process of several is enough",
    file: LEASES,
    find: "if (!(await this.#processes.isDead(each))) return false;\n    return known.length > 0;",
    replace: "if (await this.#processes.isDead(each)) return true;\n    return false;",
    test: { file: DEAD, filter: "while one of the processes" },
  },
  {
    name: "a death is not noticed",
    file: LEASES,
    find: "if (await look) this.#dead.set(electionGroup, holders);",
    replace: "await look;",
    test: { file: DEAD, filter: "own renewals" },
  },
  {
    name: "a death is no hint",
    file: "providers/sqlite/provider.ts",
    find: "await this.#leases.bury(electionGroups);",
    replace: "",
    test: { file: DEAD, filter: "at once" },
  },
  {
    name: "who has followed a dead holder is judged dead too",
    file: LEASES,
    find: "this.#dead.get(electionGroup) === row.holders) return true;",
    replace: "this.#dead.has(electionGroup)) return true;",
    test: { file: DEAD, filter: "own renewals" },
  },
  {
    name: "a full disk is for good",
    file: "providers/sqlite/database.ts",
    find: "readonly database|unable",
    replace: "readonly database|disk is full|unable",
    test: { file: "tests/providers/sqlite/full_disk_test.ts" },
  },
  {
    name: "a part of a new database stays",
    file: "providers/sqlite/database.ts",
    find: "await rm(draft + end, { force: true });",
    replace: "if (end !== '') await rm(draft + end, { force: true });",
    test: { file: "tests/providers/sqlite/full_disk_test.ts" },
  },
  {
    name: "a network file system is let through",
    file: "providers/sqlite/network.ts",
    find: "if (name === undefined) return;",
    replace: "if (name !== null) return;",
    test: { file: REFUSALS, filter: "network" },
  },
  {
    name: "negative numbers of network file systems are let through",
    file: "providers/kit/file_system.ts",
    find: "return NETWORK.get(type >>> 0);",
    replace: "return NETWORK.get(type);",
    test: { file: REFUSALS, filter: "network" },
  },
  {
    name: "a file system that cannot be asked is refused",
    file: "providers/sqlite/network.ts",
    find: "await ask?.(path).catch(() => null);",
    replace: "await ask?.(path);",
    test: { file: REFUSALS, filter: "cannot be asked" },
  },
  {
    name: "the file system of the directory is asked, wherever the file is",
    file: "providers/sqlite/database.ts",
    find: "refuseNetwork(id === null ? dirname(this.path) : this.path,",
    replace: "refuseNetwork(dirname(this.path),",
    test: { file: REFUSALS, filter: "network" },
  },
  {
    name: "a look at a foreign database leaves files beside it",
    file: "providers/sqlite/database.ts",
    find: 'alone.search = "immutable=1";',
    replace: "",
    test: { file: TEST, filter: "left as it is" },
  },
  {
    name: "Deno's watcher ends the locks of its process",
    file: "providers/sqlite/hints.ts",
    find: '"Deno" in globalThis ? null : new DirectoryWatch',
    replace: "new DirectoryWatch",
    test: { file: HINTS, filter: "locks of their process" },
  },
  {
    name: "a database that was killed while its log was written back is taken for broken",
    file: "providers/sqlite/database.ts",
    find: "if (isRefused || existsSync(`${path}-wal`))",
    replace: "if (isRefused)",
    test: { file: TEST, filter: "written back" },
  },
];

function mutant(name: string, find: string, replace: string): ProviderMutant {
  return { name, file: LEASES, find, replace, test: { file: TEST } };
}
