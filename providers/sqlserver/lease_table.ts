/**
 * The table of leases: created on first use where it is missing and may be created.
 *
 * @module
 */

import { SqlTable } from "../kit/sql_table.ts";
import type { Connections, Parameters, Row, RunOptions } from "./connections.ts";
import { isNoTable } from "./failures.ts";
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
    this.#table = new SqlTable(isNoTable, autoCreate ? (signal?: AbortSignal) => this.#create(signal) : null);
  }

  /** Runs a batch that needs the table. */
  write(sql: string, parameters: Parameters, options: RunOptions): Promise<readonly Row[]> {
    return this.#table.write(() => this.#connections.run(sql, parameters, options));
  }

  /** Runs a batch that only reads. */
  read(sql: string, parameters: Parameters, options: RunOptions): Promise<readonly Row[]> {
    return this.#table.read(() => this.#connections.run(sql, parameters, options));
  }

  /** The statement timeout bounds it, and what waits for it may, too. */
  async #create(signal: AbortSignal = new AbortController().signal): Promise<void> {
    const { findSchema, createSchema, createTable } = this.#statements;
    const options = { signal, urgent: true };
    const hasSchema = async () => {
      const [row] = await this.#connections.run(findSchema, {}, options);
      return row !== undefined && row.id !== null && row.id !== undefined;
    };
    if (!await hasSchema()) {
      try {
        await this.#connections.runBatch(createSchema, options);
      } catch (error) {
        // Another start may have created it in between.
        if (!await hasSchema()) throw error;
      }
    }
    await this.#connections.run(createTable, {}, options);
  }
}
