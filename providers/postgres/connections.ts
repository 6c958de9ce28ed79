/**
 * The connections of one PostgreSQL provider: one call at a time on each, and none that outlives its caller.
 *
 * @module
 */

import { type ConnectionSource, LanedConnections, type LaneOptions } from "../kit/laned_connections.ts";
import { type Lanes, lanesOf, ownLanes } from "../kit/lanes.ts";
import { OwnPool, PooledClient } from "../kit/own_pool.ts";
import { type Connection, Dialer, type DialerSettings, type DriverClient } from "./dialer.ts";
import { isFit, isUnknownStatement, isUnusablePlan } from "./sql_state.ts";
import type { Statement } from "./statements.ts";

/** The part of a pool's client that is needed; that of `pg` has it. */
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
  /** True if the session is in a transaction (`T`, `E`) or not (`I`). */
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
  /** The time to wait for the answer, in milliseconds. */
  "query_timeout"?: number;
  /** The reading of values; that of the pool does not count. */
  types?: { getTypeParser(): (value: unknown) => unknown };
}

/** The part of a pool that is needed; that of `pg` has it. */
export interface PostgresPool {
  /** Returns a client, connecting one if need be. */
  connect(): Promise<PostgresClient>;
  /** The options it was made with. Without `max` it is taken to have 10 connections. */
  readonly options?: { readonly max?: number | undefined };
}

/** The settings of a connection. */
export interface ConnectionSettings extends DialerSettings {
  /** A pool to use instead. It stays its owner's. */
  readonly pool?: PostgresPool | undefined;
  /** The most connections for calls, in a pool of our own. */
  readonly poolSize: number;
  /** True to prepare statements by name. */
  readonly prepare: boolean;
}

/** The time for which the client outwaits the server at the end of a statement: the server's answer says more. */
const CLIENT_SLACK_MS = 500;

/** The number of connections of a pool of `pg` that is not told otherwise. */
const DEFAULT_MAX = 10;

/** Values as the server wrote them. A pool that asks for binary gets the bytes of the text. */
const AS_TEXT = { getTypeParser: () => String };

/** Runs statements. It connects on first use, and remembers no failure. */
export class Connections {
  /** Shared with the other providers of a pool that the user brought. */
  readonly lanes: Lanes<PostgresClient>;
  readonly #laned: LanedConnections<PostgresClient>;
  readonly #dialer: Dialer;
  readonly #queryTimeout: number;
  #prepare: boolean;

  /** Makes the connections, without I/O. @throws {RangeError} if the pool is too small */
  constructor(settings: ConnectionSettings) {
    const { pool, poolSize, statementTimeout, prepare } = settings;
    const dialer = new Dialer(settings);
    this.#dialer = dialer;
    this.#prepare = prepare;
    this.#queryTimeout = statementTimeout + CLIENT_SLACK_MS;
    let source: Pick<ConnectionSource<PostgresClient>, "connect" | "close">;
    if (pool === undefined) {
      source = new OwnPool(async (signal) => new OwnClient(await dialer.dial(signal)));
      this.lanes = ownLanes(poolSize);
    } else {
      // Without an argument: the pool of `pg` would take one for a callback.
      source = { connect: () => pool.connect(), close() {} };
      this.lanes = lanesOf(pool, { max: pool.options?.max ?? DEFAULT_MAX, setting: "max", hasHints: true });
    }
    this.#laned = new LanedConnections(
      {
        connect: (signal) => source.connect(signal),
        close: () => source.close(),
        destroy: () => dialer.close(),
        isFit,
      },
      this.lanes,
      this.#queryTimeout,
    );
  }

  /**
   * Runs `statement` on one connection, in a transaction of its own. `values` is asked for when a connection is free,
   * and not at all if `signal` has aborted by then.
   */
  async run(
    { text, name }: Statement,
    values: () => unknown[],
    signal: AbortSignal,
    options?: LaneOptions,
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
  checkOut(signal: AbortSignal): Promise<PostgresClient> {
    return this.#laned.checkOut(signal);
  }

  /** From now on one connection is kept for the heartbeats of this lease, and of others, until all have gone. */
  keepFor(lease: string): void {
    this.#laned.keepFor(lease);
  }

  /** The lease has gone. */
  letGo(lease: string): void {
    this.#laned.letGo(lease);
  }

  /** Closes every connection of its own, also to a server that hangs. Calls that are under way reject. */
  close(): Promise<void> {
    return this.#laned.close();
  }

  #query(text: string): PostgresQuery {
    return { text, rowMode: "array", query_timeout: this.#queryTimeout, types: AS_TEXT };
  }

  #use(query: () => PostgresQuery, signal: AbortSignal, options?: LaneOptions): Promise<readonly string[][]> {
    return this.#laned.use(
      async (client) => {
        if (this.#dialer.refusesSettings) this.#prepare = false;
        refuseTransaction(client);
        const { rows } = await client.query(query());
        return rows as readonly string[][];
      },
      signal,
      options,
    );
  }
}

/** A client of a pool of our own. */
class OwnClient extends PooledClient implements PostgresClient {
  readonly #driver: DriverClient;

  constructor({ driver, socket }: Connection) {
    super({
      on: (event, listener) => driver.on(event, listener),
      removeListener: (event, listener) => driver.removeListener(event, listener),
      farewell: () => void driver.end().catch(() => {}),
      destroy: () => socket.destroy(),
    });
    this.#driver = driver;
  }

  get processID(): number | null {
    return this.#driver.processID ?? null;
  }

  query(query: PostgresQuery): Promise<{ readonly rows: readonly unknown[] }> {
    return this.#driver.query(query);
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
