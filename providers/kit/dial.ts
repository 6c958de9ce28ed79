/**
 * A TCP connection to a host by whichever of its addresses answers first.
 *
 * @module
 */

import { connect, type Socket } from "node:net";
import { type Attempt, attemptsAt, attemptsInstead, connectOptions, endAtSeveral } from "./addresses.ts";

/**
 * The time for which an address may leave a connection unanswered before the next one is tried beside it, in
 * milliseconds.
 */
const NEXT_ADDRESS_MS = 250;

/** Where to connect to, and what is known about it. */
export interface Destination {
  /** A host name or an address. */
  readonly host: string;
  readonly port: number;
  /** The addresses that are tried last. */
  readonly suspects?: ReadonlySet<string>;
  /** The only family of addresses that will do, IPv4 or IPv6: 4 or 6. */
  readonly family?: number | undefined;
}

/**
 * Connects to a host. A name may stand for several addresses, some of them dead: one that refuses is followed by the
 * next at once, one that is silent by the next after a quarter of a second, beside it.
 *
 * The runtimes' own ways differ: Deno's `fetch` stays with the first address, and its `net.connect` ends the process
 * where an address is not among its permissions (see `addresses.ts`).
 *
 * @param signal ends the attempts, all of them
 * @throws what went wrong with the last address, or the reason of `signal`
 */
export async function dial({ host, port, suspects, family }: Destination, signal: AbortSignal): Promise<Socket> {
  const attempts = await attemptsAt(host, family);
  signal.throwIfAborted();
  const isSuspect = (attempt: Attempt) => Number(suspects?.has(attempt.host));
  return await new Race(attempts.toSorted((a, b) => isSuspect(a) - isSuspect(b)), port, signal).winner;
}

/**
 * One connection to each address, each begun when the one before has failed or is late; the first that is there stays.
 */
class Race {
  readonly winner: Promise<Socket>;
  readonly #port: number;
  readonly #waiting: Attempt[];
  readonly #running = new Set<Socket>();
  readonly #settle: { resolve(socket: Socket): void; reject(error: unknown): void };
  readonly #onAbort: () => void;
  readonly #signal: AbortSignal;
  #late: ReturnType<typeof setTimeout> | undefined;

  constructor(attempts: readonly Attempt[], port: number, signal: AbortSignal) {
    const { promise, resolve, reject } = Promise.withResolvers<Socket>();
    this.winner = promise;
    this.#settle = { resolve, reject };
    this.#port = port;
    this.#signal = signal;
    this.#waiting = [...attempts];
    this.#onAbort = () => this.#lose(signal.reason);
    signal.addEventListener("abort", this.#onAbort, { once: true });
    this.#next(new Error("the name has no address"));
  }

  #next(error: unknown): void {
    clearTimeout(this.#late);
    const attempt = this.#waiting.shift();
    if (attempt === undefined) {
      if (this.#running.size === 0) this.#lose(error);
      return;
    }
    this.#late = setTimeout(() => this.#next(error), NEXT_ADDRESS_MS);
    try {
      const socket = connect({ ...connectOptions(attempt), port: this.#port });
      endAtSeveral(socket, attempt.host);
      this.#enter(socket);
    } catch (denied) {
      // Deno throws at once where it may not.
      this.#next(denied);
    }
  }

  #enter(socket: Socket): void {
    this.#running.add(socket);
    socket.once("connect", () => {
      this.#running.delete(socket);
      this.#end();
      this.#settle.resolve(socket);
    });
    // It stays, so that an error of a connection that came too late has a listener.
    socket.on("error", (error) => {
      if (!this.#running.delete(socket)) return;
      this.#waiting.unshift(...attemptsInstead(error));
      this.#next(error);
    });
  }

  #lose(error: unknown): void {
    this.#end();
    this.#settle.reject(error);
  }

  /** Leaves no timer, no listener and no other connection behind. */
  #end(): void {
    clearTimeout(this.#late);
    this.#signal.removeEventListener("abort", this.#onAbort);
    this.#waiting.length = 0;
    for (const socket of this.#running) socket.destroy();
    this.#running.clear();
  }
}
