/**
 * A fence in a table of PostgreSQL, inside the caller's transaction.
 *
 * @module
 */

import { abortable } from "../src/call.ts";
import { type AdmitOptions, checkAdmission, refuseLower } from "./fence.ts";
import {
  explainMissing,
  notInTransaction,
  propertyOf,
  resolveSqlFence,
  type SqlFence,
  type SqlFenceOptions,
} from "./sql.ts";

/** The part of a client of `pg` that the fence needs. */
export interface PostgresFenceClient {
  /** Runs a statement. */
  query(text: string, values?: unknown[]): Promise<{ readonly rows: readonly object[] }>;
  /** `"T"` in a transaction, `"E"` in one that has failed, `"I"` in none. */
  getTransactionStatus?(): string | null;
}

/** Options of `postgresFence`. */
export interface PostgresFenceOptions extends SqlFenceOptions {
  /** The schema of the table. @default "public" */
  readonly schema?: string | undefined;
}

/**
 * Makes a fence on `client`, on which the caller has begun a transaction: admit first, write then, commit. See
 * `docs/fencing.md`.
 *
 * A pool is none: it gives each statement a transaction of its own. With `REPEATABLE READ` and `SERIALIZABLE` an
 * admission may fail with a serialization error, as any write there; then the transaction is to be tried again.
 *
 * @throws {TypeError} if an option is malformed or does not exist, or `client` is a pool
 */
export function postgresFence(client: PostgresFenceClient, options: PostgresFenceOptions = {}): SqlFence {
  const settings = resolveSqlFence(options, "public");
  if (settings.inTransaction && "totalCount" in client) {
    throw new TypeError("Cannot fence with a pool: each of its statements is a transaction of its own; give a client");
  }
  return new PostgresFence(client, `"${settings.schema}"."${settings.table}"`, settings.inTransaction);
}

class PostgresFence implements SqlFence {
  readonly #client: PostgresFenceClient;
  readonly #table: string;
  readonly #inTransaction: boolean;

  constructor(client: PostgresFenceClient, table: string, inTransaction: boolean) {
    this.#client = client;
    this.#table = table;
    this.#inTransaction = inTransaction;
  }

  async admit(resource: string, token: bigint, options: AdmitOptions = {}): Promise<void> {
    checkAdmission(resource, token, options);
    if (this.#inTransaction && this.#client.getTransactionStatus?.() === "I") throw notInTransaction(resource);
    // In: $1 resource, $2 token, as text. Out: the highest token, which stays locked until the transaction ends.
    const text = `INSERT INTO ${this.#table} AS fence (resource, token) VALUES ($1, $2::bigint)
ON CONFLICT (resource) DO UPDATE SET token = greatest(fence.token, excluded.token)
RETURNING token::text AS highest`;
    const admitted = this.#client.query(text, [resource, String(token)]).catch((error: unknown) => {
      throw explainMissing(error, this.#table, propertyOf(error, "code") === UNDEFINED_TABLE);
    });
    const { rows } = await abortable(admitted, options.signal ?? NEVER);
    refuseLower(resource, token, propertyOf(rows[0], "highest"));
  }

  async createTable(): Promise<void> {
    // CREATE TABLE IF NOT EXISTS fails where two do it at once; of these, one waits for the other.
    await this.#client.query(`DO $$ BEGIN
  PERFORM pg_advisory_xact_lock(hashtext('multilock:${this.#table}'));
  CREATE TABLE IF NOT EXISTS ${this.#table} (
    resource text COLLATE "C" PRIMARY KEY,
    token bigint NOT NULL
  ) WITH (fillfactor = 50);
END $$`);
  }
}

/** SQLSTATE. */
const UNDEFINED_TABLE = "42P01";
const NEVER = new AbortController().signal;
