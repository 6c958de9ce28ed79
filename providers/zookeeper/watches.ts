/**
 * The watches of one connection: each fires once, for a change or because the connection is lost.
 *
 * @module
 */

/** The listeners of each path. */
export class Watches {
  readonly #listeners = new Map<string, Set<() => void>>();
  /** The paths of each listener, so that it can be taken back as a whole. */
  readonly #paths = new Map<() => void, Set<string>>();

  /** The number of pairs of a path and a listener that waits for it. */
  get size(): number {
    return [...this.#listeners.values()].reduce((sum, { size }) => sum + size, 0);
  }

  /** Calls `onEvent` when the watch of `path` fires. */
  add(path: string, onEvent: () => void): void {
    const listeners = this.#listeners.get(path) ?? new Set();
    this.#listeners.set(path, listeners.add(onEvent));
    const paths = this.#paths.get(onEvent) ?? new Set();
    this.#paths.set(onEvent, paths.add(path));
  }

  /** Takes `onEvent` back: the server has left no watch. */
  remove(path: string, onEvent: () => void): void {
    take(this.#listeners, path, onEvent);
    take(this.#paths, onEvent, path);
  }

  /** Takes `onEvent` back for every path: nobody listens to it any more. Later events of the server are dropped. */
  forget(onEvent: () => void): void {
    for (const path of [...this.#paths.get(onEvent) ?? []]) this.remove(path, onEvent);
  }

  /** Fires the watch of `path`. */
  fire(path: string): void {
    const listeners = this.#listeners.get(path) ?? [];
    this.#listeners.delete(path);
    for (const listener of listeners) take(this.#paths, listener, path);
    for (const listener of listeners) listener();
  }

  /** Fires all, since something may have been missed. */
  fireAll(): void {
    for (const path of [...this.#listeners.keys()]) this.fire(path);
  }
}

/** Takes `value` out of the set at `key`, and the set with its last value. */
function take<K, V>(sets: Map<K, Set<V>>, key: K, value: V): void {
  const set = sets.get(key);
  if (set?.delete(value) && set.size === 0) sets.delete(key);
}
