/**
 * What the providers over a table in a database have in common.
 *
 * @module
 */

import { type Duration, parseDuration } from "./duration.ts";

/** How often a call creates the table: once, and again if somebody drops it in between. */
const MAX_CREATIONS = 3;

/** A table that is created on first use, where it is missing and may be created. */
export class SqlTable {
  readonly #isMissing: (error: unknown) => boolean;
  readonly #create: (() => Promise<void>) | null;
  #creating: Promise<void> | null = null;

  /** `isMissing` says whether the table was what an error missed. Without `create` it is left to somebody else to make it. */
  constructor(isMissing: (error: unknown) => boolean, create: (() => Promise<void>) | null) {
    this.#isMissing = isMissing;
    this.#create = create;
  }

  /** Runs a statement that needs the table. One that failed for lack of it has done nothing, and may run again. */
  async write<T>(run: () => Promise<T>): Promise<T> {
    for (let creations = 0;; creations++) {
      try {
        return await run();
      } catch (error) {
        if (this.#create === null || !this.#isMissing(error) || creations === MAX_CREATIONS) throw error;
        // Not bound to this call: others wait for it too.
        await (this.#creating ??= this.#create().finally(() => this.#creating = null));
      }
    }
  }

  /** Runs a statement that only reads. Without the table there is nothing to read: no rows. */
  async read<T>(run: () => Promise<readonly T[]>): Promise<readonly T[]> {
    try {
      return await run();
    } catch (error) {
      if (this.#create !== null && this.#isMissing(error)) return [];
      throw error;
    }
  }
}

/**
 * Fills in what bounds the use of a database; times in milliseconds.
 *
 * @throws {TypeError | RangeError} if one is malformed or out of range
 */
export function resolveSqlBounds(
  options: { readonly statementTimeout?: Duration; readonly poolSize?: number },
): { readonly statementTimeout: number; readonly poolSize: number } {
  const { poolSize = 4 } = options;
  if (!Number.isInteger(poolSize) || poolSize < 1) {
    throw new RangeError(`Cannot use poolSize "${poolSize}": it must be a whole number from 1`);
  }
  const statementTimeout = parseDuration(options.statementTimeout ?? "5s", "statementTimeout");
  if (statementTimeout < 1) throw new RangeError('Cannot use statementTimeout "0": it must be at least 1 ms');
  return { statementTimeout, poolSize };
}
