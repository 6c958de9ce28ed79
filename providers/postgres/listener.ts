/**
 * Hints by `LISTEN`: one connection for all groups, open while anybody watches. It is asked a question every so often:
 * one that is dead without a word (a firewall has forgotten it, say) would else be listened to for ever.
 *
 * @module
 */

import { abortable } from "../../src/call.ts";
import type { Hint } from "../../src/provider.ts";
import type { Clock } from "../../src/time/clock.ts";
import { failAll, SharedWatch, type Subscription, type Watchers } from "../kit/shared_watch.ts";
import type { Connections, PostgresClient } from "./connections.ts";
import { parseNotification } from "./messages.ts";

/** Raised when the connection does not reach one server session, so that `LISTEN` would be heard by somebody else. */
export class CannotListenError extends Error {}

/** The settings of a listener. */
export interface ListenerSettings {
  /** The channel of the table. */
  readonly channel: string;
  /** Times the questions. */
  readonly clock: Clock;
  /** The time that a connection may take to listen, in milliseconds. */
  readonly openTimeout: number;
}

/**
 * The most milliseconds to wait for an answer. A connection is asked when it has been silent for that and half as long
 * again: both together are less than the default lease.
 */
const MAX_QUESTION_INTERVAL = 5_000;
/** The heartbeats of a lease come at about such intervals, and what is heard in time needs no question. */
const SILENT_INTERVALS = 1.5;
/** The least: where leases are shorter than three of them, looks are frequent anyway. */
const MIN_QUESTION_INTERVAL = 250;

/** The connection that listens, from its first watcher to its last or until it breaks. */
class Listening implements Subscription {
  readonly watchers: Watchers = new Map();
  readonly live: Promise<void>;
  readonly #settings: ListenerSettings;
  readonly #interval: () => number;
  readonly #closed = new AbortController();
  #client: PostgresClient | null = null;
  #cancelTimer = () => {};
  #heardAt = -Infinity;

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
    failAll(this.watchers, cause);
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
      this.#heardAt = this.#settings.clock.monotonic();
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

  /** A question that has no answer in time ends the subscription. So does one that fails. */
  #scheduleQuestion(client: PostgresClient): void {
    const { clock } = this.#settings;
    const silentAt = this.#heardAt + this.#interval() * SILENT_INTERVALS;
    this.#cancelTimer = clock.setTimer(() => {
      const interval = this.#interval();
      if (clock.monotonic() < this.#heardAt + interval * SILENT_INTERVALS) return this.#scheduleQuestion(client);
      const silent = () => this.end(new Error(`the connection that listens has not answered for ${interval} ms`));
      this.#cancelTimer = clock.setTimer(silent, interval);
      this.#ask(client, "SELECT 1").then(() => {
        this.#cancelTimer();
        this.#heardAt = clock.monotonic();
        if (!this.ended) this.#scheduleQuestion(client);
      }, (error) => this.end(error));
    }, silentAt - clock.monotonic());
  }

  readonly #onBroken = (error?: unknown): void => this.end(error ?? new Error("the connection was closed"));

  readonly #onNotification = (message: unknown): void => {
    const { channel, payload } = message as { channel: string; payload?: string };
    if (channel !== this.#settings.channel) return;
    this.#heardAt = this.#settings.clock.monotonic();
    const { group, hint } = parseNotification(payload ?? "");
    for (const watcher of this.watchers.get(group) ?? []) watcher.push(hint);
  };
}

const NO_CONNECTION = "the pool has no connection to spare for listening; polling";

/** Hints for those who watch. */
export class Listener {
  readonly #watch: SharedWatch<Listening>;
  #questionInterval = MAX_QUESTION_INTERVAL;

  /** Makes a listener, without I/O. */
  constructor(connections: Connections, settings: ListenerSettings) {
    this.#watch = new SharedWatch(() => new Listening(connections, settings, () => this.#questionInterval));
  }

  /**
   * Takes note of a lease that lives for `heartbeatTimeout` milliseconds: a dead connection is to be noticed within
   * one.
   */
  serve(heartbeatTimeout: number): void {
    const interval = Math.max(Math.floor(heartbeatTimeout / 3), MIN_QUESTION_INTERVAL);
    this.#questionInterval = Math.min(this.#questionInterval, interval);
  }

  /** Yields once the connection listens, and for every notification about `group`. Rejects when it breaks. */
  watch(group: string, signal: AbortSignal): AsyncGenerator<Hint, void> {
    return this.#watch.watch(group, signal);
  }

  /** Ends every watch. */
  close(): void {
    this.#watch.close();
  }
}
