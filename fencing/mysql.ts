/**
 * A fence in a table of MySQL or MariaDB, inside the caller's transaction.
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

/** The part of a connection of `mysql2/promise` that the fence needs. */
export interface MysqlFenceClient {
  /** Runs a statement; the first of what it answers are rows, or what a write came to. */
  query(text: string, values?: unknown[]): Promise<readonly [unknown, ...unknown[]]>;
}

/**
 * Makes a fence on `client`, a connection on which the caller has begun a transaction: admit first, write then, commit.
 * The table must be one of InnoDB, and the session in strict mode, as both are by default.
 *
 * @throws {TypeError} if an option is malformed or does not exist
 */
export function mysqlFence(client: MysqlFenceClient, options: SqlFenceOptions = {}): SqlFence {
  const { table, inTransaction } = resolveSqlFence(options);
  return new MysqlFence(client, `\`${table}\``, inTransaction);
}

class MysqlFence implements SqlFence {
  readonly #client: MysqlFenceClient;
  readonly #table: string;
  readonly #inTransaction: boolean;

  constructor(client: MysqlFenceClient, table: string, inTransaction: boolean) {
    this.#client = client;
    this.#table = table;
    this.#inTransaction = inTransaction;
  }

  async admit(resource: string, token: bigint, options: AdmitOptions = {}): Promise<void> {
    checkAdmission(resource, token, options);
    const signal = options.signal ?? NEVER;
    // In: resource, token, as text. Out: `insertId` 1 if a higher token has been admitted, else 0. The row stays locked
    // until the transaction ends.
    const text = `INSERT INTO ${this.#table} (resource, token) VALUES (?, CAST(? AS SIGNED))
ON DUPLICATE KEY UPDATE token = IF(LAST_INSERT_ID(token > VALUES(token)), token, VALUES(token))`;
    const admitted = this.#client.query(text, [resource, String(token)]).catch((error: unknown) => {
      throw explainMissing(error, this.#table, propertyOf(error, "code") === "ER_NO_SUCH_TABLE");
    });
    const [result] = await abortable(admitted, signal);
    const status = propertyOf(result, "serverStatus");
    if (this.#inTransaction && typeof status === "number" && (status & IN_TRANSACTION) === 0) {
      throw notInTransaction(resource);
    }
    if (Number(propertyOf(result, "insertId")) === 0) return;
    // A locking read: another would show the row as it was when the transaction began.
    const highest = `SELECT CAST(token AS CHAR) AS highest FROM ${this.#table} WHERE resource = ? FOR UPDATE`;
    const [rows] = await abortable(this.#client.query(highest, [resource]), signal);
    refuseLower(resource, token, propertyOf(Array.isArray(rows) ? rows[0] : null, "highest"));
  }

  async createTable(): Promise<void> {
    await this.#client.query(`CREATE TABLE IF NOT EXISTS ${this.#table} (
  resource VARBINARY(255) PRIMARY KEY,
  token BIGINT NOT NULL
) ENGINE = InnoDB`);
  }
}

/** The bit of a server's status that says that a transaction is open. */
const IN_TRANSACTION = 1;
const NEVER = new AbortController().signal;
