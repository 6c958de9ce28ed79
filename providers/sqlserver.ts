/**
 * Elections by way of a table in SQL Server 2019 or later, Azure SQL or Babelfish:
 * `sqlserver://user:password@host:1433/database`, or `mssql:`, or a connection string as ADO.NET takes it.
 *
 * - **Token**: the `token` column of the group's row, which is never deleted; each take-over adds one, in the statement that
 *   takes the lease.
 * - **Clock**: the server's `SYSUTCDATETIME()` decides when a lease has expired. No participant's clock is ever sent.
 * - **Not promised**: that a lease survives a failover to a replica that commits asynchronously, or a crash of a database
 *   with delayed durability. Either may not have heard of the last lease, nor of its token.
 * - **A heartbeat** costs one batch of two statements, and the server waits for its log once.
 *
 * Every operation is one batch and one round trip. Only the first start adds to that: it creates the table, if it is not
 * there and we may. There are no hints: followers look again when the lease can expire, and every `electionInterval`.
 *
 * Connections are encrypted unless `?encrypt=false`. To a server with a certificate of its own making, say
 * `?trustServerCertificate=true`. In Deno name the server by its host name: encryption to an IP address fails there.
 *
 * @module
 */

import { callBackend, parseMetadata } from "../src/call.ts";
import type { Duration } from "../src/duration.ts";
import type { ProviderOperation } from "../src/errors.ts";
import type {
  Acquired,
  AcquireRequest,
  CallOptions,
  Held,
  LeaderInfo,
  Lease,
  Provider,
  ProviderCapabilities,
  RenewOptions,
} from "../src/provider.ts";
import { registerProvider } from "../src/registry.ts";
import { resolveSqlBounds } from "../src/sql_table.ts";
import { Connections, type Row, type SqlServerDriver, type SqlServerPool } from "./sqlserver/connections.ts";
import { explain, LeaseTable } from "./sqlserver/lease_table.ts";
import { buildStatements, type Statements } from "./sqlserver/statements.ts";
import { isConnectionString, parseTarget } from "./sqlserver/target.ts";

export type { SqlServerDriver, SqlServerPool, SqlServerRequest } from "./sqlserver/connections.ts";

/** How to open the provider. All but `url`, `pool` and `driver` can be given as query parameters of the URL, too. */
export interface SqlServerOptions {
  /**
   * `sqlserver://user:password@host:port/database`, with the options of the driver, such as `encrypt`,
   * `trustServerCertificate` and `instanceName`, as parameters; or a connection string such as
   * `Server=host,1433;Database=app;User Id=me;Password=secret`, which takes none of the options below.
   */
  readonly url?: string | URL;
  /** A connected `ConnectionPool` of `mssql`, or the like, to use instead. The provider does not close it. */
  readonly pool?: SqlServerPool;
  /** The module `mssql` that `pool` is from. @default what `import("mssql")` finds */
  readonly driver?: SqlServerDriver;
  /** The schema of the table, of at most 128 characters. @default "dbo" */
  readonly schema?: string;
  /** The table, of at most 128 characters. @default "multilock_leases" */
  readonly table?: string;
  /** Whether to create the schema and the table if they are not there. @default true */
  readonly autoCreate?: boolean;
  /** How long a batch may run, and a connection may take to be made. @default "5s" */
  readonly statementTimeout?: Duration;
  /** The most connections. @default 4 */
  readonly poolSize?: number;
}

/**
 * Opens a provider that keeps leases in a SQL Server table. It connects on first use.
 *
 * @throws {TypeError} if there is neither a `url` nor a `pool`, or the URL cannot be understood
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
  if (options.url === undefined && options.pool === undefined) {
    throw new TypeError('Cannot open provider "sqlserver": it needs a url or a pool');
  }
  const { config, parameters } = options.url === undefined
    ? { config: undefined, parameters: {} }
    : parseTarget(String(options.url));
  const merged: SqlServerOptions = { ...parameters, ...options };
  const { poolSize, statementTimeout } = resolveSqlBounds(merged);
  const { pool, driver, autoCreate = true } = merged;
  const statements = buildStatements(merged.schema ?? "dbo", merged.table ?? "multilock_leases");
  const connections = new Connections({ config, pool, driver, poolSize, statementTimeout });
  return new SqlServerProvider(connections, statements, autoCreate);
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

  constructor(connections: Connections, statements: Statements, autoCreate: boolean) {
    this.#connections = connections;
    this.#statements = statements;
    this.#table = new LeaseTable(connections, statements, autoCreate);
  }

  acquire(request: AcquireRequest, { signal }: CallOptions): Promise<Acquired | Held> {
    const { electionGroup, participantId, termId, heartbeatTimeout, metadata } = request;
    return this.#call("acquire", electionGroup, signal, async () => {
      const [row] = await this.#table.write(this.#statements.acquire, {
        group: electionGroup,
        term: termId,
        participant: participantId,
        timeout: heartbeatTimeout,
        metadata: { text: JSON.stringify(metadata) },
      }, signal);
      const leader = row === undefined ? null : toLeader(row);
      // Nobody but this term writes its id, so a row that bears it is our lease, whatever else went on meanwhile.
      if (leader?.termId !== termId) return { acquired: false, leader };
      const { token, leadershipAcquiredAt: acquiredAt } = leader;
      return {
        acquired: true,
        lease: { electionGroup, participantId, termId, token, acquiredAt, heartbeatTimeout },
      };
    });
  }

  renew(lease: Lease, { signal, metadata }: RenewOptions): Promise<"renewed" | "lost"> {
    const { electionGroup, termId, heartbeatTimeout } = lease;
    return this.#call("renew", electionGroup, signal, async () => {
      const parameters = { group: electionGroup, term: termId, timeout: heartbeatTimeout };
      const { renew, renewMetadata } = this.#statements;
      const rows = metadata === undefined
        ? await this.#table.write(renew, parameters, signal)
        : await this.#table.write(
          renewMetadata,
          { ...parameters, metadata: { text: JSON.stringify(metadata) } },
          signal,
        );
      return rows.length > 0 ? "renewed" : "lost";
    });
  }

  release(
    { electionGroup, termId }: Pick<Lease, "electionGroup" | "termId">,
    { signal }: CallOptions,
  ): Promise<"released" | "notHolder"> {
    return this.#call("release", electionGroup, signal, async () => {
      const parameters = { group: electionGroup, term: termId, call: crypto.randomUUID() };
      const rows = await this.#table.write(this.#statements.release, parameters, signal);
      return rows.length > 0 ? "released" : "notHolder";
    });
  }

  read(electionGroup: string, { signal }: CallOptions): Promise<LeaderInfo | null> {
    return this.#call("read", electionGroup, signal, async () => {
      const [row] = await this.#table.read(this.#statements.read, { group: electionGroup }, signal);
      return row === undefined ? null : toLeader(row);
    });
  }

  groups({ signal }: CallOptions): Promise<string[]> {
    return this.#call("groups", this.#statements.title, signal, async () => {
      const rows = await this.#table.read(this.#statements.groups, {}, signal);
      return rows.map((row) => String(row.election_group));
    });
  }

  healthCheck({ signal }: CallOptions): Promise<void> {
    return this.#call("healthCheck", this.#statements.title, signal, async () => {
      await this.#table.write(this.#statements.check, {}, signal);
    });
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#connections.close();
  }

  #call<T>(operation: ProviderOperation, thing: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    return callBackend(this.name, operation, thing, signal, async () => {
      try {
        return await work();
      } catch (error) {
        throw explain(error, this.#statements);
      }
    });
  }
}

/** Whatever type the driver gives a BIGINT, its text is the number. */
function toLeader(row: Row): LeaderInfo {
  return {
    leaderId: String(row.participant_id),
    termId: String(row.term_id),
    token: BigInt(String(row.token)),
    leadershipAcquiredAt: new Date(Number(row.acquired_at)),
    lastHeartbeat: new Date(Number(row.heartbeat_at)),
    metadata: parseMetadata(String(row.metadata)),
    expiresIn: Math.max(Number(row.expires_in), 0),
  };
}

registerProvider({
  name: "sqlserver",
  protocols: ["sqlserver:", "mssql:"],
  matches: isConnectionString,
  open: (url) => sqlserverProvider({ url }),
});
