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

/** Returns the type of the file system that a path is on: on Linux, the `f_type` of statfs(2). */
export type Statfs = (path: string) => Promise<{ readonly type: number }>;

/** By the kernel's `linux/magic.h`, and the sources of the file systems that are not there. */
const NETWORK = new Map([
  [0x6969, "NFS"],
  [0x517b, "SMB"],
  [0xff53_4d42, "CIFS"],
  [0xfe53_4d42, "SMB"],
  [0x5346_414f, "AFS"],
  [0x6b41_4653, "AFS"],
  [0x7375_7245, "Coda"],
  [0x00c3_6400, "Ceph"],
  [0x0bd0_0bd0, "Lustre"],
  [0x0102_1997, "9p"],
]);

const hostStatfs: Statfs | null = process.platform === "linux" ? (path) => statfs(path) : null;

/**
 * Refuses a path on a network file system.
 *
 * @throws {Error} if it is on one, for good
 */
export async function refuseNetwork(path: string, ask: Statfs | null = hostStatfs): Promise<void> {
  const found = await ask?.(path).catch(() => null);
  // Where a C `long` has 32 bits, two of the numbers are negative.
  const name = NETWORK.get((found?.type ?? 0) >>> 0);
  if (name === undefined) return;
  const instead = "use a disk of this host, or a server such as PostgreSQL for elections between hosts";
  throw permanently(new Error(`it is on a network file system (${name}), which breaks SQLite's locks: ${instead}`));
}
