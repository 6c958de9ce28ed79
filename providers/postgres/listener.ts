/**
 * Hints by `LISTEN`: one connection for all groups, open while anybody watches.
 *
 * @module
 */

import { abortable } from "../../src/call.ts";
import type { Connections, PostgresClient } from "./connections.ts";

/** Raised when the connection does not reach one server session, so that `LISTEN` would be heard by somebody else. */
export class CannotListenError extends Error {}

/** Waits for hints about one group. */
class Watcher {
  hinted = true;
  broken: { readonly cause: unknown } | null = null;
  #resume = () => {};

  wake(): void {
    this.hinted = true;
    this.#resume();
  }

  break(cause: unknown): void {
    this.broken = { cause };
    this.#resume();
  }

  wait(): Promise<void> {
    return new Promise((resolve) => this.#resume = resolve);
  }
}

/** The connection that listens, from its first watcher to its last or until it breaks. */
class Subscription {
  readonly watchers = new Map<string, Set<Watcher>>();
  readonly live: Promise<void>;
  readonly #channel: string;
  #client: PostgresClient | null = null;
  #ended = false;

  constructor(connections: Connections, channel: string) {
    this.#channel = channel;
    this.live = this.#open(connections);
    // Each watcher learns it by itself; this only says that somebody will.
    this.live.catch(() => {});
  }

  get ended(): boolean {
    return this.#ended;
  }

  /** Closes the connection. Those that still watch are told `cause`. */
  end(cause: unknown): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#client?.removeListener("notification", this.#onNotification);
    this.#client?.release(true);
    for (const watchers of this.watchers.values()) for (const watcher of watchers) watcher.break(cause);
  }

  async #open(connections: Connections): Promise<void> {
    try {
      const client = await connections.checkOut();
      client.on("error", this.#onBroken);
      client.on("end", this.#onBroken);
      if (this.#ended) return client.release(true);
      this.#client = client;
      client.on("notification", this.#onNotification);
      const { rows } = await client.query({ text: "SELECT pg_backend_pid()", rowMode: "array" });
      // Behind a pooler the process is not the one that greeted us, and LISTEN would be left behind on its connection.
      if ((rows[0] as unknown[])[0] !== client.processID) {
        throw new CannotListenError("there is a pooler between us and the server, so LISTEN hears nothing; polling");
      }
      await client.query({ text: `LISTEN "${this.#channel}"`, rowMode: "array" });
    } catch (error) {
      this.end(error);
      throw error;
    }
  }

  readonly #onBroken = (error?: unknown): void => this.end(error ?? new Error("the connection was closed"));

  readonly #onNotification = (message: unknown): void => {
    const { channel, payload } = message as { channel: string; payload?: string };
    if (channel !== this.#channel) return;
    for (const watcher of this.watchers.get(payload ?? "") ?? []) watcher.wake();
  };
}

/** Shares one {@linkcode Subscription} among all watchers. */
export class Listener {
  readonly #connections: Connections;
  readonly #channel: string;
  #subscription: Subscription | null = null;

  /** Makes a listener to `channel`, without I/O. */
  constructor(connections: Connections, channel: string) {
    this.#connections = connections;
    this.#channel = channel;
  }

  /** Yields once the subscription is live, and for every notification about `group`. Rejects when the connection breaks. */
  async *watch(group: string, signal: AbortSignal): AsyncGenerator<void, void> {
    if (signal.aborted) return;
    const watcher = new Watcher();
    const subscription = this.#join(group, watcher);
    const wake = () => watcher.wake();
    signal.addEventListener("abort", wake);
    try {
      await abortable(subscription.live, signal);
      while (!signal.aborted) {
        if (watcher.broken !== null) throw watcher.broken.cause;
        if (watcher.hinted) {
          watcher.hinted = false;
          yield;
        } else await watcher.wait();
      }
    } catch (error) {
      if (!signal.aborted) throw error;
    } finally {
      signal.removeEventListener("abort", wake);
      this.#leave(subscription, group, watcher);
    }
  }

  /** Ends every watch. */
  close(): void {
    this.#subscription?.end(new Error("the provider is closed"));
  }

  #join(group: string, watcher: Watcher): Subscription {
    if (this.#subscription === null || this.#subscription.ended) {
      this.#subscription = new Subscription(this.#connections, this.#channel);
    }
    const { watchers } = this.#subscription;
    const ofGroup = watchers.get(group);
    if (ofGroup === undefined) watchers.set(group, new Set([watcher]));
    else ofGroup.add(watcher);
    return this.#subscription;
  }

  #leave(subscription: Subscription, group: string, watcher: Watcher): void {
    const { watchers } = subscription;
    const ofGroup = watchers.get(group);
    ofGroup?.delete(watcher);
    if (ofGroup?.size === 0) watchers.delete(group);
    if (watchers.size === 0) subscription.end(new Error("nobody watches"));
  }
}
