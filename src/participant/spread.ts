/**
 * When those whom one hint has woken look: as many at once as it takes, the others later, and mostly not at all.
 *
 * Nobody tells them who comes first, so each draws its place among all by lot, and the time between two places shrinks
 * exponentially: whatever their number, the first look comes soon, few come before its winner can be heard of, and the
 * last waits no longer than the logarithm of their number ("exponential feedback timers", Nonnenmacher and Biersack,
 * "Scalable Feedback for Large Groups", IEEE/ACM Transactions on Networking 7(3), 1999).
 *
 * @module
 */

/** So many look at once, on average: with fewer it would happen too often that nobody draws so low a place. */
const FIRST = 4;
/**
 * The time in which their number doubles: so many times what a look takes, so that the winner is heard of within one or
 * two, also where server or process are slow.
 */
const DOUBLING_LOOKS = 2;
/** The shortest such time, in milliseconds. */
const LEAST_DOUBLING_MS = 10;
/** The longest. */
const MOST_DOUBLING_MS = 500;
/** More rivals than these make no difference: the last of them would be three times as late. */
const MOST_RIVALS = 1_024;

/**
 * Returns the milliseconds to wait after a hint.
 *
 * @param clients how many clients the hint has woken, this one among them
 * @param lookMs how many milliseconds a look takes
 * @param place how many of this client's participants come before this one
 * @param random the source of the lot, at least 0 and less than 1
 */
export function hintDelay(clients: number, lookMs: number, place: number, random: () => number): number {
  const others = Math.max(clients - 1, 0);
  // The first of a client that is alone comes at once, and its fellows only if it has not answered soon.
  const rank = Math.max((place + random()) * others, place > 0 ? FIRST - 1 + place : 0);
  const doublingMs = Math.min(Math.max(lookMs * DOUBLING_LOOKS, LEAST_DOUBLING_MS), MOST_DOUBLING_MS);
  return rank < FIRST ? 0 : doublingMs * (1 + Math.log2(rank / FIRST));
}

/** The weight of the last hand-off among all of them. */
const LAST_WEIGHT = 1 / 4;

/**
 * The number of rivals, where the backend does not tell: one of so many wins, so it is the reciprocal of how often
 * this one has won of late.
 */
export class Rivals {
  #winRate = 1;

  /** The estimate, this participant among them. */
  get count(): number {
    return Math.min(1 / this.#winRate, MOST_RIVALS);
  }

  /** Takes note of who got the lease after a hint. */
  note(won: boolean): void {
    this.#winRate += ((won ? 1 : 0) - this.#winRate) * LAST_WEIGHT;
  }
}
