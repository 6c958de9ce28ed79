/**
 * The directory of one group: each method is one step of the protocol on disk.
 *
 * @module
 */

import { type FileHandle, link, mkdir, open, readdir, readFile, rename, stat, unlink, utimes } from "node:fs/promises";
import { dirname, join } from "node:path";
import process from "node:process";
import { hasCode } from "./host.ts";
import { directoryName, kindOfDirectory, type Listing, numberOf, parseListing } from "./names.ts";
import { parseRecord, type TermRecord } from "./record.ts";

/** The calls that the provider makes; a test can come between any two of them. */
export const nodeFiles = { link, mkdir, open, readdir, readFile, rename, stat, unlink, utimes };

/** See {@linkcode nodeFiles}. */
export type Files = typeof nodeFiles;

/** The modification time of a record that was linked, while nobody has confirmed that its claim stands. */
export const UNCONFIRMED = 0;

/** The files of one group. What is absent is an answer; every other failure rejects. */
export class GroupDirectory {
  readonly #group: string;
  readonly #path: string;
  readonly #files: Files;

  /** Names the directory of `group` in `root`, without I/O. */
  constructor(root: string, group: string, files: Files) {
    this.#group = group;
    this.#path = join(root, directoryName(group));
    this.#files = files;
  }

  /** Returns the path of a file, for people. */
  pathOf(name: string): string {
    return join(this.#path, name);
  }

  /** Lists the directory; one that does not exist is empty. */
  async list(): Promise<Listing> {
    return parseListing(await absentIsNull(this.#files.readdir(this.#path)) ?? []);
  }

  /** Returns the modification time of a file in whole milliseconds; null if it is absent. */
  async modified(name: string): Promise<number | null> {
    const stats = await absentIsNull(this.#files.stat(this.pathOf(name)));
    return stats === null ? null : Math.floor(stats.mtimeMs);
  }

  /** Reads the record of a term; null if it cannot be one. */
  async record(number: bigint): Promise<TermRecord | null> {
    try {
      return parseRecord(await this.#files.readFile(this.pathOf(String(number)), "utf8"), this.#group);
    } catch (error) {
      if (hasCode(error, "ENOENT", "EISDIR")) return null;
      throw error;
    }
  }

  /** Reads the metadata that replaced those of the record; null if it is absent. */
  async metadata(beat: string): Promise<string | null> {
    return await absentIsNull(this.#files.readFile(this.pathOf(`${beat}.metadata`), "utf8"));
  }

  /**
   * Writes a whole record under its unique name, where nobody looks for it, and waits until it is on the disk: what is
   * linked later is never a torn record, not even after a power failure.
   */
  async write(record: TermRecord, signal: AbortSignal): Promise<void> {
    const path = this.pathOf(record.beat);
    // 0700 and 0600: a record tells who leads and what it says about itself.
    await makeDirectory(this.#path, this.#files);
    signal.throwIfAborted();
    await create(this.#files, path, JSON.stringify(record), async (file) => {
      await checkTimes(file);
      await file.utimes(UNCONFIRMED, UNCONFIRMED);
      await file.sync();
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
    if (process.platform === "win32") return;
    const directory = await this.#files.open(this.#path, "r");
    try {
      await directory.sync();
    } catch (error) {
      // File systems that cannot do it, do without.
      if (!hasCode(error, "EINVAL", "ENOTSUP", "ENOSYS")) throw error;
    } finally {
      await directory.close();
    }
  }

  /** Sets the modification time of the file with this unique name. False if it is absent. */
  async touch(beat: string, mtime: number): Promise<boolean> {
    // Half a millisecond more, because a fraction of a second in binary may fall just short of a whole millisecond.
    const seconds = (mtime + 0.5) / 1_000;
    return await absentIsNull(this.#files.utimes(this.pathOf(beat), seconds, seconds).then(() => true)) ?? false;
  }

  /** Replaces the metadata of a term, as a whole. False if the directory is absent. */
  async replaceMetadata(beat: string, metadata: string, signal: AbortSignal): Promise<boolean> {
    const path = this.pathOf(`${beat}.metadata`);
    const temporary = `${path}-${crypto.randomUUID()}`;
    if (await absentIsNull(create(this.#files, temporary, metadata)) === null) return false;
    signal.throwIfAborted();
    return await absentIsNull(this.#files.rename(temporary, path).then(() => true)) ?? false;
  }

  /** Marks a term as released. False if it is already, or the directory is absent. */
  async release(beat: string): Promise<boolean> {
    try {
      await create(this.#files, this.pathOf(releasedName(beat)), "");
      return true;
    } catch (error) {
      if (hasCode(error, "EEXIST", "ENOENT")) return false;
      throw error;
    }
  }

  /** Removes a file, if it is there. */
  async remove(name: string): Promise<void> {
    await absentIsNull(this.#files.unlink(this.pathOf(name)));
  }

  /**
   * Removes what belongs to numbers below `number`, in ascending order, and stops at the first failure: so while a file of
   * some number exists, no higher number has ever been removed. {@linkcode FileProvider} relies on that.
   */
  async sweep({ names }: Listing, number: bigint, signal: AbortSignal): Promise<void> {
    const old = [...names].flatMap((name) => {
      const of = numberOf(name);
      return of !== null && of < number ? [{ name, of }] : [];
    });
    old.sort((a, b) => (a.of < b.of ? -1 : a.of > b.of ? 1 : 0));
    try {
      for (const { name } of old) {
        if (signal.aborted) return;
        await this.remove(name);
      }
    } catch {
      // What stays behind is in nobody's way, and the next leader tries again.
    }
  }

  /** Touches the directory itself, which those who watch the root notice. Heartbeats touch files only. A hint, no more. */
  async nudge(wall: number): Promise<void> {
    await this.#files.utimes(this.#path, wall / 1_000, wall / 1_000).catch(() => {});
  }
}

/** The name of the file whose existence says that a term was released. */
export function releasedName(beat: string): string {
  return `${beat}.released`;
}

/** Answers null for what does not exist. */
export async function absentIsNull<T>(work: Promise<T>): Promise<T | null> {
  try {
    return await work;
  } catch (error) {
    if (hasCode(error, "ENOENT")) return null;
    throw error;
  }
}

/** Returns the groups that have had a term in `root`. */
export async function groupNames(root: string, files: Files): Promise<string[]> {
  const names = await absentIsNull(files.readdir(root)) ?? [];
  const groups = await Promise.all(names.map((name) => groupOf(root, name, files)));
  return groups.filter((group) => group !== null);
}

async function groupOf(root: string, name: string, files: Files): Promise<string | null> {
  const kind = kindOfDirectory(name);
  if (kind === "foreign") return null;
  const names = await files.readdir(join(root, name)).catch(() => []);
  const number = parseListing(names).numbers.at(-1);
  if (number === undefined || kind === "plain") return number === undefined ? null : name;
  // The name of the directory is a hash, so only the record tells.
  const text = await absentIsNull(files.readFile(join(root, name, String(number)), "utf8"));
  const group = /^\{"electionGroup":"([A-Za-z0-9_.-]+)"/.exec(text ?? "")?.[1];
  return group !== undefined && directoryName(group) === name ? group : null;
}

/** Goes through the steps that an election needs, on files of its own. */
export async function probe(root: string, files: Files, signal: AbortSignal): Promise<void> {
  await makeDirectory(root, files);
  signal.throwIfAborted();
  const path = join(root, `~check-${crypto.randomUUID()}`);
  await create(files, path, "{}", checkTimes);
  try {
    await files.link(path, `${path}-link`);
    await files.unlink(`${path}-link`);
    await files.readdir(root);
  } finally {
    await files.unlink(path);
  }
}

/** Makes a directory, and those above it that are missing. One by one: in Node the recursive way hides why it failed. */
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

/** Writes a new file as a whole. What fails leaves none. */
async function create(
  files: Files,
  path: string,
  content: string,
  finish?: (file: FileHandle) => Promise<void>,
): Promise<true> {
  const file = await files.open(path, "wx", 0o600);
  try {
    await file.writeFile(content);
    await finish?.(file);
  } catch (error) {
    await files.unlink(path).catch(() => {});
    throw error;
  } finally {
    await file.close();
  }
  return true;
}

/** Any time that is not a whole second. */
const ODD_TIME_MS = 1_000_000_000_001;

/** Heartbeats are modification times a millisecond or more apart: a file system that rounds them would hide heartbeats. */
async function checkTimes(file: FileHandle): Promise<void> {
  await file.utimes((ODD_TIME_MS + 0.5) / 1_000, (ODD_TIME_MS + 0.5) / 1_000);
  const { mtimeMs } = await file.stat();
  if (Math.floor(mtimeMs) !== ODD_TIME_MS) throw new Error("the file system does not keep times to the millisecond");
}
