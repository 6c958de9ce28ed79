/**
 * The options of the MySQL provider, and what they come to.
 *
 * @module
 */

import { type Clock, systemClock } from "../../src/time/clock.ts";
import type { Duration } from "../../src/time/duration.ts";
import { checkOptions } from "../kit/parameters.ts";
import { resolveSqlBounds } from "../kit/sql_table.ts";
import type { ConnectionSettings } from "./connections.ts";
import type { MysqlPool } from "./driver.ts";
import { parseTarget } from "./target.ts";

/** The settings to open the provider: by `url` or by `pool`. All but these and `clock` can be given in the URL, too. */
export interface MysqlOptions {
  /** `mysql://user:password@host:port/database`, with the settings of `docs/backends/mysql.md`. */
  readonly url?: string | URL | undefined;
  /**
   * A pool of `mysql2` or `mysql2/promise` to use instead, with `multipleStatements` and at least two connections, of
   * which the provider keeps one while it has a lease. It does not end it.
   */
  readonly pool?: MysqlPool | undefined;
  /** The database of the table, of at most 64 characters. @default the one of the URL, or of the pool */
  readonly schema?: string | undefined;
  /** The table, of at most 64 characters. @default "multilock_leases" */
  readonly table?: string | undefined;
  /** True to create the schema and the table if they are not there. @default true */
  readonly autoCreate?: boolean | undefined;
  /** The longest time for the statements of a call. The wait for a row that is locked is shorter. @default "5s" */
  readonly statementTimeout?: Duration | undefined;
  /** The most connections for calls. Heartbeats have two beside them. A `pool` has its own limit. @default 4 */
  readonly poolSize?: number | undefined;
  /** Measures for how long a record stands still. @default the clock of the machine */
  readonly clock?: Clock | undefined;
}

/** Every option. The type holds the list to the interface. */
const OPTIONS: { readonly [N in keyof Required<MysqlOptions>]: true } = {
  url: true,
  pool: true,
  schema: true,
  table: true,
  autoCreate: true,
  statementTimeout: true,
  poolSize: true,
  clock: true,
};

/** The options with their defaults, and what the URL says. */
export interface ResolvedOptions {
  readonly connections: ConnectionSettings;
  readonly schema: string | undefined;
  readonly table: string;
  readonly autoCreate: boolean;
  readonly statementTimeout: number;
  readonly clock: Clock;
}

/**
 * Fills in `options` from the URL, and both from the defaults.
 *
 * @throws {TypeError | RangeError} if anything is missing, unknown, malformed or out of range
 */
export function resolveOptions(options: MysqlOptions): ResolvedOptions {
  const given = checkOptions("mysql", options, Object.keys(OPTIONS));
  const { url, pool, clock = systemClock } = options;
  if (url === undefined && pool === undefined) {
    throw new TypeError('Cannot open provider "mysql": it needs a url or a pool');
  }
  if (url !== undefined && pool !== undefined) {
    throw new TypeError('Cannot open provider "mysql": it takes a url or a pool, not both');
  }
  const parsed = url === undefined ? undefined : parseTarget(String(url));
  const merged: MysqlOptions = { ...parsed?.parameters, ...given };
  const { poolSize, statementTimeout } = resolveSqlBounds(merged);
  const { schema, table = "multilock_leases", autoCreate = true } = merged;
  if (parsed !== undefined && parsed.target.database === undefined && schema === undefined) {
    throw new TypeError('Cannot open provider "mysql": name a database, as in mysql://host/database, or a schema');
  }
  return {
    connections: {
      ...{ target: parsed?.target, pool, poolSize, statementTimeout },
      connectTimeout: parsed?.connectTimeout ?? statementTimeout,
    },
    ...{ schema, table, autoCreate, statementTimeout, clock },
  };
}
