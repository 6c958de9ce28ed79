/**
 * A bound on how much goes on at once: what needs a file descriptor waits for its turn, so that ten thousand elections
 * of one process do not use up the files that it may open.
 *
 * @module
 */

/** A number of places, given out in the order in which they were asked for. */
export class Slots {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  /** Makes `count` places. */
  constructor(count: number) {
    this.#free = count;
  }

  /** Runs `work` when there is a place for it. */
  async run<T>(work: () => Promise<T>): Promise<T> {
    if (this.#free > 0) this.#free--;
    else await new Promise<void>((resolve) => this.#waiting.push(resolve));
    try {
      return await work();
    } finally {
      // The place goes from hand to hand: nobody can come in between.
      const next = this.#waiting.shift();
      if (next === undefined) this.#free++;
      else next();
    }
  }
}
