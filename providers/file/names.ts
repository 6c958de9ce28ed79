/**
 * How groups and their files are named on disk.
 *
 * @module
 */

import { createHash } from "node:crypto";

/** Names that every file system keeps as they are and takes for no other, and that mean nothing else to Windows. */
const PLAIN = /^[a-z0-9_.-]{0,99}[a-z0-9_-]$/;
const RESERVED = /^(con|prn|aux|nul|com\d|lpt\d)(\.|$)/;
const HASHED = /^[a-z0-9_-]{1,100}~[0-9a-f]{32}$/;

/**
 * Returns the name of the directory of `group`: the group's own name where no file system can confuse it with another.
 * Else, because some ignore case or trailing dots, or keep names short, a readable part and a hash: `Nightly` becomes
 * `nightly~` and 32 digits. No group name contains `~`, so the two kinds never meet.
 */
export function directoryName(group: string): string {
  if (PLAIN.test(group) && !RESERVED.test(group)) return group;
  const hash = createHash("sha256").update(group).digest("hex").slice(0, 32);
  return `${group.toLowerCase().replaceAll(".", "-").slice(0, 100)}~${hash}`;
}

/** Tells whether `name` can be that of a group's directory: of the group `name`, or of one whose records tell its name. */
export function kindOfDirectory(name: string): "plain" | "hashed" | "foreign" {
  if (HASHED.test(name)) return "hashed";
  return directoryName(name) === name ? "plain" : "foreign";
}

/** What a directory of a group holds. */
export interface Listing {
  /** The numbers of its terms, ascending. */
  readonly numbers: readonly bigint[];
  /** All names in it. */
  readonly names: ReadonlySet<string>;
}

/**
 * Reads the names in a group's directory. `7` is the record of term 7; `7.UUID`, its holder's second name for the same
 * file; `7.UUID.metadata` and `7.UUID.released`, what was added later. A number has one spelling only, without leading
 * zeros. Anything else is not ours and means nothing.
 */
export function parseListing(names: readonly string[]): Listing {
  const numbers = names.filter((name) => /^[1-9]\d{0,17}$/.test(name)).map(BigInt);
  return { numbers: numbers.sort((a, b) => (a < b ? -1 : a > b ? 1 : 0)), names: new Set(names) };
}

/** Returns the number that a file belongs to, by its name; null if it is not ours. */
export function numberOf(name: string): bigint | null {
  const number = /^([1-9]\d{0,17})(?:\.[0-9a-f-]{36}(?:\.[a-z0-9-]+)*)?$/.exec(name)?.[1];
  return number === undefined ? null : BigInt(number);
}
