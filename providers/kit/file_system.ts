/**
 * The file system that a path is on, and what that means for leases which are kept there.
 *
 * @module
 */

import { constants } from "node:fs";
import { access, stat, statfs } from "node:fs/promises";
import { dirname } from "node:path";
import process from "node:process";
import type { Finding } from "../../src/provider.ts";
import { hasCode } from "./file_failure.ts";

/** The answer of statfs(2), as far as it is asked for. */
export interface FileSystem {
  /** On Linux, the kind: `f_type`. */
  readonly type: number;
  /** The size of a block, in bytes. */
  readonly bsize: number;
  /** The blocks that this user may still fill. */
  readonly bavail: number;
  /** The most files that there may be; 0 where there is no limit. */
  readonly files: number;
  /** The number of further files that there may be. */
  readonly ffree: number;
}

/** Asks for the file system of a path. */
export type AskFileSystem = (path: string) => Promise<FileSystem>;

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

/** Disks of this host. */
const LOCAL = new Map([
  [0xef53, "ext4"],
  [0x5846_5342, "XFS"],
  [0x9123_683e, "Btrfs"],
  [0x2fc1_2fc1, "ZFS"],
  [0xf2f5_2010, "F2FS"],
]);

/** File systems on which leases can be kept, each with what that costs. */
const DOUBTFUL = new Map([
  [0x0102_1994, "tmpfs: memory, so that a restart of the machine forgets leases and tokens"],
  [0x8584_58f6, "ramfs: memory, so that a restart of the machine forgets leases and tokens"],
  [0x794c_7630, "overlayfs: the layer of one container, which no other shares and which goes with it"],
  [0x6573_5546, "FUSE: whatever is behind it cannot be told, and a network must not be"],
]);

/** Less free space than this is worth a warning, in bytes. */
const LITTLE_SPACE = 16 * 1024 * 1024;
/** Fewer files that may still be made than this are, too. */
const FEW_FILES = 100;

/** Names the network file system that has this type on Linux; undefined if it is none. */
export function networkName(type: number): string | undefined {
  // Where a C `long` has 32 bits, two of the numbers are negative.
  return NETWORK.get(type >>> 0);
}

/**
 * Says where leases are kept at `path`, which need not be there yet: the kind of file system, its room, and who may
 * write. What cannot be asked is a finding.
 */
export async function inspectFileSystem(path: string, ask: AskFileSystem = statfs): Promise<Finding[]> {
  const place = await nearest(path);
  const found = await ask(place).catch((error: unknown) => String(error instanceof Error ? error.message : error));
  return [
    ...(typeof found === "string"
      ? [{ about: "file system", level: "warning" as const, text: `unknown: ${found}` }]
      : [kindOf(found.type), roomOf(found)]),
    await writersOf(place),
  ];
}

function kindOf(type: number): Finding {
  const about = "file system";
  if (process.platform !== "linux") return { about, level: "ok", text: "of a kind that this system does not tell" };
  const network = networkName(type);
  const remedy = "a disk of this host, or a server such as PostgreSQL for elections between hosts";
  if (network !== undefined) {
    return { about, level: "error", text: `${network}: a network's, where two can be granted one lease`, remedy };
  }
  const doubt = DOUBTFUL.get(type >>> 0);
  if (doubt !== undefined) return { about, level: "warning", text: doubt, remedy };
  const name = LOCAL.get(type >>> 0) ?? `type 0x${(type >>> 0).toString(16)}`;
  return { about, level: "ok", text: `${name}: what is written through survives a restart` };
}

function roomOf({ bsize, bavail, files, ffree }: FileSystem): Finding {
  const about = "free space";
  const bytes = bsize * bavail;
  const mebibytes = `${Math.floor(bytes / 1024 / 1024)} MiB`;
  if (bytes === 0 || (files > 0 && ffree === 0)) {
    const text = `${bytes === 0 ? "none" : "no file may be made"}: nobody can begin a term`;
    return { about, level: "error", text, remedy: "room" };
  }
  if (bytes < LITTLE_SPACE || (files > 0 && ffree < FEW_FILES)) {
    const text = `${mebibytes}, and ${ffree} files: on a full disk nobody can begin a term`;
    return { about, level: "warning", text, remedy: "room" };
  }
  return { about, level: "ok", text: mebibytes };
}

async function writersOf(path: string): Promise<Finding> {
  const about = "permissions";
  try {
    await access(path, constants.R_OK | constants.W_OK);
    const { mode, uid } = await stat(path);
    // A sticky directory lets nobody remove what is another's.
    if (process.platform !== "win32" && (mode & 0o002) !== 0 && (mode & 0o1000) === 0) {
      const text = `${path} may be written by everybody, who can then take leases and remove tokens`;
      return { about, level: "warning", text, remedy: `chmod o-w ${path}` };
    }
    return { about, level: "ok", text: `${path} may be read and written, and belongs to user ${uid}` };
  } catch (error) {
    const text = `${path} may not be read and written: ${error instanceof Error ? error.message : error}`;
    return { about, level: "error", text, remedy: "another user, or the rights of the directory" };
  }
}

/** The path, or the directory above it that is there. */
async function nearest(path: string): Promise<string> {
  try {
    await stat(path);
    return path;
  } catch (error) {
    const above = dirname(path);
    if (!hasCode(error, "ENOENT") || above === path) return path;
    return await nearest(above);
  }
}
