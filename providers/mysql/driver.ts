/**
 * The parts that the provider needs of the npm package `mysql2`, and of pools that are made with it.
 *
 * @module
 */

import { loadDriver } from "../kit/driver.ts";

/** The part of a pool that the provider needs; those of `mysql2` and of `mysql2/promise` have it. */
export interface MysqlPool {
  /** Hands out a connection. */
  getConnection(...callback: never[]): unknown;
}

/** A query as `mysql2` takes it. */
export interface DriverQuery {
  readonly sql: string;
  readonly rowsAsArray: true;
  readonly nestTables: false;
  /** Reads each value as its text, whatever the pool has set. */
  readonly typeCast: (field: { string(): string | null }) => string | null;
  /** The longest time to wait for the answer, in milliseconds. */
  readonly timeout: number;
}

/** A connection of `mysql2`, as its callbacks have it. */
export interface DriverConnection {
  query(query: DriverQuery, done: (error: unknown, results: unknown) => void): unknown;
  on(event: string, listener: (detail: unknown) => void): unknown;
  removeListener(event: string, listener: (detail: unknown) => void): unknown;
  /** Says farewell. */
  end(done: (error: unknown) => void): unknown;
  /** Sends nothing more. What has been sent may still be carried out. */
  destroy(): unknown;
  /** Gives it back to its pool. */
  release?(): unknown;
  readonly stream?: { destroy?(): unknown };
}

/** The pool beneath that of `mysql2/promise`, or one of `mysql2`. */
export interface CallbackPool {
  getConnection(done: (error: unknown, connection: DriverConnection) => void): unknown;
}

/** The module. */
export interface Driver {
  createConnection(config: Readonly<Record<string, unknown>>): DriverConnection;
}

/** Loads `mysql2`. */
export async function loadMysql2(): Promise<Driver> {
  const module = await loadDriver<object>("mysql2", () => import("mysql2"), () => import("npm:mysql2@^3"));
  const { default: driver = module } = module as { default?: unknown };
  return driver as Driver;
}

/** The most connections that a pool of `mysql2` allows if it is not told otherwise. */
const DEFAULT_LIMIT = 10;

/** The settings of somebody's pool, as far as they can be seen. */
interface PoolConfig {
  readonly connectionLimit?: unknown;
  readonly connectionConfig?: {
    readonly multipleStatements?: unknown;
    readonly queryFormat?: unknown;
  };
}

/**
 * Looks whether leases can be kept in somebody's pool, and how large it is.
 *
 * @throws {TypeError} if it is no pool, or if several statements cannot be sent together, or not as they are
 */
export function inspectPool(pool: MysqlPool): { readonly callbacks: CallbackPool; readonly max: number } {
  if (typeof pool !== "object" || pool === null || typeof pool.getConnection !== "function") {
    throw new TypeError("Cannot use the pool: it must be a Pool of mysql2 or mysql2/promise");
  }
  const { pool: beneath = pool } = pool as { pool?: object };
  const { config: { connectionLimit, connectionConfig } = {} } = beneath as { config?: PoolConfig };
  if (connectionConfig !== undefined && connectionConfig.multipleStatements !== true) {
    throw new TypeError(
      "Cannot use a pool without multipleStatements: an operation is several statements, sent together. Set it, or " +
        "give the provider a URL, for connections of its own",
    );
  }
  if (connectionConfig?.queryFormat !== undefined) {
    throw new TypeError("Cannot use a pool with queryFormat: statements must be sent as they are");
  }
  return {
    callbacks: beneath as CallbackPool,
    max: typeof connectionLimit === "number" ? connectionLimit : DEFAULT_LIMIT,
  };
}
