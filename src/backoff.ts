/**
 * How long to wait before trying again.
 *
 * @module
 */

/** What a back-off depends on; all of it is in the options of an election. */
export interface BackoffOptions {
  /** The bound of the first wait, in milliseconds. */
  readonly retryBaseDelay: number;
  /** The largest bound, in milliseconds. */
  readonly retryMaxDelay: number;
  /** The source of jitter, at least 0 and less than 1. */
  readonly random: () => number;
}

/**
 * Returns the milliseconds to wait after `failures` earlier ones: random below a bound that doubles each time ("full
 * jitter", from "Exponential Backoff And Jitter", AWS Architecture Blog, 2015). At least a tenth of the bound, so that a
 * run of low numbers is not a busy loop.
 */
export function backoff(failures: number, { retryBaseDelay, retryMaxDelay, random }: BackoffOptions): number {
  const bound = Math.min(retryMaxDelay, retryBaseDelay * 2 ** Math.min(failures, 30));
  return bound * (0.1 + 0.9 * random());
}

/** Returns `interval`, less up to a quarter at random, so that those who share it do not act in phase. */
export function jittered(interval: number, random: () => number): number {
  return interval * (1 - random() / 4);
}
