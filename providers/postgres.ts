/**
 * Elections by way of a table in PostgreSQL: `postgres://user:password@host:5432/database`, or `postgresql:`.
 *
 * - **Token**: the `token` column of the group's row, which is never deleted; each take-over adds one, in the statement that
 *   takes the lease.
 * - **Clock**: the server's `clock_timestamp()` decides when a lease has expired. No participant's clock is ever sent.
 * - **Not promised**: that a lease survives a failover to a standby that replicates asynchronously. It may not have heard of
 *   the last lease, nor of its token. Replicate synchronously (`synchronous_standby_names`) where that matters.
 * - **A heartbeat** costs one statement, whatever the number of leases that are due: up to 1,000 travel in one. It rewrites
 *   a row in place (HOT) and waits for the disk once. A row that another session has locked at that moment is asked for
 *   again, in a second statement, so that it does not hold up the others. A follower's look takes no lock and writes nothing.
 *
 * Every operation is one statement, one round trip and one transaction. Only the first start adds to that: it creates the
 * table, if it is not there and we may. Released leases are told to the others by `NOTIFY`.
 *
 * Behind a pooler such as PgBouncer in transaction mode everything works without session state: statements are not
 * prepared by name, and instead of listening, followers poll. The provider notices by itself; where it cannot, because the
 * pooler pretends otherwise, say `?prepare=false&listen=false`.
 *
 * @module
 */

import { callBackend, parseMetadata, providerError } from "../src/call.ts";
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
import { Connections, type PostgresPool } from "./postgres/connections.ts";
import { explain, LeaseTable } from "./postgres/lease_table.ts";
import { CannotListenError, Listener } from "./postgres/listener.ts";
import { type Renewal, type RenewalOutcome, Renewals } from "./postgres/renewals.ts";
import { buildStatements, type Statements } from "./postgres/statements.ts";
import { splitUrl } from "./postgres/target.ts";

export type { PostgresClient, PostgresPool, PostgresQuery } from "./postgres/connections.ts";

/** How to open the provider. All but `url` and `pool` can be given as query parameters of the URL, too. */
export interface PostgresOptions {
  /**
   * `postgres://user:password@host:port/database`, with the parameters that `pg` knows, such as `sslmode` and
   * `sslrootcert`. @default what the `PG*` environment variables say
   */
  readonly url?: string | URL;
  /** A `Pool` of `pg`, or the like, to use instead. The provider does not end it. While anyone watches, it keeps one client. */
  readonly pool?: PostgresPool;
  /** The schema of the table, of at most 63 bytes. @default "public" */
  readonly schema?: string;
  /** The table, of at most 63 bytes. @default "multilock_leases" */
  readonly table?: string;
  /** Whether to create the schema and the table if they are not there. @default true */
  readonly autoCreate?: boolean;
  /** How long a statement may run, and a connection may take to be made. The wait for a row that is locked is shorter. @default "5s" */
  readonly statementTimeout?: Duration;
  /** Whether to prepare statements by name, which makes them several times faster. @default true, unless a pooler forbids it */
  readonly prepare?: boolean;
  /** Whether to listen for released leases, on a connection of its own. @default true, unless a pooler prevents it */
  readonly listen?: boolean;
  /** The most connections for calls. @default 4 */
  readonly poolSize?: number;
}

/**
 * Opens a provider that keeps leases in a PostgreSQL table. It connects on first use.
 *
 * @throws {TypeError} if a query parameter is not what its option takes
 * @throws {RangeError} if `schema` or `table` cannot be an identifier, or a number is out of range
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { postgresProvider } from "@multilock/core/postgres";
 *
 * await using provider = postgresProvider({ url: "postgres://app@db.example.com/app", schema: "locks" });
 * assert(provider.name === "postgres");
 * ```
 */
export function postgresProvider(options: PostgresOptions = {}): Provider {
  const { connectionString, parameters } = options.url === undefined
    ? { connectionString: undefined, parameters: {} }
    : splitUrl(String(options.url));
  const merged: PostgresOptions = { ...parameters, ...options };
  const { poolSize, statementTimeout } = resolveSqlBounds(merged);
  const { pool, prepare = true, autoCreate = true, listen = true } = merged;
  const connections = new Connections({ connectionString, pool, poolSize, statementTimeout, prepare });
  const statements = buildStatements(merged.schema ?? "public", merged.table ?? "multilock_leases");
  return new PostgresProvider(connections, statements, { autoCreate, listen, statementTimeout });
}

/** The longest wait for a row that another session has locked, in milliseconds: waiting calls keep connections from others. */
const LOCK_TIMEOUT_MS = 1_000;
/** How long a heartbeat waits for a row that another session has locked. It is locked for a moment, or by a person. */
const RENEWAL_LOCK_TIMEOUT = "200ms";

class PostgresProvider implements Provider {
  readonly name = "postgres";
  /** Gone as soon as it is known that nothing would be heard. */
  watch?: NonNullable<Provider["watch"]>;
  readonly #connections: Connections;
  readonly #statements: Statements;
  readonly #table: LeaseTable;
  readonly #listener: Listener;
  readonly #renewals: Renewals;
  readonly #lockTimeout: string;

  constructor(
    connections: Connections,
    statements: Statements,
    options: { autoCreate: boolean; listen: boolean; statementTimeout: number },
  ) {
    this.#connections = connections;
    this.#statements = statements;
    this.#table = new LeaseTable(connections, statements, options.autoCreate);
    this.#listener = new Listener(connections, statements.channel);
    this.#renewals = new Renewals((...args) => this.#sendRenewals(...args));
    // The shorter of the two limits is the one that the server names.
    this.#lockTimeout = String(Math.min(Math.ceil(options.statementTimeout * 0.9), LOCK_TIMEOUT_MS));
    if (options.listen) this.watch = (electionGroup, { signal }) => this.#watch(electionGroup, signal);
  }

  get capabilities(): ProviderCapabilities {
    return {
      watch: this.watch !== undefined,
      timeAuthority: "server",
      minTimeout: 100,
      durability: "A lease is on the server's disk before it is granted; failing over to a standby that replicates " +
        "asynchronously can forget the latest leases and tokens.",
    };
  }

  acquire(request: AcquireRequest, { signal }: CallOptions): Promise<Acquired | Held> {
    const { electionGroup, participantId, termId, heartbeatTimeout, metadata } = request;
    return this.#call("acquire", electionGroup, signal, async () => {
      const [row] = await this.#table.write(this.#statements.acquire, () => [
        ...[electionGroup, termId, participantId, heartbeatTimeout, JSON.stringify(metadata), this.#lockTimeout],
      ], signal);
      // The lease was free when the statement began, and taken before it came to it: too late to say by whom.
      if (row === undefined) return { acquired: false, leader: null };
      const leader = toLeader(row.slice(1));
      if (row[0] !== true) return { acquired: false, leader };
      const { token, leadershipAcquiredAt: acquiredAt } = leader;
      return {
        acquired: true,
        lease: { electionGroup, participantId, termId, token, acquiredAt, heartbeatTimeout },
      };
    });
  }

  renew(lease: Lease, options: RenewOptions): Promise<"renewed" | "lost"> {
    return this.#call("renew", lease.electionGroup, options.signal, () => this.#renewals.renew(lease, options));
  }

  release(
    { electionGroup, termId }: Pick<Lease, "electionGroup" | "termId">,
    { signal }: CallOptions,
  ): Promise<"released" | "notHolder"> {
    return this.#call("release", electionGroup, signal, async () => {
      const values = () => [electionGroup, termId, this.#lockTimeout];
      const rows = await this.#table.write(this.#statements.release, values, signal);
      return rows.length > 0 ? "released" : "notHolder";
    });
  }

  read(electionGroup: string, { signal }: CallOptions): Promise<LeaderInfo | null> {
    return this.#call("read", electionGroup, signal, async () => {
      const [row] = await this.#table.read(this.#statements.read, [electionGroup], signal);
      return row === undefined ? null : toLeader(row);
    });
  }

  groups({ signal }: CallOptions): Promise<string[]> {
    return this.#call("groups", this.#statements.title, signal, async () => {
      const rows = await this.#table.read(this.#statements.groups, [], signal);
      return rows.map(([electionGroup]) => String(electionGroup));
    });
  }

  healthCheck({ signal }: CallOptions): Promise<void> {
    return this.#call("healthCheck", this.#statements.title, signal, () => this.#table.check(signal));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    await this.#connections.close();
  }

  async *#watch(electionGroup: string, signal: AbortSignal): AsyncGenerator<void, void> {
    try {
      yield* this.#listener.watch(electionGroup, signal);
    } catch (error) {
      if (error instanceof CannotListenError) delete this.watch;
      throw providerError(this.name, "watch", electionGroup, explain(error, this.#statements));
    }
  }

  async #sendRenewals(
    due: () => readonly Renewal[],
    patient: boolean,
    signal: AbortSignal,
  ): Promise<ReadonlyMap<Renewal, RenewalOutcome>> {
    const [only, ...others] = due();
    if (only !== undefined && others.length === 0) return new Map([[only, await this.#renewOne(only, signal)]]);
    let sent: readonly Renewal[] = [];
    const values = () => {
      sent = due();
      return [
        sent.map(({ electionGroup }) => electionGroup),
        sent.map(({ termId }) => termId),
        sent.map(({ heartbeatTimeout }) => heartbeatTimeout),
        sent.map(({ metadata }) => metadata),
        ...(patient ? [RENEWAL_LOCK_TIMEOUT] : []),
      ];
    };
    const { renew, renewLocked } = this.#statements;
    const rows = await this.#table.write(patient ? renewLocked : renew, values, signal);
    const outcomes = new Map<Renewal, RenewalOutcome>(sent.map((renewal) => [renewal, "lost"]));
    for (const [ordinal, renewed] of rows) {
      const renewal = sent[Number(ordinal) - 1];
      if (renewal === undefined || outcomes.get(renewal) === "renewed") continue;
      outcomes.set(renewal, renewed === true ? "renewed" : "busy");
    }
    return outcomes;
  }

  /** The shorter way for a process with one election. It waits for a locked row: there are no others to hold up. */
  async #renewOne(renewal: Renewal, signal: AbortSignal): Promise<"renewed" | "lost"> {
    const { electionGroup, termId, heartbeatTimeout, metadata } = renewal;
    const values = () => [electionGroup, termId, heartbeatTimeout, metadata, RENEWAL_LOCK_TIMEOUT];
    const rows = await this.#table.write(this.#statements.renewOne, values, signal);
    return rows.length > 0 ? "renewed" : "lost";
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

function toLeader(row: readonly unknown[]): LeaderInfo {
  const [leaderId, termId, token, acquiredAt, heartbeatAt, metadata, expiresIn] = row;
  return {
    leaderId: String(leaderId),
    termId: String(termId),
    token: BigInt(String(token)),
    leadershipAcquiredAt: new Date(Number(acquiredAt)),
    lastHeartbeat: new Date(Number(heartbeatAt)),
    metadata: parseMetadata(String(metadata)),
    expiresIn: Math.max(Number(expiresIn), 0),
  };
}

registerProvider({
  name: "postgres",
  protocols: ["postgres:", "postgresql:"],
  open: (url) => postgresProvider({ url }),
});
