/**
 * The table of leases: created on first use where it is missing and may be created.
 *
 * @module
 */

import type { LaneOptions } from "../kit/laned_connections.ts";
import { SqlTable } from "../kit/sql_table.ts";
import type { Rows } from "./client.ts";
import type { Connections } from "./connections.ts";
import { isNoSchema, isNoTable, NOT_WRITABLE } from "./failures.ts";
import type { Statements } from "./statements.ts";

/** Runs the statements of one table. */
export class LeaseTable {
  readonly #connections: Connections;
  readonly #statements: Statements;
  readonly #table: SqlTable;

  /** Makes it, without I/O. Creating the table may take `createTimeout` milliseconds. */
  constructor(
    connections: Connections,
    statements: Statements,
    { autoCreate, createTimeout }: { readonly autoCreate: boolean; readonly createTimeout: number },
  ) {
    this.#connections = connections;
    this.#statements = statements;
    this.#table = new SqlTable(isNoTable, autoCreate ? (signal) => this.#create(signal) : null, createTimeout);
  }

  /** Runs statements that need the table. */
  write(statements: () => readonly string[], signal: AbortSignal, options?: LaneOptions): Promise<Rows> {
    return this.#table.write(() => this.#connections.run(statements, signal, options));
  }

  /** Runs statements that only read. */
  read(statements: () => readonly string[], signal: AbortSignal): Promise<Rows> {
    return this.#table.read(() => this.#connections.run(statements, signal));
  }

  /** @throws {Error} if elections would not work, or not be safe, saying why */
  async check(signal: AbortSignal): Promise<void> {
    const [[writable, flush, engine] = []] = await this.write(() => this.#statements.check, signal);
    if (writable !== "1") throw new Error(NOT_WRITABLE);
    const name = fromHex(engine);
    if (name !== "" && name.toLowerCase() !== "innodb") {
      throw new Error(`the table ${this.#statements.table} is kept by ${name}, and leases need InnoDB`);
    }
    if (flush === "0") {
      throw new Error("innodb_flush_log_at_trx_commit is 0: a server that is killed forgets leases it has granted");
    }
  }

  async #create(signal: AbortSignal): Promise<void> {
    const { createTable, createSchema } = this.#statements;
    const run = (sql: string) => this.#connections.run(() => [sql], signal, { urgent: true });
    try {
      await run(createTable);
    } catch (error) {
      if (createSchema === null || !isNoSchema(error)) throw error;
      // Only now: it needs a right that one who finds the schema there can do without.
      await run(createSchema);
      await run(createTable);
    }
  }
}

/** Returns a value as it was before the server wrote it in hexadecimal digits. */
export function fromHex(text: string | null | undefined): string {
  return Buffer.from(text ?? "", "hex").toString("utf8");
}
