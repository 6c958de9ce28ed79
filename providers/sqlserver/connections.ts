/**
 * The connections of one SQL Server provider: a pool of `mssql` that loads and connects on first use.
 *
 * @module
 */

import { abortable } from "../../src/call.ts";
import { dial } from "../kit/dial.ts";
import { readTlsFiles, type TlsFiles } from "../kit/tls_files.ts";
import {
  loadMssql,
  type OwnPool,
  type RawConnection,
  type SqlServerDriver,
  type SqlServerPool,
  type SqlServerRequest,
} from "./driver.ts";
import type { ConnectionConfig } from "./target.ts";
import { Turnstile } from "./turnstile.ts";

/** A parameter of a batch: a name or id, a text of any length, or an integer of 32 or 64 bits. */
export type Parameters = Readonly<Record<string, string | { readonly text: string } | number | bigint>>;

/** One row. */
export type Row = Readonly<Record<string, unknown>>;

/** The way in which a call runs. */
export interface RunOptions {
  readonly signal: AbortSignal;
  /** True if it goes before calls that are not. */
  readonly urgent: boolean;
}

/** The settings of a connection. */
export interface ConnectionSettings {
  /** Where to, unless there is a pool. */
  readonly config?: ConnectionConfig | undefined;
  /** Files with certificates. */
  readonly tls?: TlsFiles | undefined;
  /** A pool to use instead, which stays its owner's. */
  readonly pool?: SqlServerPool | undefined;
  /** The module that the pool is from. */
  readonly driver?: SqlServerDriver | undefined;
  /** The most connections. */
  readonly poolSize: number;
  /** The time that a batch may take, in milliseconds. */
  readonly statementTimeout: number;
  /** The time that a connection may take to be made, in milliseconds. */
  readonly connectTimeout?: number | undefined;
}

/** The lease that patience is measured by while nobody has asked for any, in milliseconds. */
const DEFAULT_LEASE_MS = 15_000;

/** The longest timer of every runtime. */
const MAX_TIMER_MS = 2 ** 31 - 1;

/** A pool that loads the driver and connects on first use, and remembers no failure. */
export class Connections {
  readonly #settings: ConnectionSettings;
  readonly #turnstile: Turnstile;
  readonly #raw = new Set<RawConnection>();
  readonly #closing = new AbortController();
  #opening: Promise<OwnPool> | null = null;
  #own: OwnPool | null = null;
  #lease = Infinity;

  /** Makes the connections, without I/O. */
  constructor(settings: ConnectionSettings) {
    this.#settings = settings;
    const { pool, poolSize } = settings;
    // Of somebody's pool nobody says which connections are made.
    this.#turnstile = new Turnstile(poolSize, pool === undefined ? 0 : poolSize);
  }

  /** Says that a lease of `heartbeatTimeout` milliseconds depends on the connections. The shortest counts. */
  bear(heartbeatTimeout: number): void {
    this.#lease = Math.min(this.#lease, heartbeatTimeout);
  }

  /** Runs a batch. Aborted before it has a connection, it is never sent; aborted later, the server is told to stop. */
  async run(sql: string, parameters: Parameters, options: RunOptions): Promise<readonly Row[]> {
    const driver = this.#settings.driver ?? await loadMssql();
    return await this.#use(options, async (request) => {
      for (const [name, value] of Object.entries(parameters)) {
        if (typeof value === "number") request.input(name, driver.Int, value);
        else if (typeof value === "bigint") request.input(name, driver.BigInt, value);
        else if (typeof value === "string") request.input(name, driver.NVarChar(255), value);
        else request.input(name, driver.NVarChar(driver.MAX), value.text);
      }
      return (await request.query(sql)).recordset ?? [];
    });
  }

  /** Runs SQL that must be a batch of its own. */
  async runBatch(sql: string, options: RunOptions): Promise<void> {
    await this.#use(options, (request) => request.batch(sql));
  }

  /** Leaves the server that the connections go to: calls under way end, the next one connects anew. */
  leave(): void {
    const pool = this.#own;
    this.#own = null;
    pool?.close().catch(() => {});
  }

  /** Closes every connection of its own, also to a server that hangs. Calls that are under way reject. */
  async close(): Promise<void> {
    const reason = new Error("the provider is closed");
    this.#closing.abort(reason);
    this.#turnstile.close(reason);
    // The pool would wait for its server. Its connections are closed one by one instead, and it finds them closed.
    for (const connection of this.#raw) connection.close();
    const opened = this.#own ?? await this.#opening?.catch(() => null);
    await opened?.close().catch(() => {});
  }

  async #use<T>({ signal, urgent }: RunOptions, work: (request: SqlServerRequest) => Promise<T>): Promise<T> {
    const { signal: closing } = this.#closing;
    closing.throwIfAborted();
    const leave = await this.#turnstile.enter(urgent, signal);
    // A call that was given up keeps its turn, as its batch keeps the connection, until the server has answered.
    const done = this.#request(signal, work).finally(leave);
    return await abortable(done, closing);
  }

  async #request<T>(signal: AbortSignal, work: (request: SqlServerRequest) => Promise<T>): Promise<T> {
    const { signal: closing } = this.#closing;
    const pool = this.#settings.pool ?? this.#own ?? await abortable(this.#open(), closing);
    signal.throwIfAborted();
    closing.throwIfAborted();
    const request = pool.request();
    const cancel = () => void request.cancel();
    signal.addEventListener("abort", cancel);
    closing.addEventListener("abort", cancel);
    try {
      return await work(request);
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
    const { ConnectionPool } = await loadMssql();
    this.#closing.signal.throwIfAborted();
    const pool = new ConnectionPool({
      ...config,
      options: this.#options(),
      requestTimeout: statementTimeout,
      // The limits of the driver beneath come first, and say what they wait for.
      pool: { max: poolSize, min: 0, acquireTimeoutMillis: MAX_TIMER_MS, createTimeoutMillis: MAX_TIMER_MS },
      // Looking at the socket is enough; the other way to see whether a connection lives is a round trip for each call.
      validateConnection: "socket",
      beforeConnect: (connection: RawConnection) => this.#watchOver(connection),
    });
    // A connection that breaks is replaced. Without a listener its event would end the process.
    pool.on("error", () => {});
    await pool.connect();
    return this.#own = pool;
  }

  /** The options of a connection. Those that depend on the lease are looked up for each that is made. */
  #options(): Record<string, unknown> {
    const { config, tls = {}, connectTimeout, statementTimeout } = this.#settings;
    const { servername, ...files } = tls;
    // Given, or the driver would put another object in its place.
    const credentials: Record<string, unknown> = { secureOptions: 0 };
    const patience = (share: number) => this.#patience(share);
    return {
      // Else the driver asks for the name of the host, for which Deno wants one more permission.
      workstationId: "multilock",
      ...config?.options,
      ...(servername !== undefined && { serverName: servername }),
      // Not null either, which would leave it to what the server's administrator has set.
      enableImplicitTransactions: false,
      cryptoCredentialsDetails: credentials,
      // The driver's own way stays with an address that is silent, and wants more permissions of Deno.
      async connector({ host, port }: { host: string; port: number }, _lookup: unknown, signal: AbortSignal) {
        Object.assign(credentials, await readTlsFiles(files));
        return await dial({ host, port, suspects: new Set() }, signal);
      },
      // Two attempts fit into a lease.
      get connectTimeout() {
        return connectTimeout ?? Math.max(patience(1 / 2), statementTimeout);
      },
      // A batch that was cancelled may take the rest of a lease to be acknowledged: a connection that is lost to every
      // slow answer never gets warm, and a new one is slower still.
      get cancelTimeout() {
        return patience(2 / 3);
      },
    };
  }

  #patience(share: number): number {
    const lease = Number.isFinite(this.#lease) ? this.#lease : DEFAULT_LEASE_MS;
    return Math.max(Math.round(lease * share), 1_000);
  }

  #watchOver(connection: RawConnection): void {
    this.#raw.add(connection);
    let isCounted = false;
    connection.once("connect", (error) => {
      // The first connection of a pool is made to see whether that can be, and closed.
      if (error || this.#own === null) return;
      isCounted = true;
      this.#turnstile.count(1);
    });
    connection.once("end", () => {
      this.#raw.delete(connection);
      if (isCounted) this.#turnstile.count(-1);
    });
    if (this.#closing.signal.aborted) connection.close();
  }
}
