/**
 * Hints by `LISTEN`: one connection for all groups, open while anybody watches. It is asked a question every so often:
 * one that is dead without a word (a firewall has forgotten it, say) would else be listened to for ever.
 *
 * @module
 */

import { abortable } from "../../src/call.ts";
import type { TransferHint } from "../../src/provider.ts";
import type { Clock } from "../../src/time/clock.ts";
import { PendingHint } from "../kit/pending_hint.ts";
import type { Connections, PostgresClient } from "./connections.ts";

/** Raised when the connection does not reach one server session, so that `LISTEN` would be heard by somebody else. */
export class CannotListenError extends Error {}

/** Waits for hints about one group. */
class Watcher {
  readonly pending = new PendingHint(true);
  broken: { readonly cause: unknown } | null = null;
  #resume = () => {};

  wake(transferTo?: string): void {
    this.pending.add(transferTo);
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

/** The settings of a listener. */
export interface ListenerSettings {
  /** The channel of the table. */
  readonly channel: string;
  /** Times the questions. */
  readonly clock: Clock;
  /** The time that a connection may take to listen, in milliseconds. */
  readonly openTimeout: number;
}

/** The most milliseconds between two questions: two of them are less than the default lease. */
const MAX_QUESTION_INTERVAL = 5_000;
/** The least: where leases are shorter than three of them, looks are frequent anyway. */
const MIN_QUESTION_INTERVAL = 250;

/** The connection that listens, from its first watcher to its last or until it breaks. */
class Subscription {
  readonly watchers = new Map<string, Set<Watcher>>();
  readonly live: Promise<void>;
  readonly #settings: ListenerSettings;
  readonly #interval: () => number;
  readonly #closed = new AbortController();
  #client: PostgresClient | null = null;
  #cancelTimer = () => {};

  /** `interval` says how long to wait before the next question. */
  constructor(connections: Connections, settings: ListenerSettings, interval: () => number) {
    this.#settings = settings;
    this.#interval = interval;
    const { clock, openTimeout } = settings;
    this.#cancelTimer = clock.setTimer(() => this.end(new Error("no connection listens in time")), openTimeout);
    this.live = this.#open(connections);
    // Each watcher learns it by itself; this only says that somebody will.
    this.live.catch(() => {});
  }

  get ended(): boolean {
    return this.#closed.signal.aborted;
  }

  /** Closes the connection. Those that still watch are told `cause`. */
  end(cause: unknown): void {
    if (this.ended) return;
    this.#closed.abort(cause);
    this.#cancelTimer();
    this.#client?.removeListener("notification", this.#onNotification);
    // Never given back: its next user would go on listening.
    this.#client?.release(true);
    for (const watchers of this.watchers.values()) for (const watcher of watchers) watcher.break(cause);
  }

  async #open(connections: Connections): Promise<void> {
    const { hints } = connections.lanes;
    try {
      if (hints === null || !hints.isFree) throw new CannotListenError(NO_CONNECTION);
      const leave = await hints.enter(this.#closed.signal);
      if (this.ended) return leave();
      this.#closed.signal.addEventListener("abort", leave, { once: true });
      const client = await connections.checkOut(this.#closed.signal);
      this.#client = client;
      client.on("error", this.#onBroken);
      client.on("end", this.#onBroken);
      client.on("notification", this.#onNotification);
      const [pid] = await this.#ask(client, "SELECT pg_backend_pid()::text");
      // Behind a pooler the process is not the one that greeted us, and LISTEN would be left behind on its connection.
      if (pid !== String(client.processID)) {
        throw new CannotListenError("there is a pooler between us and the server, so LISTEN hears nothing; polling");
      }
      await this.#ask(client, `LISTEN "${this.#settings.channel}"`);
      this.#cancelTimer();
      this.#scheduleQuestion(client);
    } catch (error) {
      this.end(error);
      throw error;
    }
  }

  async #ask(client: PostgresClient, text: string): Promise<readonly unknown[]> {
    const query = { text, rowMode: "array", types: { getTypeParser: () => String } } as const;
    const { rows } = await abortable(client.query(query), this.#closed.signal);
    return rows[0] as readonly unknown[] ?? [];
  }

  /** A question that has no answer when the next one is due ends the subscription. So does one that fails. */
  #scheduleQuestion(client: PostgresClient): void {
    this.#cancelTimer = this.#settings.clock.setTimer(() => {
      const interval = this.#interval();
      const silent = () => this.end(new Error(`the connection that listens has not answered for ${interval} ms`));
      this.#cancelTimer = this.#settings.clock.setTimer(silent, interval);
      this.#ask(client, "SELECT 1").then(() => {
        this.#cancelTimer();
        if (!this.ended) this.#scheduleQuestion(client);
      }, (error) => this.end(error));
    }, this.#interval());
  }

  readonly #onBroken = (error?: unknown): void => this.end(error ?? new Error("the connection was closed"));

  readonly #onNotification = (message: unknown): void => {
    const { channel, payload } = message as { channel: string; payload?: string };
    if (channel !== this.#settings.channel) return;
    const [group = "", transferTo] = (payload ?? "").split(">");
    for (const watcher of this.watchers.get(group) ?? []) watcher.wake(transferTo);
  };
}

const NO_CONNECTION = "the pool has no connection to spare for listening; polling";

/** Shares one {@linkcode Subscription} among all watchers. */
export class Listener {
  readonly #connections: Connections;
  readonly #settings: ListenerSettings;
  #subscription: Subscription | null = null;
  #questionInterval = MAX_QUESTION_INTERVAL;

  /** Makes a listener, without I/O. */
  constructor(connections: Connections, settings: ListenerSettings) {
    this.#connections = connections;
    this.#settings = settings;
  }

  /**
   * Takes note of a lease that lives for `heartbeatTimeout` milliseconds: a dead connection is to be noticed within
   * one.
   */
  serve(heartbeatTimeout: number): void {
    const interval = Math.max(Math.floor(heartbeatTimeout / 3), MIN_QUESTION_INTERVAL);
    this.#questionInterval = Math.min(this.#questionInterval, interval);
  }

  /**
   * Yields once the subscription is live, and for every notification about `group`. Rejects when the connection breaks.
   */
  async *watch(group: string, signal: AbortSignal): AsyncGenerator<void | TransferHint, void> {
    if (signal.aborted) return;
    const watcher = new Watcher();
    const subscription = this.#join(group, watcher);
    const wake = () => watcher.wake();
    signal.addEventListener("abort", wake);
    try {
      await abortable(subscription.live, signal);
      while (!signal.aborted) {
        if (watcher.broken !== null) throw watcher.broken.cause;
        if (watcher.pending.isPending) yield watcher.pending.take();
        else await watcher.wait();
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
      this.#subscription = new Subscription(this.#connections, this.#settings, () => this.#questionInterval);
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
