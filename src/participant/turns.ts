/**
 * Looks by one provider wait for a turn, where many participants of a process want to look at once: ten thousand that
 * start together must queue, not fail by the bounds of their calls, which begin with the turn.
 *
 * @module
 */

import type { Provider } from "../provider.ts";

/** So many looks are under way at once: enough to keep any backend busy, few enough that each ends within its bound. */
const MOST = 256;

const turns = new WeakMap<Provider, Turns>();

/** The turns of one provider. */
export class Turns {
  #free = MOST;
  readonly #waiting = new Set<() => void>();

  /** Returns the turns of `provider`. */
  static of(provider: Provider): Turns {
    let known = turns.get(provider);
    if (known === undefined) turns.set(provider, known = new Turns());
    return known;
  }

  /**
   * Waits for a turn. The function returned ends it, and must be called once.
   *
   * Nobody waits for ever: a turn is a look, and each call of a look is bounded in time.
   *
   * @throws the reason of `signal`, when it aborts first
   */
  async take(signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted();
    if (this.#free > 0) this.#free--;
    else {
      await new Promise<void>((resolve, reject) => {
        const onTurn = () => {
          signal.removeEventListener("abort", onAbort);
          resolve();
        };
        const onAbort = () => {
          this.#waiting.delete(onTurn);
          reject(signal.reason);
        };
        signal.addEventListener("abort", onAbort, { once: true });
        this.#waiting.add(onTurn);
      });
    }
    return () => {
      const [next] = this.#waiting;
      if (next === undefined) this.#free++;
      else {
        this.#waiting.delete(next);
        next();
      }
    };
  }
}
