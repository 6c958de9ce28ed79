/**
 * Elections by way of a table in SQL Server 2019 or later, Azure SQL or Babelfish:
 * `sqlserver://user:password@host:1433/database`, or `mssql:`, or a connection string as ADO.NET takes it.
 *
 * - **Token**: the `token` column of the group's row, which is never deleted; each take-over adds one, in the statement
 *   that takes the lease.
 * - **Clock**: the server's `SYSUTCDATETIME()` decides when a lease has expired, as far as it goes on like the
 *   observer's monotonic clock. After a step forwards, or a failover to a clock that is ahead, a process that has asked
 *   the server before takes over only what has stood still for a whole lease; after one backwards it takes that over
 *   whatever the time is.
 * - **Not promised**: that a lease survives a failover to a replica that commits asynchronously, or a crash of a
 *   database with delayed durability. Either may not have heard of the last lease, nor of its token. Nor is a step
 *   forwards seen by a process that asks the server for the first time, nor one by less than a twentieth of the lease
 *   by any.
 * - **A heartbeat** costs one batch of two statements, and the server waits for its log once.
 *
 * Every operation is one batch and one round trip. Only the first start adds to that: it creates the table, if it is
 * not there and we may. There are no hints: followers look again when the lease can expire, and every
 * `electionInterval`.
 *
 * Connections are encrypted unless `?encrypt=false`. For a server with a certificate of its own making, name its
 * authority with `?ca=FILE`, or say `?trustServerCertificate=true`.
 *
 * @module
 */

import { callBackend, parseMetadata, providerError } from "../src/call.ts";
import { type Clock, systemClock } from "../src/time/clock.ts";
import type { Duration } from "../src/time/duration.ts";
import type { ProviderOperation } from "../src/errors.ts";
import type {
  Acquired,
  AcquireRequest,
  CallOptions,
  Held,
  Inspection,
  LeaderInfo,
  Lease,
  Provider,
  ProviderCapabilities,
  RenewOptions,
} from "../src/provider.ts";
import { registerProvider } from "../src/registry.ts";
import { CATALOG } from "./catalog.ts";
import { resolveSqlBounds } from "./kit/sql_table.ts";
import { LeaseEvidence, type SeenRecord } from "./kit/lease_evidence.ts";
import { checkOptions } from "./kit/parameters.ts";
import { Connections, type Row, type RunOptions } from "./sqlserver/connections.ts";
import { inspectPool, type SqlServerDriver, type SqlServerPool } from "./sqlserver/driver.ts";
import { explain, isElsewhere } from "./sqlserver/failures.ts";
import { findingsOf } from "./sqlserver/inspection.ts";
import { LeaseTable } from "./sqlserver/lease_table.ts";
import { buildStatements, type Statements } from "./sqlserver/statements.ts";
import { parseTarget } from "./sqlserver/target.ts";

export type { SqlServerDriver, SqlServerPool, SqlServerRequest } from "./sqlserver/driver.ts";

/**
 * The settings of the provider. All but `url`, `pool`, `driver` and `clock` can be given as query parameters of the URL
 * or in the connection string, too.
 */
export interface SqlServerOptions {
  /**
   * `sqlserver://user:password@host:port/database?SETTINGS`, or a connection string such as
   * `Server=host,1433;Database=app;User Id=me;Password=secret`. The settings are the same, and stand in
   * `docs/backends/sqlserver.md`.
   */
  readonly url?: string | URL | undefined;
  /** A connected `ConnectionPool` of `mssql`, or the like, to use instead. The provider does not close it. */
  readonly pool?: SqlServerPool | undefined;
  /** The module `mssql` that `pool` is from. @default what `import("mssql")` finds */
  readonly driver?: SqlServerDriver | undefined;
  /** The schema of the table, of at most 128 characters. @default "dbo" */
  readonly schema?: string | undefined;
  /** The table, of at most 128 characters. @default "multilock_leases" */
  readonly table?: string | undefined;
  /** True to create the schema and the table if they are not there. @default true */
  readonly autoCreate?: boolean | undefined;
  /** The time for which a batch may run before the server is told to stop. @default "5s" */
  readonly statementTimeout?: Duration | undefined;
  /** The most connections. Of more than one, one is left to heartbeats. @default 4, or what `pool` may have */
  readonly poolSize?: number | undefined;
  /** Measures how long a record stands still and the server's clock goes on. @default the clock of the machine */
  readonly clock?: Clock | undefined;
}

const OPTIONS = ["url", "pool", "driver", "schema", "table", "autoCreate", "statementTimeout", "poolSize", "clock"];

/**
 * Opens a provider that keeps leases in a SQL Server table. It connects on first use.
 *
 * @throws {TypeError} if there is neither a `url` nor a `pool`, the URL or an option cannot be understood, or `pool` is
 * not
 *   fit for leases
 * @throws {RangeError} if `schema` or `table` cannot be an identifier, or a number is out of range
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { sqlserverProvider } from "@multilock/core/sqlserver";
 *
 * await using provider = sqlserverProvider({ url: "sqlserver://app@db.example.com/app", schema: "locks" });
 * assert(provider.name === "sqlserver");
 * ```
 */
export function sqlserverProvider(options: SqlServerOptions): Provider {
  const given = checkOptions("sqlserver", options, OPTIONS);
  const { url, pool, driver, clock = systemClock } = options;
  if (url === undefined && pool === undefined) {
    throw new TypeError('Cannot open provider "sqlserver": it needs a url or a pool');
  }
  const target = url === undefined ? undefined : parseTarget(String(url));
  const { address = "the server", size } = pool === undefined ? { address: target?.address } : inspectPool(pool);
  const { schema = "dbo", table = "multilock_leases", autoCreate = true, ...bounds } = {
    ...(size !== undefined && { poolSize: size }),
    ...target?.options,
    ...given,
  };
  const statements = buildStatements(schema, table);
  const connections = new Connections({ ...target, pool, driver, ...resolveSqlBounds(bounds) });
  return new SqlServerProvider(connections, statements, { autoCreate, address, clock });
}

class SqlServerProvider implements Provider {
  readonly name = "sqlserver";
  readonly capabilities: ProviderCapabilities = {
    watch: false,
    timeAuthority: "server",
    minTimeout: 100,
    // DATEADD takes a 32-bit number.
    maxTimeout: 2 ** 31 - 1,
    durability:
      "A lease is in the server's log on disk before it is granted; delayed durability, or failing over to a " +
      "replica that commits asynchronously, can forget the latest leases and tokens.",
  };
  readonly #connections: Connections;
  readonly #statements: Statements;
  readonly #table: LeaseTable;
  readonly #address: string;
  readonly #clock: Clock;
  readonly #evidence: LeaseEvidence;
  readonly #source = crypto.randomUUID();
  #written = 0n;

  constructor(
    connections: Connections,
    statements: Statements,
    { autoCreate, address, clock }: { autoCreate: boolean; address: string; clock: Clock },
  ) {
    this.#connections = connections;
    this.#statements = statements;
    this.#table = new LeaseTable(connections, statements, autoCreate);
    this.#address = address;
    this.#clock = clock;
    this.#evidence = new LeaseEvidence(clock);
  }

  acquire(request: AcquireRequest, { signal }: CallOptions): Promise<Acquired | Held> {
    const { electionGroup, participantId, termId, heartbeatTimeout, metadata } = request;
    this.#connections.bear(heartbeatTimeout);
    return this.#call("acquire", electionGroup, { signal, urgent: false }, async (options) => {
      const { stale, earliest, latest } = this.#evidence.of(electionGroup, heartbeatTimeout);
      const sent = this.#clock.monotonic();
      const [row] = await this.#table.write(this.#statements.acquire, {
        group: electionGroup,
        term: termId,
        participant: participantId,
        timeout: heartbeatTimeout,
        ...this.#withMetadata(metadata),
        call: crypto.randomUUID(),
        // The version of a row that nobody has ever held, which is free anyway.
        stale: stale ?? "",
        earliest: toTime(earliest ?? -Infinity),
        latest: toTime(latest ?? Number.MAX_SAFE_INTEGER),
      }, options);
      const leader = this.#leaderIn(electionGroup, row, sent);
      // Nobody but this term writes its id, so a row that bears it is our lease, whatever else went on meanwhile.
      if (row === undefined || Number(row.granted) !== 1) return { acquired: false, leader };
      const [token, acquiredAt] = [toBigInt(row.token), new Date(Number(row.acquired_at))];
      return { acquired: true, lease: { electionGroup, participantId, termId, token, acquiredAt, heartbeatTimeout } };
    });
  }

  renew(lease: Lease, { signal, metadata }: RenewOptions): Promise<"renewed" | "lost"> {
    const { electionGroup, termId, heartbeatTimeout } = lease;
    this.#connections.bear(heartbeatTimeout);
    return this.#call("renew", electionGroup, { signal, urgent: true }, async (options) => {
      const parameters = {
        ...{ group: electionGroup, term: termId, timeout: heartbeatTimeout },
        call: crypto.randomUUID(),
      };
      const { renew, renewMetadata } = this.#statements;
      const sent = this.#clock.monotonic();
      const rows = metadata === undefined
        ? await this.#table.write(renew, parameters, options)
        : await this.#table.write(
          renewMetadata,
          { ...parameters, ...this.#withMetadata(metadata) },
          options,
        );
      if (rows[0] !== undefined) this.#evidence.noteTime(Number(rows[0].server_now), sent);
      return rows.length > 0 ? "renewed" : "lost";
    });
  }

  release(
    { electionGroup, termId }: Pick<Lease, "electionGroup" | "termId">,
    { signal }: CallOptions,
  ): Promise<"released" | "notHolder"> {
    return this.#call("release", electionGroup, { signal, urgent: true }, async (options) => {
      const parameters = { group: electionGroup, term: termId, call: crypto.randomUUID() };
      const rows = await this.#table.write(this.#statements.release, parameters, options);
      return rows.length > 0 ? "released" : "notHolder";
    });
  }

  read(electionGroup: string, { signal }: CallOptions): Promise<LeaderInfo | null> {
    return this.#call("read", electionGroup, { signal, urgent: false }, async (options) => {
      const sent = this.#clock.monotonic();
      const [row] = await this.#table.read(this.#statements.read, { group: electionGroup }, options);
      return this.#leaderIn(electionGroup, row, sent);
    });
  }

  groups({ signal }: CallOptions): Promise<string[]> {
    return this.#call("groups", this.#statements.title, { signal, urgent: false }, async (options) => {
      const rows = await this.#table.read(this.#statements.groups, {}, options);
      return rows.map((row) => String(row.election_group));
    });
  }

  healthCheck({ signal }: CallOptions): Promise<void> {
    return this.#call("healthCheck", this.#statements.title, { signal, urgent: false }, async (options) => {
      await this.#table.write(this.#statements.check, {}, options);
    });
  }

  inspect({ signal }: CallOptions): Promise<Inspection> {
    const { inspect, table, title } = this.#statements;
    return this.#call("healthCheck", title, { signal, urgent: false }, async (options) => {
      const [row] = await this.#connections.run(inspect, {}, options);
      return findingsOf(row, table);
    });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#connections.close();
  }

  /** The order of metadata, so that of several the last stays in whichever order they land. */
  #withMetadata(metadata: Readonly<Record<string, string>>) {
    return { metadata: { text: JSON.stringify(metadata) }, source: this.#source, written: ++this.#written };
  }

  /** Takes note of an answer, and returns who leads by it: nobody, if the lease is free or has expired. */
  #leaderIn(electionGroup: string, row: Row | undefined, sent: number): LeaderInfo | null {
    if (row === undefined) return null;
    const record: SeenRecord | null = row.term_id === "" ? null : {
      version: String(row.version),
      heartbeatTimeout: Number(row.lease_ms),
      expired: Number(row.expires_in) <= 0,
    };
    this.#evidence.note(electionGroup, record, Number(row.server_now), sent);
    const expiresIn = this.#evidence.expiresIn(electionGroup, Number(row.expires_in));
    return record === null || expiresIn <= 0 ? null : toLeader(row, expiresIn);
  }

  async #call<T>(
    operation: ProviderOperation,
    thing: string,
    options: RunOptions,
    work: (options: RunOptions) => Promise<T>,
  ): Promise<T> {
    const { signal } = options;
    try {
      return await callBackend(this.name, operation, thing, signal, async () => {
        try {
          return await work(options);
        } catch (error) {
          if (isElsewhere(error)) this.#connections.leave();
          throw explain(error, this.#statements, this.#address);
        }
      });
    } catch (error) {
      // A time-out names nobody, and whoever reads it wants to know which server does not answer.
      if (!isTimeout(error)) throw error;
      const silence = new Error(`no answer from ${this.#address} in the time that the call had`, { cause: error });
      throw providerError(this.name, operation, thing, silence);
    }
  }
}

function isTimeout(error: unknown): boolean {
  return error instanceof DOMException && error.name === "TimeoutError";
}

/** A bound of the server's time as a BIGINT. No time is negative. */
function toTime(milliseconds: number): bigint {
  return BigInt(Math.max(Math.floor(milliseconds), -1));
}

/** Whatever type the driver gives a BIGINT, its text is the number. */
function toBigInt(value: unknown): bigint {
  return BigInt(String(value));
}

function toLeader(row: Row, expiresIn: number): LeaderInfo {
  return {
    leaderId: String(row.participant_id),
    termId: String(row.term_id),
    token: toBigInt(row.token),
    leadershipAcquiredAt: new Date(Number(row.acquired_at)),
    lastHeartbeat: new Date(Number(row.heartbeat_at)),
    metadata: parseMetadata(String(row.metadata)),
    expiresIn,
  };
}

registerProvider({
  ...CATALOG.sqlserver,
  open: (url, { clock }) => sqlserverProvider({ url, clock }),
});
