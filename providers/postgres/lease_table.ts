/**
 * The table of leases: created on first use where it is missing and may be created.
 *
 * @module
 */

import { SqlTable } from "../../src/sql_table.ts";
import { type Connections, sqlState } from "./connections.ts";
import type { Statement, Statements } from "./statements.ts";

/** SQLSTATEs of a start that lost the race to create something: by the time it fails, the other has committed. */
const CREATED_BY_ANOTHER: ReadonlySet<string> = new Set(["23505", "42P06", "42P07", "42710"]);
const NO_TABLE = "42P01";
const NO_SCHEMA = "3F000";

/** Runs the statements of one table. */
export class LeaseTable {
  readonly #connections: Connections;
  readonly #statements: Statements;
  readonly #autoCreate: boolean;
  readonly #table: SqlTable;

  /** Makes it, without I/O. */
  constructor(connections: Connections, statements: Statements, autoCreate: boolean) {
    this.#connections = connections;
    this.#statements = statements;
    this.#autoCreate = autoCreate;
    this.#table = new SqlTable((error) => sqlState(error) === NO_TABLE, autoCreate ? () => this.#create() : null);
  }

  /** Runs a statement that needs the table. */
  write(statement: Statement, values: () => unknown[], signal: AbortSignal): Promise<readonly unknown[][]> {
    return this.#table.write(() => this.#connections.run(statement, values, signal));
  }

  /** Runs a statement that only reads. */
  read(statement: Statement, values: unknown[], signal: AbortSignal): Promise<readonly unknown[][]> {
    return this.#table.read(() => this.#connections.run(statement, () => values, signal));
  }

  /** @throws {Error} if elections would not work, saying why */
  async check(signal: AbortSignal): Promise<void> {
    const { table, check } = this.#statements;
    const [[readOnly, exists, allowed] = []] = await this.#connections.run(check, () => [], signal);
    if (readOnly === true) throw new Error(READ_ONLY);
    if (exists !== true && !this.#autoCreate) throw new Error(`the table ${table} does not exist`);
    if (allowed !== true) {
      const need = exists === true ? "SELECT, INSERT and UPDATE" : "CREATE, because the table does not exist";
      throw new Error(`the user lacks a privilege on ${table}: it needs ${need}`);
    }
  }

  /** The statement timeout bounds it. */
  async #create(): Promise<void> {
    const { createTable, createSchema } = this.#statements;
    const { signal } = new AbortController();
    try {
      await this.#connections.runText(createTable, signal).catch((error) => {
        if (sqlState(error) !== NO_SCHEMA) throw error;
        // Only now: PostgreSQL asks for the right to create a schema before it looks whether there is one.
        return this.#connections.runText(`${createSchema};\n${createTable}`, signal);
      });
    } catch (error) {
      if (!CREATED_BY_ANOTHER.has(sqlState(error))) throw error;
    }
  }
}

const READ_ONLY = "the server is read-only: a standby, or default_transaction_read_only is on. " +
  "Leases need the primary";

/** Returns `error`, saying what it means for leases where the server's own words do not. */
export function explain(error: unknown, { table, createTable }: Statements): unknown {
  const words = error instanceof Error ? error.message : String(error);
  switch (sqlState(error)) {
    case "25006":
      return new Error(`${READ_ONLY} (${words})`, { cause: error });
    case "42501":
      return new Error(`${words}. The user needs SELECT, INSERT and UPDATE on ${table}, made by: ${createTable}`, {
        cause: error,
      });
    case "55P03":
      return new Error(`another session has locked the row of the lease (${words})`, { cause: error });
    default:
      return error;
  }
}
