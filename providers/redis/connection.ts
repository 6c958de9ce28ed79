/**
 * One connection to Redis, made when it is first needed and again after it was lost; and what is safe to do with it.
 *
 * @module
 */

import process from "node:process";
import type { Script } from "./scripts.ts";

/** What the provider needs of a client: a `Redis` or a `Cluster` of ioredis, or the like. */
export interface RedisClient {
  /** Where its connection stands: commands are sent while this is `"ready"`. */
  readonly status: string;
  /** Sends one command. */
  call(command: string, ...args: (string | number)[]): Promise<unknown>;
  /** Connects; resolves when it is ready. */
  connect(): Promise<unknown>;
  /** Closes the connection at once, and does not open it again. */
  disconnect(): void;
  /** Makes another client of the same settings. */
  duplicate(): RedisClient;
  /** Listens to `ready`, `error`, `close`, `end` and `message`. */
  on(event: string, listener: (...args: unknown[]) => void): unknown;
  /** Stops listening. */
  off(event: string, listener: (...args: unknown[]) => void): unknown;
}

/** Makes a client that has not connected yet. */
export type MakeClient = () => Promise<RedisClient>;

/** A connection that comes back when it is asked for again. */
export class Connection {
  readonly #make: MakeClient;
  /** Whether the client belongs to somebody else, who connects and closes it. */
  readonly #isBorrowed: boolean;
  #client: RedisClient | null = null;
  #connecting: Promise<RedisClient> | null = null;
  #lastError: unknown = null;
  #isClosed = false;
  #corked: Corkable | null = null;

  constructor(make: MakeClient, isBorrowed: boolean) {
    this.#make = make;
    this.#isBorrowed = isBorrowed;
  }

  /** Sends one command, as soon as the connection is ready and if `signal` has not aborted by then. */
  send(signal: AbortSignal, command: string, ...args: (string | number)[]): Promise<unknown> {
    // Without waiting where that is possible: what is sent in one turn of the event loop travels together.
    if (this.#client?.status === "ready") return this.#write(this.#client, command, args);
    return this.ready().then((client) => {
      // A command is never handed to a client that would keep it for later, nor for a caller who has gone.
      signal.throwIfAborted();
      return this.#write(client, command, args);
    });
  }

  /** Runs a script: by its digest, or, where the server has not seen it since it started, by its text. */
  async run(signal: AbortSignal, { sha, lua }: Script, keys: string[], args: (string | number)[]): Promise<unknown> {
    const client = this.#client;
    try {
      return await this.send(signal, "evalsha", sha, keys.length, ...keys, ...args);
    } catch (error) {
      const message = error instanceof Error ? error.message : "";
      // After a failover our server is a replica: the next call must look for the primary.
      if (/\bREADONLY\b/.test(message) && client === this.#client) this.#drop();
      // The server has not run it, so sending it again is the first time.
      if (!message.startsWith("NOSCRIPT")) throw error;
      signal.throwIfAborted();
      return await this.send(signal, "eval", lua, keys.length, ...keys, ...args);
    }
  }

  /** Returns the client when it is ready. Those who ask at the same time share one attempt, and a failed one is forgotten. */
  ready(): Promise<RedisClient> {
    if (this.#isClosed) return Promise.reject(new Error("the provider is closed"));
    if (this.#client?.status === "ready") return Promise.resolve(this.#client);
    return this.#connecting ??= this.#connect().finally(() => this.#connecting = null);
  }

  /** Closes the connection for good. Calls under way fail. */
  close(): void {
    this.#isClosed = true;
    this.#drop();
  }

  /** Forgets the connection, so that the next call makes a new one. A borrowed client is left to its owner. */
  #drop(): void {
    if (this.#isBorrowed) return;
    this.#client?.disconnect();
    this.#client = null;
  }

  async #connect(): Promise<RedisClient> {
    const client = this.#client ?? await this.#make();
    if (this.#client === null) {
      this.#client = client;
      // Without a listener an error would end the process.
      client.on("error", (error) => this.#lastError = error);
    }
    this.#lastError = null;
    try {
      // A borrowed client may be connecting by itself.
      if (client.status === "wait" || client.status === "end") await client.connect();
      else if (client.status !== "ready") await readiness(client);
    } catch (error) {
      // ioredis says only that the connection was closed, and says why in an event.
      throw this.#lastError ?? error;
    }
    if (this.#isClosed) {
      if (!this.#isBorrowed) client.disconnect();
      throw new Error("the provider is closed");
    }
    return client;
  }

  #write(client: RedisClient, command: string, args: (string | number)[]): Promise<unknown> {
    // ioredis writes each command to the socket by itself. Held back to the end of this turn, a thousand heartbeats are
    // a few writes.
    const { stream } = client as { stream?: Corkable };
    if (stream?.cork && this.#corked !== stream) {
      stream.cork();
      this.#corked = stream;
      process.nextTick(() => {
        this.#corked = null;
        stream.uncork();
      });
    }
    return client.call(command, ...args);
  }
}

interface Corkable {
  cork(): void;
  uncork(): void;
}

/** Resolves when a client that somebody else connects is ready; rejects when its connection is lost before. */
function readiness(client: RedisClient): Promise<void> {
  return new Promise((resolve, reject) => {
    const onReady = () => settle(resolve);
    const onClose = () => settle(() => reject(new Error("the connection is closed")));
    const settle = (done: () => void) => {
      client.off("ready", onReady);
      client.off("close", onClose);
      client.off("end", onClose);
      done();
    };
    client.on("ready", onReady);
    client.on("close", onClose);
    client.on("end", onClose);
  });
}
