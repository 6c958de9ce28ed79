/**
 * The provider's own pool. Unlike that of `pg` it chooses among several hosts, gives up connecting when its caller
 * does, and closes also when the server hangs. It has no limit: {@linkcode Lanes} have.
 *
 * @module
 */

import { clearTimeout, setImmediate, setTimeout } from "node:timers";
import type { PostgresClient, PostgresPool, PostgresQuery } from "./connections.ts";
import type { Connection, Dial, DriverClient } from "./dialer.ts";

/**
 * How long a connection that nobody uses stays open, in milliseconds: longer than participants sleep between two looks.
 */
const IDLE_TIMEOUT_MS = 60_000;

/** Connections of the provider's own. */
export class OwnPool implements PostgresPool {
  readonly #dial: Dial;
  readonly #all = new Set<PooledClient>();
  /** The one used last is used first, so that the others can be closed. */
  readonly #idle: PooledClient[] = [];
  #closed = false;

  /** Makes an empty pool that connects by `dial`. */
  constructor(dial: Dial) {
    this.#dial = dial;
  }

  /** Returns a client that nobody uses, or connects one, until `signal` aborts. */
  async connect(signal: AbortSignal = NEVER): Promise<PostgresClient> {
    const idle = this.#idle.pop();
    if (idle !== undefined) return idle.use();
    const client = new PooledClient(await this.#dial(signal), {
      idle: () => this.#closed ? client.release(true) : void this.#idle.push(client),
      gone: () => {
        this.#leaveIdle(client);
        this.#all.delete(client);
      },
    });
    this.#all.add(client);
    if (this.#closed) client.release(true);
    return client;
  }

  /** Closes every connection that nobody uses. Those in use are closed when they are given back. */
  close(): void {
    this.#closed = true;
    for (const client of [...this.#idle]) client.release(true);
  }

  #leaveIdle(client: PooledClient): void {
    const index = this.#idle.indexOf(client);
    if (index >= 0) this.#idle.splice(index, 1);
  }
}

interface PoolEvents {
  idle(): void;
  gone(): void;
}

/** One connection of the pool. */
class PooledClient implements PostgresClient {
  readonly #driver: DriverClient;
  readonly #socket: Connection["socket"];
  readonly #events: PoolEvents;
  #idleTimer: ReturnType<typeof setTimeout> | undefined;
  #gone = false;

  constructor({ driver, socket }: Connection, events: PoolEvents) {
    this.#driver = driver;
    this.#socket = socket;
    this.#events = events;
    // One that breaks while nobody uses it leaves the pool. Unheard, the event would end the process.
    driver.on("error", () => this.#leave());
    driver.on("end", () => this.#leave());
  }

  get processID(): number | null {
    return this.#driver.processID ?? null;
  }

  /** Takes it out of the pool. */
  use(): this {
    clearTimeout(this.#idleTimer);
    return this;
  }

  query(query: PostgresQuery): Promise<{ readonly rows: readonly unknown[] }> {
    return this.#driver.query(query);
  }

  release(destroy = false): void {
    if (this.#gone) return;
    if (destroy) {
      this.#leave();
      void this.#driver.end().catch(() => {});
      // One turn for the farewell. A server that hangs, or is gone without a word, would never answer it.
      setImmediate(() => this.#socket.destroy());
      return;
    }
    this.#idleTimer = setTimeout(() => this.release(true), IDLE_TIMEOUT_MS);
    this.#idleTimer.unref();
    this.#events.idle();
  }

  on(event: string, listener: (detail: unknown) => void): unknown {
    return this.#driver.on(event, listener);
  }

  removeListener(event: string, listener: (detail: unknown) => void): unknown {
    return this.#driver.removeListener(event, listener);
  }

  #leave(): void {
    this.#gone = true;
    clearTimeout(this.#idleTimer);
    this.#events.gone();
  }
}

const NEVER = new AbortController().signal;
