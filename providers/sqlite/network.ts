/**
 * Network file systems, as Linux names them. SQLite's locks may hold nobody off there, and the index of its log is
 * memory that only the processes of one host share: two would be granted one lease.
 *
 * FUSE has one number for whatever is behind it, and is let through, as is what nobody can be asked about: a system
 * other than Linux, or Deno without `--allow-sys=statfs`.
 *
 * @module
 */

import { statfs } from "node:fs/promises";
import process from "node:process";
import { permanently } from "../../src/call.ts";
import { networkName } from "../kit/file_system.ts";

/** Returns the type of the file system that a path is on: on Linux, the `f_type` of statfs(2). */
export type Statfs = (path: string) => Promise<{ readonly type: number }>;

const hostStatfs: Statfs | null = process.platform === "linux" ? (path) => statfs(path) : null;

/**
 * Refuses a path on a network file system.
 *
 * @throws {Error} if it is on one, for good
 */
export async function refuseNetwork(path: string, ask: Statfs | null = hostStatfs): Promise<void> {
  const found = await ask?.(path).catch(() => null);
  const name = networkName(found?.type ?? 0);
  if (name === undefined) return;
  const instead = "use a disk of this host, or a server such as PostgreSQL for elections between hosts";
  throw permanently(new Error(`it is on a network file system (${name}), which breaks SQLite's locks: ${instead}`));
}
