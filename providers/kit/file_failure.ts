/**
 * The meaning of a failed call to the file system for an election, for the backends that are files.
 *
 * @module
 */

import { permanently } from "../../src/call.ts";

const WHY: readonly (readonly [code: string, why: string])[] = [
  ["EACCES", "this user may not read or write there"],
  ["EROFS", "the file system is read-only"],
  ["ENOSPC", "the disk is full"],
  ["EDQUOT", "the disk quota is used up"],
  ["ENOTDIR", "something that is not a directory is in the way"],
  ["EEXIST", "something that is not a directory is in the way"],
  ["ENOENT", "the directory was removed meanwhile, or none can be made there"],
  ["ENOTSUP", "the file system has no hard links"],
  ["EPERM", "this user may not, or the file system has no hard links"],
  ["EMFILE", "this process has too many open files"],
  ["ENFILE", "the machine has too many open files"],
];

/** Failures that only a person mends. A disk gets room again, and a directory may be made again. */
const FOR_GOOD = ["EACCES", "EROFS", "ENOTDIR", "EEXIST", "ENOTSUP", "EPERM"];

/** Returns whether `error` is a system error with this code. */
export function hasCode(error: unknown, ...codes: string[]): boolean {
  return error instanceof Error && "code" in error && typeof error.code === "string" && codes.includes(error.code);
}

/** Awaits `work`, and puts into words why the file system failed it. */
export async function explainFile<T>(work: Promise<T>): Promise<T> {
  try {
    return await work;
  } catch (cause) {
    const why = WHY.find(([code]) => hasCode(cause, code))?.[1];
    if (why === undefined || !(cause instanceof Error)) throw cause;
    const explained = new Error(`${why} (${cause.message})`, { cause });
    throw hasCode(cause, ...FOR_GOOD) ? permanently(explained) : explained;
  }
}
