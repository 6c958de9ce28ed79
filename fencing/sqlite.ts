/**
 * A fence in a table of SQLite, inside the caller's transaction.
 *
 * @module
 */

import { type AdmitOptions, checkAdmission, refuseLower } from "./fence.ts";
import {
  explainMissing,
  notInTransaction,
  propertyOf,
  resolveSqlFence,
  type SqlFence,
  type SqlFenceOptions,
} from "./sql.ts";

/** The part of a database of `node:sqlite`, `bun:sqlite` or `better-sqlite3` that the fence needs. */
export interface SqliteFenceDatabase {
  /** Makes a statement; `get` returns its first row. */
  prepare(text: string): { get(...values: string[]): unknown };
  /** True if a transaction is open, in `node:sqlite`. */
  readonly isTransaction?: boolean;
  /** The same in the others. */
  readonly inTransaction?: boolean;
}

/** A fence in SQLite, whose calls need not be awaited: nothing else can come between. */
export interface SqliteFence extends SqlFence {
  /** See {@linkcode SqlFence.admit}, at once. */
  admitSync(resource: string, token: bigint): void;
}

/**
 * Makes a fence on `database`, on which the caller has begun a transaction (better by `BEGIN IMMEDIATE`): admit first,
 * write then, commit. Only one transaction at a time writes to a SQLite database.
 *
 * @throws {TypeError} if an option is malformed or does not exist
 */
export function sqliteFence(database: SqliteFenceDatabase, options: SqlFenceOptions = {}): SqliteFence {
  const { table, inTransaction } = resolveSqlFence(options);
  return new FenceInSqlite(database, `"${table}"`, inTransaction);
}

class FenceInSqlite implements SqliteFence {
  readonly #database: SqliteFenceDatabase;
  readonly #table: string;
  readonly #inTransaction: boolean;

  constructor(database: SqliteFenceDatabase, table: string, inTransaction: boolean) {
    this.#database = database;
    this.#table = table;
    this.#inTransaction = inTransaction;
  }

  // Async, so that what is refused rejects.
  // deno-lint-ignore require-await
  async admit(resource: string, token: bigint, options: AdmitOptions = {}): Promise<void> {
    checkAdmission(resource, token, options);
    this.admitSync(resource, token);
  }

  admitSync(resource: string, token: bigint): void {
    checkAdmission(resource, token, {});
    const isInTransaction = this.#database.isTransaction ?? this.#database.inTransaction ?? true;
    if (this.#inTransaction && !isInTransaction) throw notInTransaction(resource);
    // As text both ways: a number of JavaScript ends at 2^53.
    const text = `INSERT INTO ${this.#table} AS fence (resource, token) VALUES (?, CAST(? AS INTEGER))
ON CONFLICT (resource) DO UPDATE SET token = max(fence.token, excluded.token)
RETURNING CAST(token AS TEXT) AS highest`;
    let row: unknown;
    try {
      row = this.#database.prepare(text).get(resource, String(token));
    } catch (error) {
      const isMissing = error instanceof Error && /^no such table/.test(error.message);
      throw explainMissing(error, this.#table, isMissing);
    }
    refuseLower(resource, token, propertyOf(row, "highest"));
  }

  // Async, as for every other store.
  // deno-lint-ignore require-await
  async createTable(): Promise<void> {
    this.#database.prepare(
      `CREATE TABLE IF NOT EXISTS ${this.#table} (resource TEXT PRIMARY KEY, token INTEGER NOT NULL) WITHOUT ROWID`,
    ).get();
  }
}
