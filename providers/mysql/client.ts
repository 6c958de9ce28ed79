/**
 * One connection, and the statements that are sent together on it.
 *
 * @module
 */

import type { KeptClient } from "../kit/reserve.ts";
import type { CallbackPool, DriverConnection, DriverQuery } from "./driver.ts";

/** The rows of an answer, each value as its text. */
export type Rows = readonly (readonly (string | null)[])[];

/** A connection that runs one call at a time. */
export interface Client extends KeptClient {
  /** Sends `statements` together. Returns the rows of the one that has some. */
  run(statements: readonly string[]): Promise<Rows>;
}

const AS_TEXT: DriverQuery["typeCast"] = (field) => field.string();

/** Sends `statements` together, and waits at most `timeout` milliseconds for the answer. */
export function query(connection: DriverConnection, statements: readonly string[], timeout: number): Promise<Rows> {
  const sql = statements.join(";\n");
  return new Promise((resolve, reject) => {
    const options: DriverQuery = { sql, rowsAsArray: true, nestTables: false, typeCast: AS_TEXT, timeout };
    connection.query(options, (error, results) => {
      if (error) return reject(error);
      // One result for each statement: an array of rows, or how a statement without rows went.
      const all = statements.length === 1 ? [results] : results as readonly unknown[];
      resolve((all.find((each) => Array.isArray(each) && each.length > 0) ?? []) as Rows);
    });
  });
}

/** A statement that fails in a transaction, and makes the next one read nothing that is not committed. */
const BY_ITSELF = "SET TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ WRITE";

/**
 * A client of somebody's pool. What its session is, nobody says: so each statement is made a transaction of its own, or
 * fails; and the wait for a row is bounded for as long as the call lasts.
 */
export class GuestClient implements Client {
  readonly #connection: DriverConnection;
  readonly #statementTimeout: number;

  /** Wraps `connection`. */
  constructor(connection: DriverConnection, statementTimeout: number) {
    this.#connection = connection;
    this.#statementTimeout = statementTimeout;
  }

  /** Takes one out of `pool`. */
  static take(pool: CallbackPool, statementTimeout: number): Promise<GuestClient> {
    return new Promise((resolve, reject) => {
      pool.getConnection((error, connection) => {
        if (error) reject(error);
        else resolve(new GuestClient(connection, statementTimeout));
      });
    });
  }

  run(statements: readonly string[]): Promise<Rows> {
    const guarded = [
      "SET @multilock_wait = @@SESSION.innodb_lock_wait_timeout, SESSION innodb_lock_wait_timeout = 1",
      ...statements.flatMap((statement) => [BY_ITSELF, statement]),
      "SET SESSION innodb_lock_wait_timeout = @multilock_wait",
    ];
    return query(this.#connection, guarded, this.#statementTimeout);
  }

  release(destroy = false): void {
    if (!destroy) return void this.#connection.release?.();
    // It leaves its pool, and what it has not sent yet is not sent.
    this.#connection.destroy();
    this.#connection.stream?.destroy?.();
  }

  on(event: string, listener: (detail: unknown) => void): unknown {
    return this.#connection.on(event, listener);
  }

  removeListener(event: string, listener: (detail: unknown) => void): unknown {
    return this.#connection.removeListener(event, listener);
  }
}
