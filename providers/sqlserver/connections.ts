/**
 * The connections of one SQL Server provider: a pool of `mssql` that loads and connects on first use.
 *
 * @module
 */

import { abortable } from "../../src/call.ts";
import type { ConnectionConfig } from "./target.ts";

/** What a pool must offer; that of `mssql` does. */
export interface SqlServerPool {
  /** Makes a request that runs on a connection of the pool. */
  request(): SqlServerRequest;
}

/** One request; that of `mssql` offers it. */
export interface SqlServerRequest {
  /** Adds a parameter. */
  input(name: string, type: unknown, value: unknown): unknown;
  /** Runs SQL with parameters. */
  query(sql: string): Promise<{ readonly recordset?: readonly Record<string, unknown>[] | undefined }>;
  /** Runs SQL as a batch of its own. */
  batch(sql: string): Promise<unknown>;
  /** Tells the server to stop, or, if nothing was sent yet, sends nothing. */
  cancel(): unknown;
}

/** The types of `mssql` that parameters are given: what the module itself offers. */
export interface SqlServerDriver {
  /** The type of strings of at most `length` characters. */
  NVarChar(length: unknown): unknown;
  /** The type of 32-bit integers. */
  readonly Int: unknown;
  /** The length of strings without a limit. */
  readonly MAX: unknown;
}

interface OwnDriver extends SqlServerDriver {
  readonly ConnectionPool: {
    new (config: Record<string, unknown>): OwnPool;
    parseConnectionString(text: string): object;
  };
}

/** A parameter of a batch: a name or id, a text of any length, or an integer. */
export type Parameters = Readonly<Record<string, string | { readonly text: string } | number>>;

/** One row. */
export type Row = Readonly<Record<string, unknown>>;

/** How to connect. */
export interface ConnectionSettings {
  /** Where to. */
  readonly config?: ConnectionConfig | undefined;
  /** A pool to use instead, which stays its owner's. */
  readonly pool?: SqlServerPool | undefined;
  /** The module that the pool is from. */
  readonly driver?: SqlServerDriver | undefined;
  /** The most connections. */
  readonly poolSize: number;
  /** How long a batch may take, and a connection to be made, in milliseconds. */
  readonly statementTimeout: number;
}

interface OwnPool extends SqlServerPool {
  connect(): Promise<unknown>;
  close(): Promise<unknown>;
  on(event: "error", listener: () => void): unknown;
}

/** A connection of the pool, as the driver beneath `mssql` makes it. */
interface RawConnection {
  close(): void;
  once(event: "end", listener: () => void): unknown;
}

/** How long a cancelled batch may take to be acknowledged, before its connection is given up, in milliseconds. */
const CANCEL_TIMEOUT_MS = 1_000;

/** A pool that loads the driver and connects on first use, and remembers no failure. */
export class Connections {
  readonly #settings: ConnectionSettings;
  readonly #raw = new Set<RawConnection>();
  readonly #closing = new AbortController();
  #opening: Promise<OwnPool> | null = null;
  #own: OwnPool | null = null;

  /** Makes the connections, without I/O. */
  constructor(settings: ConnectionSettings) {
    this.#settings = settings;
  }

  /** Runs a batch. Aborted before it has a connection, it is never sent; aborted later, the server is told to stop. */
  async run(sql: string, parameters: Parameters, signal: AbortSignal): Promise<readonly Row[]> {
    const driver = this.#settings.driver ?? await loadDriver();
    return await this.#use(signal, async (request) => {
      for (const [name, value] of Object.entries(parameters)) {
        if (typeof value === "number") request.input(name, driver.Int, value);
        else if (typeof value === "string") request.input(name, driver.NVarChar(255), value);
        else request.input(name, driver.NVarChar(driver.MAX), value.text);
      }
      return (await request.query(sql)).recordset ?? [];
    });
  }

  /** Runs SQL that must be a batch of its own. */
  async runBatch(sql: string, signal: AbortSignal): Promise<void> {
    await this.#use(signal, (request) => request.batch(sql));
  }

  /** Closes every connection of its own, also to a server that hangs. Calls that are under way reject. */
  async close(): Promise<void> {
    this.#closing.abort(new Error("the provider is closed"));
    // The pool would wait for its server. Its connections are closed one by one instead, and it finds them closed.
    for (const connection of this.#raw) connection.close();
    const opened = this.#own ?? await this.#opening?.catch(() => null);
    await opened?.close().catch(() => {});
  }

  async #use<T>(signal: AbortSignal, work: (request: SqlServerRequest) => Promise<T>): Promise<T> {
    const { signal: closing } = this.#closing;
    closing.throwIfAborted();
    const pool = this.#settings.pool ?? this.#own ?? await abortable(this.#open(), closing);
    signal.throwIfAborted();
    closing.throwIfAborted();
    const request = pool.request();
    const cancel = () => void request.cancel();
    signal.addEventListener("abort", cancel);
    closing.addEventListener("abort", cancel);
    try {
      return await abortable(work(request), closing);
    } finally {
      signal.removeEventListener("abort", cancel);
      closing.removeEventListener("abort", cancel);
    }
  }

  #open(): Promise<OwnPool> {
    return this.#opening ??= this.#connect().finally(() => this.#opening = null);
  }

  async #connect(): Promise<OwnPool> {
    const { statementTimeout, poolSize, config } = this.#settings;
    const { ConnectionPool } = await loadDriver();
    this.#closing.signal.throwIfAborted();
    const given: { options?: object } = typeof config === "string"
      ? ConnectionPool.parseConnectionString(config)
      : { ...config };
    const pool = new ConnectionPool({
      ...given,
      options: {
        // Else the driver asks for the name of the host, for which Deno wants one more permission.
        workstationId: "multilock",
        ...given.options,
        cancelTimeout: CANCEL_TIMEOUT_MS,
      },
      connectionTimeout: statementTimeout,
      requestTimeout: statementTimeout,
      pool: { max: poolSize, min: 0, acquireTimeoutMillis: statementTimeout },
      // Looking at the socket is enough; the other way to see whether a connection lives is a round trip for each call.
      validateConnection: "socket",
      beforeConnect: (connection: RawConnection) => this.#watchOver(connection),
    });
    // A connection that breaks is replaced. Without a listener its event would end the process.
    pool.on("error", () => {});
    await pool.connect();
    return this.#own = pool;
  }

  #watchOver(connection: RawConnection): void {
    this.#raw.add(connection);
    connection.once("end", () => this.#raw.delete(connection));
    if (this.#closing.signal.aborted) connection.close();
  }
}

async function loadDriver(): Promise<OwnDriver> {
  try {
    const module: unknown = await import("mssql");
    const { default: driver = module } = module as { default?: unknown };
    return driver as OwnDriver;
  } catch (cause) {
    throw new Error('the driver "mssql" cannot be loaded; add it to the dependencies: npm install mssql', { cause });
  }
}
