/**
 * The connections of one PostgreSQL provider: one call at a time on each, and none that outlives its caller.
 *
 * @module
 */

import { Socket } from "node:net";
import { abortable } from "../../src/call.ts";
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
}

/** What a pool must offer; that of `pg` does. */
export interface PostgresPool {
  /** Returns a client, connecting one if need be. */
  connect(): Promise<PostgresClient>;
}

/** How to connect. */
export interface ConnectionSettings {
  /** What `pg` is to connect to; without it, the `PG*` variables tell. */
  readonly connectionString?: string | undefined;
  /** A pool to use instead. It stays its owner's. */
  readonly pool?: PostgresPool | undefined;
  /** The most connections. */
  readonly poolSize: number;
  /** How long a statement may take, and a connection to be made, in milliseconds. */
  readonly statementTimeout: number;
  /** Whether to prepare statements by name. */
  readonly prepare: boolean;
}

interface OwnPool extends PostgresPool {
  on(event: "error", listener: () => void): unknown;
  end(): Promise<void>;
}

/** How much longer than the server the client waits for the end of a statement: the server's answer says more. */
const CLIENT_SLACK_MS = 500;

/** How long a connection that nobody uses stays open, in milliseconds. */
const IDLE_TIMEOUT_MS = 60_000;

/** A pool that loads the driver and connects on first use, and remembers no failure. */
export class Connections {
  readonly #settings: ConnectionSettings;
  readonly #sockets = new Set<Socket>();
  #own: OwnPool | null = null;
  #prepare: boolean;
  #refusesSettings = false;
  readonly #closing = new AbortController();

  /** Makes the connections, without I/O. */
  constructor(settings: ConnectionSettings) {
    this.#settings = settings;
    this.#prepare = settings.prepare;
  }

  /**
   * Runs `statement` on one connection, in a transaction of its own. `values` is asked for when a connection is free, and
   * not at all if `signal` has aborted by then: what waits for a connection is never sent after its caller has gone.
   */
  async run(statement: Statement, values: () => unknown[], signal: AbortSignal): Promise<readonly unknown[][]> {
    const { text, name } = statement;
    let prepared = false;
    const query = (): PostgresQuery => {
      prepared = this.#prepare;
      return { text, values: values(), rowMode: "array", ...(prepared && { name }) };
    };
    try {
      return await this.#use(query, signal);
    } catch (error) {
      if (!prepared || !isUnknownStatement(error)) throw error;
      // A pooler gave us the connection of somebody else. The server refused before it executed anything.
      this.#prepare = false;
      return await this.#use(query, signal);
    }
  }

  /** Runs SQL without parameters. */
  async runText(text: string, signal: AbortSignal): Promise<void> {
    await this.#use(() => ({ text, rowMode: "array" }), signal);
  }

  /** Takes a client out of the pool, for its caller to release. */
  async checkOut(): Promise<PostgresClient> {
    this.#closing.signal.throwIfAborted();
    if (this.#settings.pool !== undefined) return await this.#settings.pool.connect();
    const pool = await this.#open();
    try {
      return await pool.connect();
    } catch (error) {
      if (!isRefusedSetting(error)) throw error;
      // A pooler that forwards no settings forwards no session either: prepared statements would not stay ours.
      this.#refusesSettings = true;
      this.#prepare = false;
      // The pool has no connection and can get none. The next one does not ask for the setting.
      if (this.#own === pool) this.#own = null;
      return await (await this.#open()).connect();
    }
  }

  /** Closes every connection of its own, also to a server that hangs. Calls that are under way reject. */
  async close(): Promise<void> {
    this.#closing.abort(new Error("the provider is closed"));
    void this.#own?.end().catch(() => {});
    // One turn, for the farewells of idle connections. Nothing more is waited for: a server that hangs answers nothing.
    await new Promise((resolve) => setImmediate(resolve));
    for (const socket of this.#sockets) socket.destroy();
  }

  /** Closing ends every call at once: one that waits for a connection would else wait for a pool that has ended. */
  #use(query: () => PostgresQuery, signal: AbortSignal): Promise<readonly unknown[][]> {
    return abortable(this.#useClient(query, signal), this.#closing.signal);
  }

  async #useClient(query: () => PostgresQuery, signal: AbortSignal): Promise<readonly unknown[][]> {
    signal.throwIfAborted();
    const client = await this.checkOut();
    // The connection may break while it is ours; the call then rejects, and the event would end the process.
    client.on("error", ignore);
    let out = true;
    const giveBack = (destroy: boolean) => {
      if (!out) return;
      out = false;
      client.removeListener("error", ignore);
      client.release(destroy);
    };
    // Destroyed, the connection can neither send the rest of the call nor hand its late answer to another.
    const onAbort = () => giveBack(true);
    signal.addEventListener("abort", onAbort);
    try {
      if (signal.aborted || this.#closing.signal.aborted) {
        giveBack(false);
        signal.throwIfAborted();
        this.#closing.signal.throwIfAborted();
      }
      const { rows } = await client.query(query());
      giveBack(false);
      return rows as readonly unknown[][];
    } catch (error) {
      giveBack(!isAnswer(error));
      throw error;
    } finally {
      signal.removeEventListener("abort", onAbort);
    }
  }

  async #open(): Promise<OwnPool> {
    if (this.#own !== null) return this.#own;
    const Pool = await loadPool();
    // While the driver was loading, another call may have made the pool, or closed the provider.
    this.#closing.signal.throwIfAborted();
    this.#own ??= this.#create(Pool);
    return this.#own;
  }

  #create(Pool: PoolConstructor): OwnPool {
    const { connectionString, poolSize, statementTimeout } = this.#settings;
    const pool = new Pool({
      ...(connectionString !== undefined && { connectionString }),
      // One more than for calls, so that listening never takes the place of a heartbeat.
      max: poolSize + 1,
      connectionTimeoutMillis: statementTimeout,
      // Longer than participants sleep between two looks: a connection costs far more than a look.
      idleTimeoutMillis: IDLE_TIMEOUT_MS,
      query_timeout: statementTimeout + CLIENT_SLACK_MS,
      ...(!this.#refusesSettings && { statement_timeout: statementTimeout }),
      fallback_application_name: "multilock",
      keepAlive: true,
      stream: () => this.#socket(),
    });
    // An idle connection that breaks has left the pool already. Without a listener its event would end the process.
    pool.on("error", ignore);
    return pool;
  }

  /** The sockets are kept in sight because a pool waits for its server when it ends, and a server that hangs never answers. */
  #socket(): Socket {
    const socket = new Socket();
    this.#sockets.add(socket);
    socket.once("close", () => this.#sockets.delete(socket));
    return socket;
  }
}

type PoolConstructor = new (options: Record<string, unknown>) => OwnPool;

async function loadPool(): Promise<PoolConstructor> {
  try {
    const driver: unknown = await import("pg");
    return (driver as { Pool: PoolConstructor }).Pool;
  } catch (cause) {
    throw new Error('the driver "pg" cannot be loaded; add it to the dependencies: npm install pg', { cause });
  }
}

function ignore(): void {}

/** Returns the SQLSTATE of an error that the server answered with, or "". */
export function sqlState(error: unknown): string {
  const code = error instanceof Error && "code" in error ? error.code : "";
  // Codes of the operating system, such as EPIPE, have no digit.
  return typeof code === "string" && /^(?=.*\d)[0-9A-Z]{5}$/.test(code) ? code : "";
}

/** Whether the server is done with the statement, and fit for the next one. One that became a standby is not. */
function isAnswer(error: unknown): boolean {
  const state = sqlState(error);
  return state !== "" && state !== "25006" && !state.startsWith("08") && !state.startsWith("57P");
}

function isRefusedSetting(error: unknown): boolean {
  return sqlState(error) === "08P01" && error instanceof Error && error.message.includes("startup parameter");
}

function isUnknownStatement(error: unknown): boolean {
  const state = sqlState(error);
  return state === "26000" || state === "42P05";
}
