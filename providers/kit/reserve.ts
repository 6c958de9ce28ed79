/**
 * The connection that is kept for heartbeats while there are leases: the heartbeats of a leader must not have to ask a
 * pool for one which by then others have emptied.
 *
 * @module
 */

/** A client of a pool that can be kept. */
export interface KeptClient {
  /** Gives the client back to its pool; `true` closes its connection instead, at once. */
  release(destroy?: boolean): void;
  on(event: string, listener: (detail: unknown) => void): unknown;
  removeListener(event: string, listener: (detail: unknown) => void): unknown;
}

/** Keeps one client of a pool. The providers that share the pool share it. */
export class Reserve<C extends KeptClient> {
  readonly #leases = new Map<object, Set<string>>();
  #client: C | null = null;

  /** True if there is a lease, and no client yet. */
  get isWanted(): boolean {
    return this.#client === null && this.#leases.size > 0;
  }

  /** `owner` has been granted `lease`. */
  add(owner: object, lease: string): void {
    const leases = this.#leases.get(owner);
    if (leases === undefined) this.#leases.set(owner, new Set([lease]));
    else leases.add(lease);
  }

  /** `lease` has gone, or all of its owner's. With the last one of all the client goes back to its pool. */
  remove(owner: object, lease?: string): void {
    const leases = this.#leases.get(owner);
    if (lease !== undefined) leases?.delete(lease);
    if (lease === undefined || leases?.size === 0) this.#leases.delete(owner);
    if (this.#leases.size === 0) this.take()?.release();
  }

  /** Keeps `client` if one is wanted; returns whether it does. */
  keep(client: C): boolean {
    if (!this.isWanted) return false;
    this.#client = client;
    client.on("error", this.#onBroken);
    client.on("end", this.#onBroken);
    return true;
  }

  /** Takes the client that is kept, if there is one. */
  take(): C | null {
    const client = this.#client;
    this.#client = null;
    client?.removeListener("error", this.#onBroken);
    client?.removeListener("end", this.#onBroken);
    return client;
  }

  readonly #onBroken = (): void => this.take()?.release(true);
}
