/**
 * The changes that a slow reader has not read yet, in bounded memory.
 *
 * @module
 */

import { isSameTerm, type LeadershipChange, transitionOf } from "./change.ts";

/**
 * A bounded queue of changes.
 *
 * Adjacent `changed` become one, or none if in the end nothing is different. `acquired` and `lost` are kept, up to
 * `maxTransitions`; beyond it the oldest whole term, an `acquired` and its `lost`, is forgotten. So what is read always
 * alternates, a `lost` always ends the term whose `acquired` the reader saw last, and the end is the latest state. As
 * `maxTransitions` is at least 3, whatever is forgotten leaves another `lost` behind.
 */
export class Backlog {
  readonly #maxTransitions: number;
  readonly #changes: LeadershipChange[] = [];
  #transitions = 0;

  /** Makes an empty queue. */
  constructor(maxTransitions = 1_024) {
    this.#maxTransitions = maxTransitions;
  }

  /** The number of changes it holds. At most one `changed` stands between two transitions, so this is bounded too. */
  get size(): number {
    return this.#changes.length;
  }

  /** Adds `change` at the end. */
  add(change: LeadershipChange): void {
    this.#changes.push(change);
    this.#mergeAt(this.#changes.length - 1);
    if (transitionOf(change) !== null && ++this.#transitions > this.#maxTransitions) this.#forgetOldestTerm();
  }

  /** Takes the first change out; undefined when there is none. */
  take(): LeadershipChange | undefined {
    const change = this.#changes.shift();
    if (transitionOf(change) !== null) this.#transitions--;
    return change;
  }

  /** Makes one of the changes at `index - 1` and `index`, if they are two `changed` in a row. */
  #mergeAt(index: number): void {
    const [first, second] = [this.#changes[index - 1], this.#changes[index]];
    if (first?.type !== "changed" || second?.type !== "changed") return;
    const merged = { ...second, previous: first.previous };
    this.#changes.splice(index - 1, 2, ...(isSameTerm(merged.previous, merged.current) ? [] : [merged]));
  }

  #forgetOldestTerm(): void {
    const begin = this.#changes.findIndex((change) => change.becameLeader);
    const end = this.#changes.findIndex((change, index) => index > begin && change.lostLeadership);
    // Of a stream that is only told of one of the two, whole terms cannot be forgotten: forget the oldest.
    const whole = begin >= 0 && end >= 0;
    const from = whole ? begin : this.#changes.findIndex((change) => transitionOf(change) !== null);
    const count = whole ? end - begin + 1 : 1;
    this.#changes.splice(from, count);
    this.#transitions -= whole ? 2 : 1;
    this.#mergeAt(from);
  }
}
