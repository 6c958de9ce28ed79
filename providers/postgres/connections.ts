/**
 * The connections of one PostgreSQL provider: one call at a time on each, and none that outlives its caller.
 *
 * @module
 */

import { abortable } from "../../src/call.ts";
import { Dialer, type DialerSettings } from "./dialer.ts";
import { type Lane, type Lanes, lanesOf, ownLanes } from "./lanes.ts";
import { OwnPool } from "./pool.ts";
import { isFit, isUnknownStatement, isUnusablePlan } from "./sql_state.ts";
import type { Statement } from "./statements.ts";

/** What a client of a pool must offer; that of `pg` does. */
export interface PostgresClient {
  /** The server process that serves this client, as it said when it connected. */
  readonly processID?: number | null;
  /** Runs one query and returns its rows as arrays. */
  query(query: PostgresQuery): Promise<{ readonly rows: readonly unknown[] }>;
  /** Gives the client back to its pool; `true` closes its connection instead, at once. */
  release(destroy?: boolean): void;
  /** Adds a listener. */
  on(event: string, listener: (detail: unknown) => void): unknown;
  /** Removes a listener. */
  removeListener(event: string, listener: (detail: unknown) => void): unknown;
  /** Whether the session is in a transaction (`T`, `E`) or not (`I`). */
  getTransactionStatus?(): string | null;
}

/** A query as `pg` takes it. */
export interface PostgresQuery {
  /** The SQL. */
  text: string;
  /** Its parameters. */
  values?: unknown[];
  /** The name to prepare it under. */
  name?: string;
  /** Rows come as arrays. */
  rowMode: "array";
  /** How long to wait for the answer, in milliseconds. */
  "query_timeout"?: number;
  /** How to read values; those of the pool do not count. */
  types?: { getTypeParser(): (value: unknown) => unknown };
}

/** What a pool must offer; that of `pg` does. */
export interface PostgresPool {
  /** Returns a client, connecting one if need be. */
  connect(): Promise<PostgresClient>;
  /** What it was made with. Without `max` it is taken to have 10 connections. */
  readonly options?: { readonly max?: number | undefined };
}

/** How to connect. */
export interface ConnectionSettings extends DialerSettings {
  /** A pool to use instead. It stays its owner's. */
  readonly pool?: PostgresPool | undefined;
  /** The most connections for calls, in a pool of our own. */
  readonly poolSize: number;
  /** Whether to prepare statements by name. */
  readonly prepare: boolean;
}

/** How a statement is to be run. */
export interface RunOptions {
  /** Heartbeats have connections that nothing else can take. @default "calls" */
  readonly lane?: "calls" | "heartbeats";
  /** Whether it goes before those that wait. */
  readonly urgent?: boolean;
}

/** How much longer than the server the client waits for the end of a statement: the server's answer says more. */
const CLIENT_SLACK_MS = 500;

/** Values as the server wrote them. A pool that asks for binary gets the bytes of the text. */
const AS_TEXT = { getTypeParser: () => String };

/** Runs statements. It connects on first use, and remembers no failure. */
export class Connections {
  /** Shared with the other providers of a pool that the user brought. */
  readonly lanes: Lanes;
  readonly #pool: { connect(signal: AbortSignal): Promise<PostgresClient> };
  readonly #close: () => void;
  readonly #dialer: Dialer;
  readonly #queryTimeout: number;
  #prepare: boolean;
  readonly #closing = new AbortController();

  /** Makes the connections, without I/O. @throws {RangeError} if the pool is too small */
  constructor(settings: ConnectionSettings) {
    const { pool, poolSize, statementTimeout, prepare } = settings;
    this.#dialer = new Dialer(settings);
    this.#prepare = prepare;
    this.#queryTimeout = statementTimeout + CLIENT_SLACK_MS;
    if (pool === undefined) {
      const own = new OwnPool((signal) => this.#dialer.dial(signal));
      this.#pool = own;
      this.#close = () => own.close();
      this.lanes = ownLanes(poolSize);
    } else {
      // Without an argument: the pool of `pg` would take one for a callback.
      this.#pool = { connect: () => pool.connect() };
      this.#close = () => {};
      this.lanes = lanesOf(pool, pool.options?.max);
    }
  }

  /**
   * Runs `statement` on one connection, in a transaction of its own. `values` is asked for when a connection is free,
   * and not at all if `signal` has aborted by then: what waits for a connection is never sent after its caller has
   * gone.
   */
  async run(
    { text, name }: Statement,
    values: () => unknown[],
    signal: AbortSignal,
    options?: RunOptions,
  ): Promise<readonly string[][]> {
    let prepared = false;
    const query = (prepare: boolean) => (): PostgresQuery => {
      prepared = prepare && this.#prepare;
      return { ...this.#query(text), values: values(), ...(prepared && { name }) };
    };
    try {
      return await this.#use(query(true), signal, options);
    } catch (error) {
      if (!prepared || !isUnusablePlan(error)) throw error;
      // A pooler gave us the connection of somebody else, or the table has changed. The server has executed nothing.
      if (isUnknownStatement(error)) this.#prepare = false;
      return await this.#use(query(false), signal, options);
    }
  }

  /** Runs SQL without parameters. */
  async runText(text: string, signal: AbortSignal): Promise<void> {
    await this.#use(() => this.#query(text), signal);
  }

  /** Takes a client out of the pool, for its caller to release. */
  async checkOut(signal: AbortSignal): Promise<PostgresClient> {
    this.#closing.signal.throwIfAborted();
    const connecting = this.#pool.connect(signal);
    let late = false;
    // One that comes after its caller has gone goes back as it came.
    connecting.then((client) => late && client.release(), () => {});
    try {
      const client = await abortable(connecting, signal);
      if (this.#dialer.refusesSettings) this.#prepare = false;
      return client;
    } catch (error) {
      late = true;
      throw error;
    }
  }

  /** From now on one connection is kept for the heartbeats of this lease, and of others, until all have gone. */
  keepFor(lease: string): void {
    const { reserve, heartbeats } = this.lanes;
    if (this.#closing.signal.aborted) return;
    reserve.add(this, lease);
    if (reserve.isWanted && heartbeats.isFree) void this.#warm().catch(ignore);
  }

  /** The lease has gone. */
  letGo(lease: string): void {
    this.lanes.reserve.remove(this, lease);
  }

  /** Closes every connection of its own, also to a server that hangs. Calls that are under way reject. */
  async close(): Promise<void> {
    this.#closing.abort(new Error("the provider is closed"));
    this.lanes.reserve.remove(this);
    this.#close();
    // One turn, for the farewells of idle connections. Nothing more is waited for: a server that hangs answers nothing.
    await new Promise((resolve) => setImmediate(resolve));
    this.#dialer.close();
  }

  #query(text: string): PostgresQuery {
    return { text, rowMode: "array", query_timeout: this.#queryTimeout, types: AS_TEXT };
  }

  /** Closing ends every call at once: one that waits for a connection would else wait for a pool that has ended. */
  async #use(query: () => PostgresQuery, signal: AbortSignal, options: RunOptions = {}): Promise<readonly string[][]> {
    this.#closing.signal.throwIfAborted();
    const ended = AbortSignal.any([signal, this.#closing.signal]);
    const lane = this.lanes[options.lane ?? "calls"];
    const leave = await lane.enter(ended, options.urgent);
    try {
      return await this.#useClient(query, ended, lane);
    } finally {
      leave();
    }
  }

  async #useClient(query: () => PostgresQuery, signal: AbortSignal, lane: Lane): Promise<readonly string[][]> {
    const { reserve, heartbeats } = this.lanes;
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
      refuseTransaction(client);
      const { rows } = await abortable(client.query(query()), signal);
      putBack(true);
      return rows as readonly string[][];
    } catch (error) {
      putBack(isFit(error));
      throw error;
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }

  /**
   * Connects before the first heartbeat is due, so that it finds a connection also if by then others have taken all.
   */
  async #warm(): Promise<void> {
    const bound = AbortSignal.any([AbortSignal.timeout(this.#queryTimeout), this.#closing.signal]);
    const leave = await this.lanes.heartbeats.enter(bound);
    try {
      const client = await this.checkOut(bound);
      if (!this.lanes.reserve.keep(client)) client.release();
    } finally {
      leave();
    }
  }
}

/** @throws {Error} if what we write would stay uncommitted, for nobody else to see */
function refuseTransaction(client: PostgresClient): void {
  const status = client.getTransactionStatus?.() ?? "I";
  if (status === "I") return;
  throw new Error(
    "the pool gave a client that somebody has left in a transaction, where a lease would not be committed",
  );
}

function ignore(): void {}
