/**
 * The removal of what ended terms have left behind.
 *
 * @module
 */

import type { GroupDirectory } from "./directory.ts";
import { type BeatFiles, beatsBelow, type Listing } from "./names.ts";

/**
 * Removes what terms with numbers below `number` have left, as far as it is provably theirs. A name proves nothing:
 * mail folders and logs are full of numbers. A file that is removed is a regular one, in no directory behind a symbolic
 * link, whose content is a record of this group under the very name that it gives itself; with it go its number, if the
 * same record stands there, and what was added to it. The rest stays: it is in nobody's way.
 *
 * The numbers go in ascending order, and the first failure ends it: so while the file of a term exists, that of no
 * higher one has been removed. {@linkcode Group.renew} relies on that. And nothing goes that was not in `listing`: if
 * somebody removes the directory meanwhile, the numbers of those who begin anew are safe from a sweep that stalled.
 */
export async function sweep(
  directory: GroupDirectory,
  listing: Listing,
  number: bigint,
  signal: AbortSignal,
): Promise<void> {
  try {
    await directory.refuseLink();
    for (const files of beatsBelow(listing, number)) {
      if (signal.aborted) return;
      await sweepTerm(directory, listing, files, signal);
    }
  } catch {
    // Files that stay behind are in nobody's way, and the next leader tries again.
  }
}

/** Removes the file with the second name last: while it exists, the next sweep knows what the others are. */
async function sweepTerm(
  directory: GroupDirectory,
  { names }: Listing,
  { number, beat, added }: BeatFiles,
  signal: AbortSignal,
): Promise<void> {
  if (!names.has(beat) || (await directory.record(beat))?.beat !== beat) return;
  const plain = String(number);
  if (names.has(plain) && (await directory.record(plain))?.beat === beat && !signal.aborted) {
    await directory.remove(plain);
  }
  for (const name of added) if (!signal.aborted) await directory.removeRegular(name);
  if (!signal.aborted) await directory.remove(beat);
}
