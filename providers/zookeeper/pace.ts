/**
 * The pace at which a lost connection is replaced.
 *
 * @module
 */

const FIRST_PAUSE_MS = 100;
const LONGEST_PAUSE_MS = 1_000;

/**
 * Tells pauses. A connection that served for a while is replaced at once. One that is lost soon after it was made says
 * that the next may be as short-lived (a load balancer without servers behind it, a server that is about to end), so
 * each time the pause grows. It stays within an eighth of the session timeout, so that a term can outlive several of
 * them.
 */
export class Pace {
  #pauses = 0;

  /** Returns the milliseconds to wait, when the last connection has lasted for `lastedMs`; 0 where there was none. */
  after(lastedMs: number, sessionTimeout: number): number {
    if (lastedMs >= sessionTimeout / 3) {
      this.#pauses = 0;
      return 0;
    }
    const longest = Math.min(Math.max(sessionTimeout / 8, FIRST_PAUSE_MS), LONGEST_PAUSE_MS);
    const pause = Math.min(FIRST_PAUSE_MS * 2 ** Math.min(this.#pauses++, 10), longest);
    // Clients of one server lose it together, and should not come back together.
    return pause * (1 + Math.random()) / 2;
  }
}
