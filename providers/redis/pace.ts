/**
 * The time for which a server may be silent, as the leases that hang on it allow.
 *
 * @module
 */

/** The shortest time to give a connection, in milliseconds: below it a busy event loop would pass for a dead server. */
const LEAST_MS = 50;
/** The shortest time to give a connection that is being made. */
const LEAST_OPENING_MS = 500;

/** Knows the shortest lease in use, and derives the patience with a silent server from it. All in milliseconds. */
export class Pace {
  readonly #socketTimeoutMs: number;
  #shortest = Infinity;

  /** Takes the setting `socketTimeout`, which no lease prolongs. */
  constructor(socketTimeoutMs: number) {
    this.#socketTimeoutMs = socketTimeoutMs;
  }

  /** Takes note of a lease, one's own or seen in a record. */
  note(heartbeatTimeout: number): void {
    if (heartbeatTimeout < this.#shortest) this.#shortest = heartbeatTimeout;
  }

  /** The time for which a server may be silent while an answer is due, whoever waits for it. */
  get silenceMs(): number {
    return Math.min(this.#socketTimeoutMs, Math.max(this.#shortest, LEAST_MS));
  }

  /**
   * The time for which it must have been silent when a caller gives up on it, for the connection to be given up too.
   * Calls are given about a third of a lease; one that ends sooner ends for another reason, and says nothing about the
   * server.
   */
  get suspicionMs(): number {
    return Math.min(this.#socketTimeoutMs, Math.max(this.#shortest / 4, LEAST_MS));
  }

  /** The time that making one connection may take, with all that it takes until the server answers commands. */
  get openingMs(): number {
    return Math.min(this.#socketTimeoutMs, Math.max(this.#shortest / 3, LEAST_OPENING_MS));
  }

  /**
   * The interval at which a connection that only listens is asked whether it is alive. Two of these are less than a
   * lease.
   */
  get questionMs(): number {
    return Math.min(this.#socketTimeoutMs, Math.max(this.#shortest / 3, LEAST_MS));
  }
}
