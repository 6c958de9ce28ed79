/**
 * The table of leases: created on first use where it is missing and may be created.
 *
 * @module
 */

import { permanently } from "../../src/call.ts";
import { ROW_LOCKED } from "../kit/renewals.ts";
import { SqlTable } from "../kit/sql_table.ts";
import type { LaneOptions } from "../kit/laned_connections.ts";
import type { Connections } from "./connections.ts";
import { isAgainstPolicy, sqlState } from "./sql_state.ts";
import type { Statement, Statements } from "./statements.ts";

/** SQLSTATEs of a start that lost the race to create something: by the time it fails, the other has committed. */
const CREATED_BY_ANOTHER: ReadonlySet<string> = new Set(["23505", "42P06", "42P07", "42710"]);
const NO_TABLE = "42P01";
const NO_SCHEMA = "3F000";
const NO_COLUMN = "42703";

/** Runs the statements of one table. */
export class LeaseTable {
  readonly #connections: Connections;
  readonly #statements: Statements;
  readonly #autoCreate: boolean;
  readonly #table: SqlTable;

  /** Makes it, without I/O. Creating the table may take `createTimeout` milliseconds. */
  constructor(
    connections: Connections,
    statements: Statements,
    { autoCreate, createTimeout }: { readonly autoCreate: boolean; readonly createTimeout: number },
  ) {
    this.#connections = connections;
    this.#statements = statements;
    this.#autoCreate = autoCreate;
    const create = (signal: AbortSignal) => this.#create(createTimeout, signal);
    const isMissing = (error: unknown) => sqlState(error) === NO_TABLE;
    this.#table = new SqlTable(isMissing, autoCreate ? create : null, createTimeout);
  }

  /** Runs a statement that needs the table. */
  write(
    statement: Statement,
    values: () => unknown[],
    signal: AbortSignal,
    options?: LaneOptions,
  ): Promise<readonly string[][]> {
    return this.#table.write(() => this.#connections.run(statement, values, signal, options));
  }

  /** Runs a statement that only reads. */
  read(statement: Statement, values: () => unknown[], signal: AbortSignal): Promise<readonly string[][]> {
    return this.#table.read(() => this.#connections.run(statement, values, signal));
  }

  /** @throws {Error} if elections would not work, saying why */
  async check(signal: AbortSignal): Promise<void> {
    const { table, check } = this.#statements;
    const [[readOnly, exists, allowed] = []] = await this.#connections.run(check, () => [], signal);
    if (readOnly === "on") throw new Error(READ_ONLY);
    if (exists !== "true" && !this.#autoCreate) throw new Error(`the table ${table} does not exist`);
    if (allowed !== "true") {
      const need = exists === "true" ? "SELECT, INSERT and UPDATE" : "CREATE, because the table does not exist";
      throw new Error(`the user lacks a privilege on ${table}: it needs ${need}`);
    }
  }

  /** Another start that creates it at the same time is waited for, a little less long than our own callers wait. */
  async #create(timeout: number, signal: AbortSignal): Promise<void> {
    const { createTable, createSchema } = this.#statements;
    // One transaction: the limit ends with it.
    const bounded = (sql: string) =>
      this.#connections.runText(`SET LOCAL lock_timeout = ${Math.ceil(timeout * 0.8)};\n${sql}`, signal);
    try {
      await bounded(createTable).catch((error) => {
        if (sqlState(error) !== NO_SCHEMA) throw error;
        // Only now: PostgreSQL asks for the right to create a schema before it looks whether there is one.
        return bounded(`${createSchema};\n${createTable}`);
      });
    } catch (error) {
      if (!CREATED_BY_ANOTHER.has(sqlState(error))) throw error;
    }
  }
}

const READ_ONLY = "the server is read-only: a standby, or default_transaction_read_only is on. " +
  "Leases need the primary";

/**
 * The classes of refused users and passwords, of unknown databases and schemas, and of missing rights, a missing table
 * that is not to be made and a table that is not ours: none mends by itself.
 */
const FOR_GOOD = /^(28|3D|3F|42)/;
/** The refusals that the driver, and poolers, tell in words alone: no password, no TLS, no such user or database. */
const FOR_GOOD_WORDS = new RegExp(
  "password must be a|does not support SSL|(SASL|password) authentication failed|no such (user|database)|" +
    'database ".*" does not exist',
  "i",
);

/** Returns `error`, saying what it means for leases where the server's own words do not. */
export function explain(error: unknown, statements: Statements): unknown {
  const explained = inWords(error, statements);
  if (!(explained instanceof Error)) return explained;
  return FOR_GOOD.test(sqlState(error)) || FOR_GOOD_WORDS.test(explained.message) ? permanently(explained) : explained;
}

function inWords(error: unknown, { table, createTable }: Statements): unknown {
  const words = error instanceof Error ? error.message : String(error);
  if (/password must be a/.test(words)) {
    return new Error(`the server asks for a password, and none was given (${words})`, { cause: error });
  }
  switch (sqlState(error)) {
    case NO_TABLE:
      return new Error(`the table ${table} does not exist, made by: ${createTable}`, { cause: error });
    case "25006":
      return new Error(`${READ_ONLY} (${words})`, { cause: error });
    case "42501":
      if (isAgainstPolicy(error)) return error;
      return new Error(`${words}. The user needs SELECT, INSERT and UPDATE on ${table}, made by: ${createTable}`, {
        cause: error,
      });
    case NO_COLUMN:
      return new Error(`${words}. The table ${table} is not as this version needs it, made by: ${createTable}`, {
        cause: error,
      });
    case "55P03":
      return new Error(`${ROW_LOCKED} (${words})`, { cause: error });
    default:
      return error;
  }
}
