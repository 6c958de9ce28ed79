/**
 * The time to wait before trying again.
 *
 * @module
 */

/** Settings of a back-off; all of it is in the options of an election. */
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
 * jitter", from "Exponential Backoff And Jitter", AWS Architecture Blog, 2015). At least a tenth of the bound, so that
 * a run of low numbers is not a busy loop.
 */
export function backoff(failures: number, { retryBaseDelay, retryMaxDelay, random }: BackoffOptions): number {
  const bound = Math.min(retryMaxDelay, retryBaseDelay * 2 ** Math.min(failures, 30));
  return bound * (0.1 + 0.9 * random());
}

/** Returns `interval`, less up to a quarter at random, so that those who share it do not act in phase. */
export function jittered(interval: number, random: () => number): number {
  return interval * (1 - random() / 4);
}

/**
 * Returns the milliseconds until the next look after `failures` in a row: a run of quick retries, then the usual
 * interval, and so on. A backend that stays down is not hammered.
 */
export function lookDelay(
  failures: number,
  options: BackoffOptions & { readonly maxRetryAttempts: number; readonly electionInterval: number },
): number {
  const retries = failures % (options.maxRetryAttempts + 1);
  return retries > 0 ? backoff(retries - 1, options) : jittered(options.electionInterval, options.random);
}
