/**
 * The groups of a root directory.
 *
 * @module
 */

import { join } from "node:path";
import { absentIsNull, type Files } from "./directory.ts";
import { hasCode } from "../kit/file_failure.ts";
import { directoryName, kindOfDirectory, parseListing } from "./names.ts";

/** The number of directories that are looked at at once: each takes a file descriptor, which heartbeats need too. */
const AT_ONCE = 16;

/**
 * Returns the groups that have had a term in `root`.
 *
 * @throws {Error} if one of the directories cannot be read: a list that leaves out what it could not read looks
 * complete
 */
export async function groupNames(root: string, files: Files, signal: AbortSignal): Promise<string[]> {
  const entries = await absentIsNull(files.readdir(root, { withFileTypes: true })) ?? [];
  // A symbolic link is no directory here: the provider keeps nothing behind one.
  const names = entries.filter((entry) => entry.isDirectory()).map(({ name }) => name);
  const groups: string[] = [];
  for (let from = 0; from < names.length; from += AT_ONCE) {
    signal.throwIfAborted();
    const some = names.slice(from, from + AT_ONCE);
    // All are waited for, also when one has failed: nothing may go on after that.
    const answers = await Promise.allSettled(some.map((name) => groupOf(root, name, files)));
    for (const answer of answers) {
      if (answer.status === "rejected") throw answer.reason;
      if (answer.value !== null) groups.push(answer.value);
    }
  }
  return groups;
}

async function groupOf(root: string, name: string, files: Files): Promise<string | null> {
  const kind = kindOfDirectory(name);
  if (kind === "foreign") return null;
  const names = await namesIn(join(root, name), files);
  const number = parseListing(names).numbers.at(-1);
  if (number === undefined || kind === "plain") return number === undefined ? null : name;
  // The name of the directory is a hash, so only the record tells.
  const text = await absentIsNull(files.readFile(join(root, name, String(number)), "utf8"));
  const group = /^\{"electionGroup":"([A-Za-z0-9_.-]+)"/.exec(text ?? "")?.[1];
  return group !== undefined && directoryName(group) === name ? group : null;
}

/** Lists a directory. One that is gone, or has been replaced by something else, holds nothing. */
async function namesIn(path: string, files: Files): Promise<readonly string[]> {
  try {
    return await files.readdir(path);
  } catch (error) {
    if (hasCode(error, "ENOENT", "ENOTDIR")) return [];
    throw error;
  }
}
