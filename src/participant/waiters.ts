/**
 * Waits for a condition of an election that others change.
 *
 * @module
 */

interface Waiter {
  /** Settles the wait if its condition holds; returns whether it did. */
  readonly check: () => boolean;
  readonly reject: (reason: unknown) => void;
}

/** The callers that wait for something. */
export class Waiters {
  readonly #waiters = new Set<Waiter>();
  readonly #explainAbort: (reason: unknown) => unknown;

  /** Makes it. `explainAbort` may say more than the reason of a signal that ends a wait. */
  constructor(explainAbort: (reason: unknown) => unknown = (reason) => reason) {
    this.#explainAbort = explainAbort;
  }

  /**
   * Returns what `check` returns as soon as that is not null: now, or at one of the next calls of `check()`.
   *
   * @throws the reason of `signal` when it aborts, or of `rejectAll`
   */
  wait<T>(check: () => T | null, signal: AbortSignal | undefined): Promise<T> {
    return new Promise((resolve, reject) => {
      if (signal?.aborted) return reject(signal.reason);
      const now = check();
      if (now !== null) return resolve(now);
      const done = () => {
        this.#waiters.delete(waiter);
        signal?.removeEventListener("abort", onAbort);
      };
      const waiter: Waiter = {
        check() {
          const value = check();
          if (value === null) return false;
          done();
          resolve(value);
          return true;
        },
        reject(reason) {
          done();
          reject(reason);
        },
      };
      const onAbort = () => waiter.reject(this.#explainAbort(signal?.reason));
      this.#waiters.add(waiter);
      signal?.addEventListener("abort", onAbort, { once: true });
    });
  }

  /** Returns what `work` comes to, unless `signal` aborts or `rejectAll` is called first. */
  race<T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> {
    const give = new AbortController();
    work.catch(() => {}).finally(() => give.abort());
    const interrupted = this.wait<never>(
      () => null,
      signal === undefined ? give.signal : AbortSignal.any([signal, give.signal]),
    );
    interrupted.catch(() => {});
    return Promise.race([work, interrupted]);
  }

  /** Something has changed. */
  check(): void {
    for (const waiter of [...this.#waiters]) waiter.check();
  }

  /** Ends every wait. */
  rejectAll(reason: unknown): void {
    for (const waiter of [...this.#waiters]) waiter.reject(reason);
  }
}
