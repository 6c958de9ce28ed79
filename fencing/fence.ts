/**
 * The contract of a fence: what it admits, and how it refuses.
 *
 * @module
 */

import { ElectionError } from "../src/errors.ts";

/** A guard that stands before a resource, and lets no token pass that is lower than one that has passed before. */
export interface Fence {
  /**
   * Returns if no higher token has been admitted for `resource` before, and admits `token`: every lower one is refused
   * from then on. The same one may come again, any number of times.
   *
   * @param resource what is written to: 1 to 255 printable ASCII characters, without a blank at either end
   * @param token the fencing token of the term that writes, from 0 to 2^63 - 1
   * @throws {FencedError} if a higher token has been admitted: the writer has been followed by another, and must stop
   * @throws {TypeError | RangeError} if `resource` or `token` is malformed
   * @throws the reason of `signal`, at once, when it aborts; whether the token was admitted is then unknown
   */
  admit(resource: string, token: bigint, options?: AdmitOptions): Promise<void>;
}

/** Options of `admit`. */
export interface AdmitOptions {
  /** Ends the wait. */
  readonly signal?: AbortSignal | undefined;
}

/** Raised when a token is lower than the highest that was admitted: the term that it belongs to is over. */
export class FencedError extends ElectionError {
  /** The name of the class. */
  override name = "FencedError";
  /** The resource that refused it. */
  readonly resource: string;
  /** The token that was refused. */
  readonly token: bigint;
  /** The highest token that the resource has admitted. */
  readonly highest: bigint;

  /** Builds the error. */
  constructor(resource: string, token: bigint, highest: bigint, options?: ErrorOptions) {
    super(`Cannot write to "${resource}" under token ${token}: token ${highest} has been admitted`, options);
    this.resource = resource;
    this.token = token;
    this.highest = highest;
  }
}

/** The highest token that every store can keep: a signed number of 64 bits. Every backend's tokens are below it. */
export const MAX_TOKEN: bigint = 2n ** 63n - 1n;

/**
 * Checks what `admit` is given.
 *
 * @throws {TypeError | RangeError} if it is malformed
 * @throws the reason of the signal, if it has aborted
 */
export function checkAdmission(resource: string, token: bigint, { signal }: AdmitOptions): void {
  // Stores differ in what they take for the same text: in the case of letters, in blanks at the end, in what Unicode
  // has two ways to write. Of these names, all of them tell any two apart.
  if (typeof resource !== "string" || !/^[\x21-\x7e]([\x20-\x7e]{0,253}[\x21-\x7e])?$/.test(resource)) {
    const shown = typeof resource === "string" ? JSON.stringify(resource.slice(0, 80)) : String(resource);
    throw new TypeError(
      `Cannot use resource ${shown}: it must be 1 to 255 printable ASCII characters without a blank at either end`,
    );
  }
  // A number has lost the digits beyond 2^53 before it comes here.
  if (typeof token !== "bigint") throw new TypeError(`Cannot use token ${token}: it must be a bigint`);
  if (token < 0n || token > MAX_TOKEN) {
    throw new RangeError(`Cannot use token ${token}: it must be between 0 and ${MAX_TOKEN}`);
  }
  signal?.throwIfAborted();
}

/** @throws {FencedError} if `highest`, as a store tells it, is higher than `token` */
export function refuseLower(resource: string, token: bigint, highest: unknown): void {
  if (typeof highest !== "string" || !/^\d+$/.test(highest)) {
    throw new ElectionError(`Cannot write to "${resource}": its fence holds ${String(highest)}, which is no token`);
  }
  if (BigInt(highest) > token) throw new FencedError(resource, token, BigInt(highest));
}
