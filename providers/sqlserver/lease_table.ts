/**
 * The table of leases: created on first use where it is missing and may be created.
 *
 * @module
 */

import { SqlTable } from "../../src/sql_table.ts";
import type { Connections, Parameters, Row } from "./connections.ts";
import type { Statements } from "./statements.ts";

/** Runs the batches of one table. */
export class LeaseTable {
  readonly #connections: Connections;
  readonly #statements: Statements;
  readonly #table: SqlTable;

  /** Makes it, without I/O. */
  constructor(connections: Connections, statements: Statements, autoCreate: boolean) {
    this.#connections = connections;
    this.#statements = statements;
    this.#table = new SqlTable(isNoTable, autoCreate ? () => this.#create() : null);
  }

  /** Runs a batch that needs the table. */
  write(sql: string, parameters: Parameters, signal: AbortSignal): Promise<readonly Row[]> {
    return this.#table.write(() => this.#connections.run(sql, parameters, signal));
  }

  /** Runs a batch that only reads. */
  read(sql: string, parameters: Parameters, signal: AbortSignal): Promise<readonly Row[]> {
    return this.#table.read(() => this.#connections.run(sql, parameters, signal));
  }

  /** The statement timeout bounds it. */
  async #create(): Promise<void> {
    const { findSchema, createSchema, createTable } = this.#statements;
    const { signal } = new AbortController();
    const hasSchema = async () => {
      const [row] = await this.#connections.run(findSchema, {}, signal);
      return row !== undefined && row.id !== null && row.id !== undefined;
    };
    if (!await hasSchema()) {
      try {
        await this.#connections.runBatch(createSchema, signal);
      } catch (error) {
        // Another start may have created it in between.
        if (!await hasSchema()) throw error;
      }
    }
    await this.#connections.run(createTable, {}, signal);
  }
}

/** Returns the number that SQL Server gave an error, or 0. */
export function errorNumber(error: unknown): number {
  const number = error instanceof Error && "number" in error ? error.number : 0;
  return typeof number === "number" ? number : 0;
}

function isNoTable(error: unknown): boolean {
  return errorNumber(error) === 208;
}

const READ_ONLY = "the database is read-only: a secondary, or set so. Leases need the primary";

/** Returns `error`, saying what it means for leases where the server's own words do not. */
export function explain(error: unknown, { table, createTable }: Statements): unknown {
  const words = error instanceof Error ? error.message : String(error);
  const explained = (why: string) => new Error(`${why} (${words})`, { cause: error });
  switch (errorNumber(error)) {
    // A read-only database; a secondary that takes readers only; one that takes only those that say they read.
    case 3906:
    case 976:
    case 978:
      return explained(READ_ONLY);
    case 229:
      return explained(`the user needs SELECT, INSERT and UPDATE on ${table}`);
    case 262:
    case 2760:
      return explained(
        `the table ${table} does not exist and the user may not create it. It is made by: ${createTable}`,
      );
    default:
      // Babelfish has PostgreSQL's words for it.
      return /read-only transaction/.test(words) ? explained(READ_ONLY) : error;
  }
}
