/**
 * The names of groups and their files on disk.
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

/**
 * Tells whether `name` can be that of a group's directory: of the group `name`, or of one whose records tell its name.
 */
export function kindOfDirectory(name: string): "plain" | "hashed" | "foreign" {
  if (HASHED.test(name)) return "hashed";
  return directoryName(name) === name ? "plain" : "foreign";
}

/** The content of a group's directory. */
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

/** The highest number that {@linkcode parseListing} knows. */
export const MAX_NUMBER = 10n ** 18n - 1n;

/** The second name of a term's file, and what was added to it later. */
export interface BeatFiles {
  /** The number of the term. */
  readonly number: bigint;
  /** The second name: the number and a UUID. */
  readonly beat: string;
  /** The names of what was added. */
  readonly added: readonly string[];
}

/** Returns what has a second name in a listing, or belongs to one, for numbers below `below`; in ascending order. */
export function beatsBelow({ names }: Listing, below: bigint): BeatFiles[] {
  const beats = new Map<string, BeatFiles & { readonly added: string[] }>();
  for (const name of names) {
    const [, beat = "", digits = "0", addition] = BEAT_FILE.exec(name) ?? [];
    const number = BigInt(digits);
    if (beat === "" || number >= below) continue;
    let files = beats.get(beat);
    if (files === undefined) beats.set(beat, files = { number, beat, added: [] });
    if (addition !== undefined) files.added.push(name);
  }
  return [...beats.values()].sort((a, b) => (a.number < b.number ? -1 : a.number > b.number ? 1 : 0));
}

const UUID = "[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}";
const BEAT_FILE = new RegExp(`^(([1-9]\\d{0,17})\\.${UUID})(\\.released|\\.metadata(?:-${UUID})?)?$`);
