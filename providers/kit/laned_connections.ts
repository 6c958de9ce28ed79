/**
 * The connections of a provider over a database: one call at a time on each, and none that outlives its caller.
 *
 * @module
 */

import { abortable } from "../../src/call.ts";
import type { Lane, Lanes } from "./lanes.ts";
import type { KeptClient } from "./reserve.ts";

/** The way in which a call is run. */
export interface LaneOptions {
  /** Heartbeats have connections that nothing else can take. @default "calls" */
  readonly lane?: "calls" | "heartbeats";
  /** True if it goes before those that wait. */
  readonly urgent?: boolean;
}

/** Where the connections come from. */
export interface ConnectionSource<C extends KeptClient> {
  /** Returns a client that nobody uses, or connects one. */
  connect(signal: AbortSignal): Promise<C>;
  /** Says no more: what nobody uses is closed, and what is in use when it is given back. */
  close(): void;
  /** Closes at once what is left. */
  destroy(): void;
  /** True if a client is fit for the next call after one that failed. */
  isFit(error: unknown): boolean;
}

/** Shares out the clients of a source. It remembers no failure. */
export class LanedConnections<C extends KeptClient> {
  readonly #source: ConnectionSource<C>;
  readonly #lanes: Lanes<C>;
  readonly #warmUpMs: number;
  readonly #closing = new AbortController();
  /** The calls under way, which closing ends. `AbortSignal.any` would cost more than a heartbeat's statement. */
  readonly #uses = new Set<AbortController>();

  /** Makes them, without I/O. A connection for heartbeats may take `warmUpMs` to be made before the first is due. */
  constructor(source: ConnectionSource<C>, lanes: Lanes<C>, warmUpMs: number) {
    this.#source = source;
    this.#lanes = lanes;
    this.#warmUpMs = warmUpMs;
  }

  /**
   * Runs `work` on a client that nobody else has meanwhile. It is not begun at all if `signal` has aborted by then:
   * what waits for a connection is never sent after its caller has gone.
   *
   * Closing ends every call at once: one that waits for a connection would else wait for a pool that has ended.
   */
  async use<T>(work: (client: C) => Promise<T>, signal: AbortSignal, options: LaneOptions = {}): Promise<T> {
    this.#closing.signal.throwIfAborted();
    signal.throwIfAborted();
    const use = new AbortController();
    const onAbort = () => use.abort(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    this.#uses.add(use);
    try {
      const lane = this.#lanes[options.lane ?? "calls"];
      const leave = await lane.enter(use.signal, options.urgent);
      try {
        return await this.#useClient(work, use.signal, lane);
      } finally {
        leave();
      }
    } finally {
      signal.removeEventListener("abort", onAbort);
      this.#uses.delete(use);
    }
  }

  /** Takes a client out of the pool, for its caller to release. */
  async checkOut(signal: AbortSignal): Promise<C> {
    this.#closing.signal.throwIfAborted();
    const connecting = this.#source.connect(signal);
    let late = false;
    // One that comes after its caller has gone goes back as it came.
    connecting.then((client) => late && client.release(), () => {});
    try {
      return await abortable(connecting, signal);
    } catch (error) {
      late = true;
      throw error;
    }
  }

  /** From now on one connection is kept for the heartbeats of this lease, and of others, until all have gone. */
  keepFor(lease: string): void {
    const { reserve, heartbeats } = this.#lanes;
    if (this.#closing.signal.aborted) return;
    reserve.add(this, lease);
    if (reserve.isWanted && heartbeats.isFree) void this.#warm().catch(ignore);
  }

  /** The lease has gone. */
  letGo(lease: string): void {
    this.#lanes.reserve.remove(this, lease);
  }

  /** Closes every connection of its own, also to a server that hangs. Calls that are under way reject. */
  async close(): Promise<void> {
    const reason = new Error("the provider is closed");
    this.#closing.abort(reason);
    for (const use of this.#uses) use.abort(reason);
    this.#lanes.reserve.remove(this);
    this.#source.close();
    // One turn, for the farewells of idle connections. Nothing more is waited for: a server that hangs answers nothing.
    await new Promise((resolve) => setImmediate(resolve));
    this.#source.destroy();
  }

  async #useClient<T>(work: (client: C) => Promise<T>, signal: AbortSignal, lane: Lane): Promise<T> {
    const { reserve, heartbeats } = this.#lanes;
    const client = (lane === heartbeats ? reserve.take() : null) ?? await this.checkOut(signal);
    // The connection may break while it is ours; the call then rejects, and the event would end the process.
    client.on("error", ignore);
    let out = true;
    const putBack = (fit: boolean) => {
      if (!out) return;
      out = false;
      client.removeListener("error", ignore);
      if (!fit || lane !== heartbeats || !reserve.keep(client)) client.release(!fit);
    };
    // Destroyed, the connection can neither send the rest of the call nor hand its late answer to another.
    const onAbort = () => putBack(false);
    signal.addEventListener("abort", onAbort);
    try {
      if (signal.aborted) putBack(true);
      signal.throwIfAborted();
      const answer = await abortable(work(client), signal);
      putBack(true);
      return answer;
    } catch (error) {
      putBack(this.#source.isFit(error));
      throw error;
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }

  /**
   * Connects before the first heartbeat is due, so that it finds a connection also if by then others have taken all.
   */
  async #warm(): Promise<void> {
    const bound = AbortSignal.any([AbortSignal.timeout(this.#warmUpMs), this.#closing.signal]);
    const leave = await this.#lanes.heartbeats.enter(bound);
    try {
      const client = await this.checkOut(bound);
      if (!this.#lanes.reserve.keep(client)) client.release();
    } finally {
      leave();
    }
  }
}

function ignore(): void {}
