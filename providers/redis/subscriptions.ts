/**
 * All watches of a provider, over one more connection.
 *
 * @module
 */

import type { Connection, RedisClient } from "./connection.ts";

/** Those who watch one channel, and the promise that the server knows of them. */
interface Channel {
  readonly live: Promise<unknown>;
  readonly watchers: Set<Watcher>;
}

interface Watcher {
  wake(): void;
  fail(error: Error): void;
}

/** Subscribes to channels, once for all who watch one. */
export class Subscriptions {
  readonly #makeConnection: () => Connection;
  readonly #channels = new Map<string, Channel>();
  #connection: Connection | null = null;
  #client: Promise<RedisClient> | null = null;
  #isClosed = false;

  /** Takes what makes a connection. The connection is then this object's to close. */
  constructor(makeConnection: () => Connection) {
    this.#makeConnection = makeConnection;
  }

  /** Yields when the subscription is live, and at every message. Rejects when the connection is lost: messages may be, too. */
  async *watch(name: string, signal: AbortSignal): AsyncGenerator<void> {
    let hinted = false;
    let failure: Error | null = null;
    let resume = () => {};
    const watcher: Watcher = {
      wake() {
        hinted = true;
        resume();
      },
      fail(error) {
        failure ??= error;
        resume();
      },
    };
    const onAbort = () => resume();
    signal.addEventListener("abort", onAbort);
    this.#join(name, watcher).then(watcher.wake, watcher.fail);
    try {
      while (!signal.aborted) {
        if (failure !== null) throw failure;
        if (hinted) {
          hinted = false;
          yield;
        } else await new Promise<void>((resolve) => resume = resolve);
      }
    } finally {
      signal.removeEventListener("abort", onAbort);
      this.#leave(name, watcher);
    }
  }

  /** Ends every watch and closes the connection. */
  close(): void {
    this.#isClosed = true;
    this.#break(new Error("the provider is closed"));
  }

  async #join(name: string, watcher: Watcher): Promise<void> {
    if (this.#isClosed) throw new Error("the provider is closed");
    let channel = this.#channels.get(name);
    if (channel === undefined) {
      const client = this.#client ??= this.#open();
      channel = { live: client.then((ready) => ready.call("subscribe", name)), watchers: new Set() };
      this.#channels.set(name, channel);
    }
    channel.watchers.add(watcher);
    try {
      await channel.live;
    } catch (error) {
      // The next one to watch tries anew.
      if (this.#channels.get(name) === channel) this.#channels.delete(name);
      throw error;
    }
  }

  #leave(name: string, watcher: Watcher): void {
    const channel = this.#channels.get(name);
    if (!channel?.watchers.delete(watcher) || channel.watchers.size > 0) return;
    this.#channels.delete(name);
    // On one connection commands keep their order: who subscribes again after this is subscribed.
    this.#client?.then((client) => client.call("unsubscribe", name)).catch(() => {});
  }

  async #open(): Promise<RedisClient> {
    const connection = this.#connection = this.#makeConnection();
    let client: RedisClient;
    try {
      client = await connection.ready();
    } catch (error) {
      // The next one to watch tries anew.
      if (this.#connection === connection) this.#forget();
      throw error;
    }
    client.on("message", (name) => {
      for (const watcher of this.#channels.get(String(name))?.watchers ?? []) watcher.wake();
    });
    client.on("close", () => {
      if (this.#connection === connection) this.#break(new Error("the connection is closed"));
    });
    return client;
  }

  #break(error: Error): void {
    const channels = [...this.#channels.values()];
    this.#channels.clear();
    this.#forget();
    for (const { watchers } of channels) {
      for (const watcher of watchers) watcher.fail(error);
    }
  }

  /** Closes the connection, also one that is being made or would come back by itself. */
  #forget(): void {
    this.#connection?.close();
    this.#connection = null;
    this.#client = null;
  }
}
