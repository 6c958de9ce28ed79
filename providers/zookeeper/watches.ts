/**
 * The watches of one connection: each fires once, for a change or because the connection is lost.
 *
 * @module
 */

/** Who wants to know of which path. */
export class Watches {
  readonly #listeners = new Map<string, Set<() => void>>();

  /** Calls `onEvent` when the watch of `path` fires. */
  add(path: string, onEvent: () => void): void {
    const listeners = this.#listeners.get(path) ?? new Set();
    this.#listeners.set(path, listeners.add(onEvent));
  }

  /** Takes `onEvent` back: the server has left no watch. */
  remove(path: string, onEvent: () => void): void {
    this.#listeners.get(path)?.delete(onEvent);
  }

  /** Fires the watch of `path`. */
  fire(path: string): void {
    const listeners = this.#listeners.get(path);
    this.#listeners.delete(path);
    for (const listener of listeners ?? []) listener();
  }

  /** Fires all, since something may have been missed. */
  fireAll(): void {
    for (const path of [...this.#listeners.keys()]) this.fire(path);
  }
}
