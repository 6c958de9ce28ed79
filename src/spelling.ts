/**
 * A setting that nobody knows is most likely misspelt, and two participants that read it differently would lead in two
 * places.
 *
 * @module
 */

/**
 * Refuses the first of `names` that is not among `known`, and names the nearest one that is.
 *
 * @param what what the names are, for the error: `option`, `redis setting`
 * @throws {TypeError} if a name is unknown
 */
export function refuseUnknown(what: string, names: Iterable<string>, known: readonly string[]): void {
  for (const name of names) {
    if (known.includes(name)) continue;
    const near = nearest(name, known);
    const cure = near === undefined ? listed(known) : `did you mean "${near}"?`;
    throw new TypeError(`Cannot use ${what} ${shown(name)}: it does not exist; ${cure}`);
  }
}

/** The rest of a password that was not encoded can stand where a name should: what is no name is not shown. */
function shown(name: string): string {
  return /^[A-Za-z][\w.+ -]{0,63}$/.test(name) ? `"${name}"` : "whose name is none, and is not shown";
}

function listed(known: readonly string[]): string {
  return known.length === 0 ? "there are none" : `known are ${[...known].sort().join(", ")}`;
}

/** Returns the candidate that takes the fewest changes to become `name`, if they are few for its length. */
export function nearest(name: string, candidates: readonly string[]): string | undefined {
  let best: string | undefined;
  let least = Math.max(1, Math.floor(name.length / 3)) + 1;
  for (const candidate of candidates) {
    const changes = distance(name.toLowerCase(), candidate.toLowerCase());
    if (changes < least) [best, least] = [candidate, changes];
  }
  return best;
}

/** Levenshtein's distance, row by row, where two neighbours that have changed places are one change. */
function distance(a: string, b: string): number {
  let before: number[] = [];
  let above = Array.from({ length: b.length + 1 }, (_, column) => column);
  for (let row = 1; row <= a.length; row++) {
    const current = [row];
    for (let column = 1; column <= b.length; column++) {
      const replaced = (above[column - 1] ?? 0) + (a[row - 1] === b[column - 1] ? 0 : 1);
      const isSwapped = row > 1 && column > 1 && a[row - 1] === b[column - 2] && a[row - 2] === b[column - 1];
      const swapped = isSwapped ? (before[column - 2] ?? 0) + 1 : Infinity;
      current.push(Math.min(replaced, swapped, (above[column] ?? 0) + 1, (current[column - 1] ?? 0) + 1));
    }
    [before, above] = [above, current];
  }
  return above[b.length] ?? 0;
}
