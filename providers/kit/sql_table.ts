/**
 * The common part of the providers over a table in a database.
 *
 * @module
 */

import { abortable } from "../../src/call.ts";
import { type Duration, parseDuration } from "../../src/time/duration.ts";

/** The number of times that a call creates the table: once, and again if somebody drops it in between. */
const MAX_CREATIONS = 3;

/** Creates a table. It must end when `signal` aborts, as well as it can: nobody waits for it any more. */
export type CreateTable = (signal: AbortSignal) => Promise<void>;

/** A table that is created on first use, where it is missing and may be created. */
export class SqlTable {
  readonly #isMissing: (error: unknown) => boolean;
  readonly #create: CreateTable | null;
  readonly #createTimeout: number;
  #creating: Promise<void> | null = null;

  /**
   * `isMissing` says whether the table was what an error missed. Without `create` it is left to somebody else to make
   * it. `createTimeout` bounds it, in milliseconds: all calls wait for it, and one that is lost on its way must not
   * hold them for ever.
   */
  constructor(isMissing: (error: unknown) => boolean, create: CreateTable | null, createTimeout = 10_000) {
    this.#isMissing = isMissing;
    this.#create = create;
    this.#createTimeout = createTimeout;
  }

  /** Runs a statement that needs the table. One that failed for lack of it has done nothing, and may run again. */
  async write<T>(run: () => Promise<T>): Promise<T> {
    for (let creations = 0;; creations++) {
      try {
        return await run();
      } catch (error) {
        if (this.#create === null || !this.#isMissing(error) || creations === MAX_CREATIONS) throw error;
        await (this.#creating ??= this.#createOnce(this.#create).finally(() => this.#creating = null));
      }
    }
  }

  /** Not bound to one call: others wait for it too. A creation that fails is tried again by the next call. */
  async #createOnce(create: CreateTable): Promise<void> {
    const signal = AbortSignal.timeout(this.#createTimeout);
    try {
      await abortable(create(signal), signal);
    } catch (error) {
      if (signal.aborted) throw new Error(`the table was not created within ${this.#createTimeout} ms`);
      throw error;
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
  options: { readonly statementTimeout?: Duration | undefined; readonly poolSize?: number | undefined },
): { readonly statementTimeout: number; readonly poolSize: number } {
  const { poolSize = 4 } = options;
  if (!Number.isInteger(poolSize) || poolSize < 1) {
    throw new RangeError(`Cannot use poolSize "${poolSize}": it must be a whole number from 1`);
  }
  const statementTimeout = parseDuration(options.statementTimeout ?? "5s", "statementTimeout");
  if (statementTimeout < 1) throw new RangeError('Cannot use statementTimeout "0": it must be at least 1 ms');
  return { statementTimeout, poolSize };
}
