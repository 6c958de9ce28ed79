/**
 * Hints that have come, and that a watch has not handed on yet.
 *
 * @module
 */

import type { TransferHint } from "../../src/provider.ts";

/** Several hints that come while nobody asks are one; that a lease was released for somebody is not forgotten by it. */
export class PendingHint {
  #isPending: boolean;
  #transfer: TransferHint | undefined;

  /** Begins with a hint, if `isPending`. */
  constructor(isPending = false) {
    this.#isPending = isPending;
  }

  /** True if there is one to hand on. */
  get isPending(): boolean {
    return this.#isPending;
  }

  /** Takes note of one. `transferTo` is the participant that a release was for; empty where there is none. */
  add(transferTo = ""): void {
    this.#isPending = true;
    if (transferTo !== "") this.#transfer = { transferTo };
  }

  /** Returns what to yield; then nothing is pending. */
  take(): TransferHint | undefined {
    const transfer = this.#transfer;
    this.#isPending = false;
    this.#transfer = undefined;
    return transfer;
  }
}
