/**
 * The part of the npm package `mssql` that the provider needs, and of pools that are made with it.
 *
 * @module
 */

import { loadDriver } from "../kit/driver.ts";

/** The part of a pool that is needed; a `ConnectionPool` of `mssql` has it. */
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
  /** The type of 64-bit integers. */
  readonly BigInt: unknown;
  /** The length of strings without a limit. */
  readonly MAX: unknown;
}

/** The module, as far as pools of the provider's own need it. */
export interface OwnDriver extends SqlServerDriver {
  readonly ConnectionPool: new (config: Record<string, unknown>) => OwnPool;
}

/** A pool of the provider's own. */
export interface OwnPool extends SqlServerPool {
  connect(): Promise<unknown>;
  close(): Promise<unknown>;
  on(event: "error", listener: () => void): unknown;
}

/** A connection of a pool, as the driver beneath `mssql` makes it. */
export interface RawConnection {
  close(): void;
  once(event: "connect", listener: (error?: unknown) => void): unknown;
  once(event: "end", listener: () => void): unknown;
}

/** Loads `mssql`. */
export async function loadMssql(): Promise<OwnDriver> {
  const module = await loadDriver<object>("mssql", () => import("mssql"), () => import("npm:mssql@^12"));
  const { default: driver = module } = module as { default?: unknown };
  return driver as OwnDriver;
}

/** The settings of a pool that make it unfit for leases, and why. */
const UNFIT: readonly { readonly setting: string; readonly is: (value: unknown) => boolean; readonly why: string }[] = [
  {
    setting: "enableImplicitTransactions",
    is: (value) => value === true,
    why: "a lease in a transaction that nobody commits is nobody's",
  },
  {
    setting: "connectionIsolationLevel",
    is: (value) => value === 1,
    why: "what nobody has committed yet would be read",
  },
  { setting: "readOnlyIntent", is: Boolean, why: "leases need the primary" },
  { setting: "stream", is: Boolean, why: "its answers come without their rows" },
  { setting: "arrayRowMode", is: Boolean, why: "its rows come without names" },
  { setting: "camelCaseColumns", is: Boolean, why: "its rows come with other names" },
  { setting: "columnNameReplacer", is: Boolean, why: "its rows come with other names" },
];

/** The settings of somebody's pool, as far as they can be seen. */
interface PoolConfig {
  readonly server?: unknown;
  readonly port?: unknown;
  readonly pool?: { readonly max?: unknown };
  readonly options?: object;
}

/**
 * Looks whether leases are safe in somebody's pool, and how it is made up.
 *
 * @throws {TypeError} if it is a transaction, or is set up so that leases would be lost or answers misread
 */
export function inspectPool(pool: SqlServerPool): { readonly address?: string; readonly size?: number } {
  if (typeof pool !== "object" || pool === null || typeof pool.request !== "function") {
    throw new TypeError("Cannot use the pool: it must be a ConnectionPool of mssql");
  }
  if ("commit" in pool && "rollback" in pool) {
    throw new TypeError("Cannot use the pool: it is a transaction, and a lease that is not committed is nobody's");
  }
  const { config = {} } = pool as { config?: PoolConfig };
  const all: Readonly<Record<string, unknown>> = { ...config, ...config.options };
  for (const { setting, is, why } of UNFIT) {
    if (is(all[setting])) throw new TypeError(`Cannot use the pool with ${setting}: ${why}`);
  }
  const max = config.pool?.max;
  return {
    ...(typeof config.server === "string" && { address: `${config.server}:${all["port"] ?? 1433}` }),
    ...(typeof max === "number" && max >= 1 && { size: max }),
  };
}
