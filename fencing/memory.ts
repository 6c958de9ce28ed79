/**
 * A fence in the memory of one process: for a resource that lives in it.
 *
 * @module
 */

import { type AdmitOptions, checkAdmission, type Fence, FencedError } from "./fence.ts";

/**
 * Makes a fence that remembers the highest token of each resource for as long as the process lives. The check and the
 * write are one step if nothing is awaited between them.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { FencedError, memoryFence } from "@multilock/core/fencing";
 *
 * const fence = memoryFence();
 * await fence.admit("ledger", 7n);
 * await assert.rejects(fence.admit("ledger", 6n), FencedError);
 * ```
 */
export function memoryFence(): Fence {
  return new MemoryFence();
}

class MemoryFence implements Fence {
  readonly #highest = new Map<string, bigint>();

  // Async, so that what is malformed rejects.
  // deno-lint-ignore require-await
  async admit(resource: string, token: bigint, options: AdmitOptions = {}): Promise<void> {
    checkAdmission(resource, token, options);
    const highest = this.#highest.get(resource) ?? 0n;
    if (token < highest) throw new FencedError(resource, token, highest);
    this.#highest.set(resource, token);
  }
}
