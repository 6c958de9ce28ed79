/**
 * All watches of a provider, over one more connection.
 *
 * @module
 */

import type { Clock } from "../../src/time/clock.ts";
import type { Hint } from "../../src/provider.ts";
import { HintStream } from "../kit/hint_stream.ts";
import type { Link } from "./link.ts";
import { hintOf } from "./messages.ts";
import type { Pace } from "./pace.ts";

/** The readers that watch one channel, and the promise that the server knows of them. */
interface Channel {
  readonly live: Promise<unknown>;
  readonly watchers: Set<HintStream>;
}

/**
 * Subscribes to channels, once for all who watch one.
 *
 * Nothing fails on a connection that only listens when its peer has gone without a word. So it is asked a question
 * again and again: to subscribe to what it is subscribed to. That needs no further right, and an answer proves the way
 * back too.
 */
export class Subscriptions {
  readonly #connect: () => Promise<Link>;
  readonly #pace: Pace;
  readonly #clock: Clock;
  readonly #isOver: () => boolean;
  readonly #channels = new Map<string, Channel>();
  #link: Promise<Link> | null = null;
  #cancelQuestion: (() => void) | null = null;
  #isClosed = false;
  /** True if a message has come since the last question, which is proof enough that the connection lives. */
  #hasHeard = false;

  /**
   * Takes what makes a connection. The connection is then this object's to close. `isOver` says whether there is to be
   * none any more.
   */
  constructor(connect: () => Promise<Link>, pace: Pace, clock: Clock, isOver: () => boolean) {
    this.#connect = connect;
    this.#pace = pace;
    this.#clock = clock;
    this.#isOver = isOver;
  }

  /**
   * Yields when the subscription is live, and at every message. Rejects when the connection is lost: messages may be,
   * too.
   */
  async *watch(name: string, signal: AbortSignal): AsyncGenerator<Hint, void> {
    const watcher = new HintStream(null);
    this.#join(name, watcher).then(() => watcher.push(), (reason) => watcher.fail(reason));
    try {
      yield* watcher.read(signal);
    } finally {
      this.#leave(name, watcher);
    }
  }

  /** Ends every watch and closes the connection; the next watch makes another. */
  reset(reason: unknown): void {
    const channels = [...this.#channels.values()];
    const link = this.#link;
    this.#channels.clear();
    this.#link = null;
    this.#cancelQuestion?.();
    this.#cancelQuestion = null;
    // Also one that is being made.
    link?.then((made) => made.close(reason), () => {});
    for (const { watchers } of channels) {
      for (const watcher of watchers) watcher.fail(reason);
    }
  }

  /** Ends every watch and closes the connection, for good. */
  close(): void {
    this.#isClosed = true;
    this.reset(new Error("the provider is closed"));
  }

  async #join(name: string, watcher: HintStream): Promise<void> {
    if (this.#isClosed) throw new Error("the provider is closed");
    let channel = this.#channels.get(name);
    if (channel === undefined) {
      const link = this.#link ??= this.#open();
      channel = { live: link.then((made) => made.send("subscribe", name)), watchers: new Set() };
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

  #leave(name: string, watcher: HintStream): void {
    const channel = this.#channels.get(name);
    if (!channel?.watchers.delete(watcher) || channel.watchers.size > 0) return;
    this.#channels.delete(name);
    // On one connection commands keep their order: who subscribes again after this is subscribed.
    this.#link?.then((link) => link.send("unsubscribe", name)).catch(() => {});
  }

  #open(): Promise<Link> {
    const opening = this.#connect().then((link) => {
      link.onMessage((name, text) => {
        this.#hasHeard = true;
        const hint = hintOf(text);
        if (hint === null) return;
        for (const watcher of this.#channels.get(name)?.watchers ?? []) watcher.push(hint);
      });
      void link.closed.then(() => {
        if (this.#link === opening) this.reset(link.closedBy);
      });
      if (this.#link === opening) this.#askLater(link);
      return link;
    });
    opening.catch(() => {
      // The next one to watch tries anew.
      if (this.#link === opening) this.#link = null;
    });
    return opening;
  }

  #askLater(link: Link): void {
    this.#cancelQuestion = this.#clock.setTimer(() => {
      this.#cancelQuestion = null;
      // The question before this one is that old, if it still has no answer.
      link.closeIfSilent(this.#pace.questionMs * 0.9);
      const [name] = this.#channels.keys();
      // Nobody watches: the connection is given back. Whoever comes next makes another.
      if (name === undefined || this.#isOver()) this.reset(new Error("nobody watches, or may watch, any more"));
      else if (!this.#hasHeard) link.send("subscribe", name).catch(() => {});
      this.#hasHeard = false;
      if (link.isOpen && name !== undefined) this.#askLater(link);
    }, this.#pace.questionMs);
  }
}
