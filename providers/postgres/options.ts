/**
 * The options of the PostgreSQL provider, and what they come to.
 *
 * @module
 */

import { type Clock, systemClock } from "../../src/time/clock.ts";
import type { Duration } from "../../src/time/duration.ts";
import { resolveSqlBounds } from "../kit/sql_table.ts";
import { checkOptions } from "../kit/parameters.ts";
import type { ConnectionSettings, PostgresPool } from "./connections.ts";
import { parseTarget } from "./target.ts";

/** The settings of the provider. All but `url` and `pool` can be given as query parameters of the URL, too. */
export interface PostgresOptions {
  /**
   * `postgres://user:password@host:port/database`, with the parameters that `pg` knows, such as `sslmode`, and those of
   * `docs/backends/postgres.md`; several hosts with commas between them; or a connection string of Npgsql or libpq.
   * @default what the `PG*` environment variables say
   */
  readonly url?: string | URL | undefined;
  /**
   * A `Pool` of `pg`, or the like, to use instead, of at least two connections, or three to listen. The provider does
   * not end it. It keeps one client while there is a lease of its own, and one while anyone watches.
   */
  readonly pool?: PostgresPool | undefined;
  /** The schema of the table, of at most 63 bytes. @default "public" */
  readonly schema?: string | undefined;
  /** The table, of at most 63 bytes. @default "multilock_leases" */
  readonly table?: string | undefined;
  /** True to create the schema and the table if they are not there. @default true */
  readonly autoCreate?: boolean | undefined;
  /**
   * The time for which a statement may run, and a connection may take to be made. The wait for a row that is locked is
   * shorter. @default "5s"
   */
  readonly statementTimeout?: Duration | undefined;
  /**
   * True to prepare statements by name, which makes them several times faster. @default true, unless a pooler
   * forbids it
   */
  readonly prepare?: boolean | undefined;
  /** True to listen for released leases, on a connection of its own. @default true, unless a pooler prevents it */
  readonly listen?: boolean | undefined;
  /**
   * The most connections for calls. Heartbeats have two beside them, listening one. A `pool` has its own limit.
   * @default 4
   */
  readonly poolSize?: number | undefined;
  /** Measures for how long a record stands still. @default the clock of the machine */
  readonly clock?: Clock | undefined;
}

/** Every option. The type holds the list to the interface. */
const OPTIONS: { readonly [N in keyof Required<PostgresOptions>]: true } = {
  url: true,
  pool: true,
  schema: true,
  table: true,
  autoCreate: true,
  statementTimeout: true,
  prepare: true,
  listen: true,
  poolSize: true,
  clock: true,
};

/** The options with their defaults, and what the URL says. */
export interface ResolvedOptions {
  readonly connections: ConnectionSettings;
  readonly schema: string;
  readonly table: string;
  readonly autoCreate: boolean;
  readonly listen: boolean;
  readonly statementTimeout: number;
  readonly clock: Clock;
}

/**
 * Fills in `options` from the URL, and both from the defaults.
 *
 * @throws {TypeError | RangeError} if anything is unknown, malformed or out of range
 */
export function resolveOptions(options: PostgresOptions): ResolvedOptions {
  const given = checkOptions("postgres", options, Object.keys(OPTIONS));
  const { target, parameters, connectTimeout } = parseTarget(String(options.url ?? "postgres://"));
  const merged: PostgresOptions = { ...parameters, ...given };
  const { poolSize, statementTimeout } = resolveSqlBounds(merged);
  const { schema = "public", table = "multilock_leases", autoCreate = true, listen = true } = merged;
  const { pool, prepare = true, clock = systemClock } = merged;
  return {
    connections: {
      ...{ target, pool, poolSize, prepare, statementTimeout },
      connectTimeout: connectTimeout ?? statementTimeout,
    },
    ...{ schema, table, autoCreate, listen, statementTimeout, clock },
  };
}
