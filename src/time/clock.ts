/**
 * The one source of time. Everything that waits or measures takes a {@linkcode Clock}, so that tests and simulations
 * decide what time it is.
 *
 * @module
 */

/** A source of time and timers. */
export interface Clock {
  /**
   * Milliseconds, with fractions, that never decrease, from any origin. It may stand still while the machine sleeps.
   */
  monotonic(): number;
  /** Milliseconds since the Unix epoch. It may jump in either direction. */
  wall(): number;
  /** Runs `callback` once, `delayMs` milliseconds of monotonic time from now. Returns a function that cancels it. */
  setTimer(callback: () => void, delayMs: number): () => void;
}

/** A moment as both clocks showed it. */
export interface Instant {
  /** The time that {@linkcode Clock.monotonic} showed. */
  readonly monotonic: number;
  /** The time that {@linkcode Clock.wall} showed. */
  readonly wall: number;
}

/** Longer delays overflow the timers of every runtime, which then fire at once. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** The clock of the machine. */
export const systemClock: Clock = {
  monotonic: () => performance.now(),
  wall: () => Date.now(),
  setTimer(callback: () => void, delayMs: number): () => void {
    const handle = setTimeout(callback, Math.min(Math.max(delayMs, 0), MAX_TIMER_MS));
    return () => clearTimeout(handle);
  },
};

/** Reads both clocks. */
export function instant(clock: Clock): Instant {
  return { monotonic: clock.monotonic(), wall: clock.wall() };
}

/**
 * Returns the milliseconds since `start`: the larger of monotonic and wall-clock elapsed. A suspended machine stops the
 * monotonic clock and a step backwards stops the wall clock; taking the larger, neither makes a term look younger.
 */
export function elapsedSince(clock: Clock, start: Instant): number {
  return Math.max(clock.monotonic() - start.monotonic, clock.wall() - start.wall);
}

/**
 * Waits `delayMs` milliseconds.
 *
 * @throws the reason of `signal`, at once, when it aborts
 */
export function sleep(clock: Clock, delayMs: number, signal?: AbortSignal): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason);
    const onAbort = () => {
      cancel();
      reject(signal?.reason);
    };
    const cancel = clock.setTimer(() => {
      signal?.removeEventListener("abort", onAbort);
      resolve();
    }, delayMs);
    signal?.addEventListener("abort", onAbort, { once: true });
  });
}
