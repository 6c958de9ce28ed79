/**
 * The common part of the fences in tables: a row for each resource, with the highest token that was admitted.
 *
 * Why the check and the caller's write are one step: the one statement of `admit` locks the row, compares, and writes
 * the higher token, and the row stays locked until the caller's transaction ends. A higher token that comes meanwhile
 * waits for that end; one that has come before is in the row, so that the lower one is refused. So what a transaction
 * writes after its admission is committed before any higher token is admitted, or not at all.
 *
 * @module
 */

import { ConfigError } from "../src/errors.ts";
import { refuseUnknown } from "../src/spelling.ts";
import type { Fence } from "./fence.ts";

/** Options of a fence in a table. */
export interface SqlFenceOptions {
  /** The table: up to 63 letters, digits and underscores. @default "multilock_fences" */
  readonly table?: string | undefined;
  /**
   * True if the caller has begun a transaction on the client that it gives, and writes in it: then the check and the
   * write are one step. Where the client shows that it has not, `admit` rejects. With false each admission is a
   * transaction of its own, which only `fencedHandler` in a single process makes up for. @default true
   */
  readonly inTransaction?: boolean | undefined;
}

/** A fence in a table. */
export interface SqlFence extends Fence {
  /**
   * Creates the table, if it does not exist. Any number of processes may do so at once. Not inside the transaction that
   * writes. A table that was lost and is created anew refuses nothing until it has seen a token.
   */
  createTable(): Promise<void>;
}

/**
 * Fills in the defaults.
 *
 * @throws {TypeError} if an option does not exist, or is malformed
 */
export function resolveSqlFence<T extends SqlFenceOptions>(
  options: T,
  schema?: string,
): { readonly table: string; readonly schema: string; readonly inTransaction: boolean } {
  const known = ["table", "inTransaction", ...schema === undefined ? [] : ["schema"]];
  refuseUnknown("fence option", Object.keys(options), known);
  const given = { schema, table: "multilock_fences", inTransaction: true, ...options };
  if (typeof given.inTransaction !== "boolean") {
    throw new TypeError(`Cannot use inTransaction "${given.inTransaction}": it must be true or false`);
  }
  return {
    table: identifier("table", given.table),
    schema: schema === undefined ? "" : identifier("schema", given.schema),
    inTransaction: given.inTransaction,
  };
}

function identifier(what: string, name: unknown): string {
  if (typeof name === "string" && /^[A-Za-z_][A-Za-z0-9_]{0,62}$/.test(name)) return name;
  throw new TypeError(`Cannot use ${what} "${name}": it must match /^[A-Za-z_][A-Za-z0-9_]{0,62}$/`);
}

/** The error of a client that is in no transaction, where it must be. */
export function notInTransaction(resource: string): ConfigError {
  return new ConfigError(
    `Cannot admit a token for "${resource}": the client is in no transaction, so the check and the write would be ` +
      "two steps; begin one on it first",
  );
}

/** Explains an error that says that there is no table; returns every other as it is. */
export function explainMissing(error: unknown, table: string, isMissing: boolean): unknown {
  if (!isMissing) return error;
  return new ConfigError(`Cannot admit a token: there is no table ${table}; call createTable() once`, { cause: error });
}

/** Returns the property `name` of an error; undefined if it has none. */
export function propertyOf(error: unknown, name: string): unknown {
  return typeof error === "object" && error !== null ? (error as Record<string, unknown>)[name] : undefined;
}
