/**
 * A pool of a provider's own. It gives up connecting when its caller does, and closes also when the server hangs. It
 * has no limit: {@linkcode Lanes} have.
 *
 * @module
 */

import { clearTimeout, setImmediate, setTimeout } from "node:timers";

/**
 * The time for which a connection that nobody uses stays open, in milliseconds: longer than participants sleep between
 * two looks.
 */
const IDLE_TIMEOUT_MS = 60_000;

/** The use that a pool makes of a connection. */
interface PoolEvents {
  idle(): void;
  gone(): void;
}

/** The ways in which a connection breaks and ends. */
export interface Ending {
  on(event: string, listener: (detail: unknown) => void): unknown;
  removeListener(event: string, listener: (detail: unknown) => void): unknown;
  /** Says farewell to the server. */
  farewell(): void;
  /** Closes the connection at once. */
  destroy(): void;
}

/** One connection of the pool. What runs statements on it is its provider's. */
export abstract class PooledClient {
  readonly #ending: Ending;
  #events: PoolEvents | null = null;
  #idleTimer: ReturnType<typeof setTimeout> | undefined;
  #gone = false;

  constructor(ending: Ending) {
    this.#ending = ending;
    // One that breaks while nobody uses it leaves the pool. Unheard, the event would end the process.
    for (const event of ["error", "end"]) ending.on(event, () => this.#leave());
  }

  /** Puts it into a pool. */
  join(events: PoolEvents): void {
    this.#events = events;
    if (this.#gone) events.gone();
  }

  /** Takes it out of the pool. */
  use(): this {
    clearTimeout(this.#idleTimer);
    return this;
  }

  /** Gives it back to the pool; `true` closes it instead, at once. */
  release(destroy = false): void {
    if (this.#gone) return;
    if (destroy) {
      this.#leave();
      this.#ending.farewell();
      // One turn for the farewell. A server that hangs, or is gone without a word, would never answer it.
      setImmediate(() => this.#ending.destroy());
      return;
    }
    this.#idleTimer = setTimeout(() => this.release(true), IDLE_TIMEOUT_MS);
    this.#idleTimer.unref();
    this.#events?.idle();
  }

  on(event: string, listener: (detail: unknown) => void): unknown {
    return this.#ending.on(event, listener);
  }

  removeListener(event: string, listener: (detail: unknown) => void): unknown {
    return this.#ending.removeListener(event, listener);
  }

  #leave(): void {
    this.#gone = true;
    clearTimeout(this.#idleTimer);
    this.#events?.gone();
  }
}

/** Connections of the provider's own. */
export class OwnPool<C extends PooledClient> {
  readonly #open: (signal: AbortSignal) => Promise<C>;
  /** The one used last is used first, so that the others can be closed. */
  readonly #idle: C[] = [];
  #closed = false;

  /** Makes an empty pool that connects by `open`. */
  constructor(open: (signal: AbortSignal) => Promise<C>) {
    this.#open = open;
  }

  /** Returns a client that nobody uses, or connects one, until `signal` aborts. */
  async connect(signal: AbortSignal): Promise<C> {
    const idle = this.#idle.pop();
    if (idle !== undefined) return idle.use();
    const client = await this.#open(signal);
    client.join({
      idle: () => this.#closed ? client.release(true) : void this.#idle.push(client),
      gone: () => this.#leaveIdle(client),
    });
    if (this.#closed) client.release(true);
    return client;
  }

  /** Closes every connection that nobody uses. Those in use are closed when they are given back. */
  close(): void {
    this.#closed = true;
    for (const client of [...this.#idle]) client.release(true);
  }

  #leaveIdle(client: C): void {
    const index = this.#idle.indexOf(client);
    if (index >= 0) this.#idle.splice(index, 1);
  }
}
