/**
 * Decides which call goes next to a pool of connections.
 *
 * @module
 */

interface Waiter {
  readonly urgent: boolean;
  readonly enter: () => void;
  readonly refuse: (reason: Error) => void;
}

/**
 * Lets calls in as the connections of a pool allow.
 *
 * - A call that would have another connection made waits for the one that is being made: a process opens them one by
 *   one, so that those of many processes do not press upon a server that is slow as it is.
 * - Heartbeats and releases go first, and other calls leave them a connection, so that looks at rows that somebody has
 *   locked, or many at once, cost no healthy leader its term.
 */
export class Turnstile {
  readonly #size: number;
  readonly #queue: Waiter[] = [];
  #connections: number;
  #urgent = 0;
  #plain = 0;

  /** Makes it for at most `size` calls at once. `connections` of them have a connection that is made already. */
  constructor(size: number, connections: number) {
    this.#size = size;
    this.#connections = connections;
  }

  /** Says that a connection has been made, or has ended. */
  count(change: 1 | -1): void {
    this.#connections += change;
    this.#admit();
  }

  /**
   * Waits for the turn of a call, and returns what ends it.
   *
   * @throws the reason of `signal`, when it aborts first: the call has then lost its place
   */
  enter(urgent: boolean, signal: AbortSignal): Promise<() => void> {
    return new Promise((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason);
      const settle = (end: () => void) => {
        signal.removeEventListener("abort", onAbort);
        end();
      };
      const onAbort = () => {
        this.#queue.splice(this.#queue.indexOf(waiter), 1);
        reject(signal.reason);
      };
      const waiter: Waiter = {
        urgent,
        enter: () => settle(() => resolve(() => this.#leave(urgent))),
        refuse: (reason) => settle(() => reject(reason)),
      };
      this.#queue.push(waiter);
      signal.addEventListener("abort", onAbort, { once: true });
      this.#admit();
    });
  }

  /** Turns away all who wait. */
  close(reason: Error): void {
    for (const { refuse } of this.#queue.splice(0)) refuse(reason);
  }

  #leave(urgent: boolean): void {
    if (urgent) this.#urgent--;
    else this.#plain--;
    this.#admit();
  }

  #admit(): void {
    for (;;) {
      const first = this.#queue.findIndex(({ urgent }) => urgent);
      const index = first >= 0 ? first : this.#plain < Math.max(this.#size - 1, 1) ? 0 : -1;
      const busy = this.#urgent + this.#plain;
      // One more than there are connections is the one that has the next connection made.
      if (busy >= this.#size || busy > this.#connections) return;
      const [waiter] = index < 0 ? [] : this.#queue.splice(index, 1);
      if (waiter === undefined) return;
      if (waiter.urgent) this.#urgent++;
      else this.#plain++;
      waiter.enter();
    }
  }
}
