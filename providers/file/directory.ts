/**
 * The directory of one group: each method is one step of the protocol on disk.
 *
 * @module
 */

import { permanently } from "../../src/call.ts";
import {
  type FileHandle,
  link,
  lstat,
  mkdir,
  open,
  readdir,
  readFile,
  rename,
  stat,
  unlink,
  utimes,
} from "node:fs/promises";
import { dirname, join } from "node:path";
import process from "node:process";
import { hasCode } from "../kit/file_failure.ts";
import { directoryName, type Listing, parseListing } from "./names.ts";
import { parseRecord, type TermRecord } from "./record.ts";
import type { Slots } from "../kit/slots.ts";

/** The calls that the provider makes; a test can come between any two of them. */
export const nodeFiles = { link, lstat, mkdir, open, readdir, readFile, rename, stat, unlink, utimes };

/** See {@linkcode nodeFiles}. */
export type Files = typeof nodeFiles;

/** The modification time of a record that was linked, while nobody has confirmed that its claim stands. */
export const UNCONFIRMED = 0;
/** More than any record takes, in bytes. A larger file is not read: it is none. */
const MAX_RECORD_BYTES = 16 * 1024 * 1024;

/** The files of one group. The absence of a file is an answer; every other failure rejects. */
export class GroupDirectory {
  readonly #group: string;
  readonly #path: string;
  readonly #files: Files;
  readonly #slots: Slots;
  readonly #durable: boolean;
  /** True once the file system is known to keep times as they are needed. */
  #keepsTimes = false;
  #latestTimeMs = KEPT_BY_ALL_MS;

  /**
   * Names the directory of `group` in `root`, without I/O. Calls that open a file wait for one of `slots`, and nothing
   * waits for the disk unless it is `durable`.
   */
  constructor(root: string, group: string, files: Files, slots: Slots, durable: boolean) {
    this.#group = group;
    this.#path = join(root, directoryName(group));
    this.#files = files;
    this.#slots = slots;
    this.#durable = durable;
  }

  /**
   * The latest time to touch a file with. A file system keeps no time after its last one, such as 2038, and would show
   * each later heartbeat as the one before. Room is left after it, where the clock stands still and heartbeats are
   * counted.
   */
  get latestTimeMs(): number {
    return this.#latestTimeMs;
  }

  /** Returns the path of a file, for people. */
  pathOf(name: string): string {
    return join(this.#path, name);
  }

  /** Lists the directory; one that does not exist is empty. */
  async list(): Promise<Listing> {
    return parseListing(await absentIsNull(this.#slots.run(() => this.#files.readdir(this.#path))) ?? []);
  }

  /** Returns the modification time of a file in whole milliseconds; null if it is absent. */
  async modified(name: string): Promise<number | null> {
    const path = this.pathOf(name);
    // A symbolic link that leads nowhere is a file of somebody else's like any other: its name is taken all the same.
    const stats = await absentIsNull(this.#files.stat(path), "ELOOP") ?? await absentIsNull(this.#files.lstat(path));
    return stats === null ? null : Math.floor(stats.mtimeMs);
  }

  /** Reads the record of a term, by either of its names; null if it is none of this group. */
  async record(name: string): Promise<TermRecord | null> {
    const path = this.pathOf(name);
    const stats = await absentIsNull(this.#files.lstat(path));
    // Only a regular file is read: a pipe would hold us for ever, and a link leads to somebody else's files.
    if (stats === null || !stats.isFile() || stats.size > MAX_RECORD_BYTES) return null;
    const text = await absentIsNull(this.#slots.run(() => this.#files.readFile(path, "utf8")));
    return text === null ? null : parseRecord(text, this.#group);
  }

  /** Reads the metadata that replaced those of the record; null if it is absent. */
  async metadata(beat: string): Promise<string | null> {
    return await absentIsNull(this.#slots.run(() => this.#files.readFile(this.pathOf(`${beat}.metadata`), "utf8")));
  }

  /**
   * Writes a whole record under its unique name, where nobody looks for it, and waits until it is on the disk: what is
   * linked later is never a torn record, not even after a power failure. If it fails, or `signal` aborts, no file is
   * left.
   *
   * @param wallMs the time of day
   */
  async write(record: TermRecord, signal: AbortSignal, wallMs: number): Promise<void> {
    // 0700 and 0600: a record tells who leads and what it says about itself.
    await makeDirectory(this.#path, this.#files);
    await this.refuseLink();
    signal.throwIfAborted();
    await this.#create(record.beat, JSON.stringify(record), signal, async (file) => {
      if (wallMs > KEPT_BY_ALL_MS) this.#latestTimeMs = await latestTime(file, wallMs);
      if (this.#keepsTimes) await file.utimes(inSeconds(UNCONFIRMED), inSeconds(UNCONFIRMED));
      else await checkTimes(file);
      this.#keepsTimes = true;
      if (this.#durable) await file.sync();
    });
  }

  /** Gives the written record its number. False if another has that number: of all who try, one succeeds. */
  async link(beat: string, number: bigint): Promise<boolean> {
    try {
      await this.#files.link(this.pathOf(beat), this.pathOf(String(number)));
      return true;
    } catch (error) {
      // ENOENT: a leader with a higher number has swept ours away, or somebody removed the directory.
      if (hasCode(error, "EEXIST", "ENOENT")) return false;
      throw error;
    }
  }

  /** Waits until the link is on the disk, so that no power failure makes a number that was granted free again. */
  async sync(): Promise<void> {
    // Windows neither needs nor allows it.
    if (!this.#durable || process.platform === "win32") return;
    await this.#slots.run(async () => {
      const directory = await this.#files.open(this.#path, "r");
      try {
        await directory.sync();
      } catch (error) {
        // File systems that cannot do it, do without.
        if (!hasCode(error, "EINVAL", "ENOTSUP", "ENOSYS")) throw error;
      } finally {
        await directory.close();
      }
    });
  }

  /** Sets the modification time of the file with this unique name. False if it is absent. */
  async touch(beat: string, mtime: number): Promise<boolean> {
    const seconds = inSeconds(mtime);
    return await absentIsNull(this.#files.utimes(this.pathOf(beat), seconds, seconds).then(() => true)) ?? false;
  }

  /** Replaces the metadata of a term, as a whole. False if the directory is absent. If it fails, no file is left. */
  async replaceMetadata(beat: string, metadata: string, signal: AbortSignal): Promise<boolean> {
    const temporary = `${beat}.metadata-${crypto.randomUUID()}`;
    if (await absentIsNull(this.#create(temporary, metadata, signal)) === null) return false;
    try {
      signal.throwIfAborted();
      return await absentIsNull(this.#rename(temporary, `${beat}.metadata`)) ?? false;
    } catch (error) {
      await this.remove(temporary).catch(() => {});
      throw error;
    }
  }

  /**
   * Marks a term as released. False if it is already, or the directory is absent. Empty, so that a full disk can hold
   * it.
   */
  async release(beat: string): Promise<boolean> {
    try {
      return await this.#create(releasedName(beat), "");
    } catch (error) {
      if (hasCode(error, "EEXIST", "ENOENT")) return false;
      throw error;
    }
  }

  /** Removes a file, if it is there. */
  async remove(name: string): Promise<void> {
    await absentIsNull(this.#files.unlink(this.pathOf(name)));
  }

  /** Removes a file, if it is there and a regular one. */
  async removeRegular(name: string): Promise<void> {
    const stats = await absentIsNull(this.#files.lstat(this.pathOf(name)));
    if (stats?.isFile()) await this.remove(name);
  }

  /**
   * Refuses a symbolic link in place of the directory. Somebody who may write to the root could lead us with one to
   * files that they could not reach themselves.
   *
   * @throws {Error} if it is one
   */
  async refuseLink(): Promise<void> {
    const stats = await absentIsNull(this.#files.lstat(this.#path));
    if (stats?.isSymbolicLink()) {
      throw permanently(new Error(`${this.#path} is a symbolic link; it must be a directory`));
    }
  }

  /**
   * Touches the directory itself, which those who watch the root notice. Heartbeats touch files only. A hint, no more.
   */
  async nudge(wall: number): Promise<void> {
    await this.#files.utimes(this.#path, wall / 1_000, wall / 1_000).catch(() => {});
  }

  async #rename(from: string, to: string): Promise<true> {
    await this.#files.rename(this.pathOf(from), this.pathOf(to));
    return true;
  }

  #create(
    name: string,
    content: string,
    signal?: AbortSignal,
    finish?: (file: FileHandle) => Promise<void>,
  ): Promise<true> {
    return this.#slots.run(() => create(this.#files, this.pathOf(name), content, signal, finish));
  }
}

/** The name of the file whose existence says that a term was released. */
export function releasedName(beat: string): string {
  return `${beat}.released`;
}

/** Answers null for what does not exist, or fails with one of `codes`. */
export async function absentIsNull<T>(work: Promise<T>, ...codes: string[]): Promise<T | null> {
  try {
    return await work;
  } catch (error) {
    if (hasCode(error, "ENOENT", ...codes)) return null;
    throw error;
  }
}

/** Goes through the steps that an election needs, on files of its own. */
export async function probe(root: string, files: Files, signal: AbortSignal): Promise<void> {
  await makeDirectory(root, files);
  signal.throwIfAborted();
  const path = join(root, `~check-${crypto.randomUUID()}`);
  await create(files, path, "{}", signal, checkTimes);
  try {
    await files.link(path, `${path}-link`);
    await files.unlink(`${path}-link`);
    await files.readdir(root);
  } finally {
    await files.unlink(path);
  }
}

/**
 * Makes a directory, and those above it that are missing. One by one: in Node the recursive way hides why it failed.
 */
async function makeDirectory(path: string, files: Files): Promise<void> {
  const make = async () => {
    try {
      await files.mkdir(path, { mode: 0o700 });
    } catch (error) {
      if (!hasCode(error, "EEXIST")) throw error;
    }
  };
  if (await absentIsNull(make()) !== null) return;
  const above = dirname(path);
  if (above !== path) await makeDirectory(above, files);
  await make();
}

/** Writes a new file as a whole. A write that fails, or is aborted meanwhile, leaves none. */
async function create(
  files: Files,
  path: string,
  content: string,
  signal?: AbortSignal,
  finish?: (file: FileHandle) => Promise<void>,
): Promise<true> {
  const file = await files.open(path, "wx", 0o600);
  try {
    signal?.throwIfAborted();
    if (content !== "") await file.writeFile(content);
    await finish?.(file);
  } catch (error) {
    await files.unlink(path).catch(() => {});
    throw error;
  } finally {
    await file.close();
  }
  return true;
}

/**
 * No file system that keeps milliseconds ends before 2^31 seconds, in 2038. Long before that, to leave room for
 * counting.
 */
const KEPT_BY_ALL_MS = (2 ** 31 - 30 * 86_400) * 1_000;
/** The distance beyond the time of day to which a file system must keep times, for the time of day to be used. */
const AHEAD_MS = 365 * 86_400_000;

/** Returns the latest time to touch files with, when it is `wallMs`. The file is left with any time. */
async function latestTime(file: FileHandle, wallMs: number): Promise<number> {
  const ahead = Math.floor(wallMs) + AHEAD_MS;
  try {
    await file.utimes(inSeconds(ahead), inSeconds(ahead));
    const { mtimeMs } = await file.stat();
    return Math.floor(mtimeMs) === ahead ? ahead - AHEAD_MS / 2 : KEPT_BY_ALL_MS;
  } catch {
    // Some refuse what they cannot keep.
    return KEPT_BY_ALL_MS;
  }
}

/** Any time that is not a whole second. */
const ODD_TIME_MS = 1_000_000_000_001;

/**
 * Heartbeats are modification times a millisecond or more apart: a file system that rounds them would hide heartbeats,
 * and one that knows no 1970 would show a claim as confirmed that nobody has confirmed. The file is left unconfirmed.
 */
async function checkTimes(file: FileHandle): Promise<void> {
  for (const time of [ODD_TIME_MS, UNCONFIRMED]) {
    await file.utimes(inSeconds(time), inSeconds(time));
    const { mtimeMs } = await file.stat();
    if (Math.floor(mtimeMs) !== time) {
      throw permanently(new Error("the file system does not keep times to the millisecond"));
    }
  }
}

/** Half a millisecond more, because a fraction of a second in binary may fall just short of a whole millisecond. */
function inSeconds(ms: number): number {
  return (ms + 0.5) / 1_000;
}
