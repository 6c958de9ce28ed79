/**
 * The terms of one session, and how each ends that is not renewed: the session outlives it, so its node must be
 * deleted.
 *
 * @module
 */

import type { Clock } from "../../src/time/clock.ts";
import type { LatchNode } from "./latch_node.ts";

/** The nodes that stand for a term, granted or of unknown outcome. */
export class HeldTerms {
  readonly #clock: Clock;
  readonly #onOver: (node: LatchNode) => void;
  readonly #nodes = new Map<string, LatchNode>();
  #sweepDue = Infinity;
  #cancelSweep = () => {};

  /** Holds nothing yet. `onOver` is called with each node that no term stands for any more. */
  constructor(clock: Clock, onOver: (node: LatchNode) => void) {
    this.#clock = clock;
    this.#onOver = onOver;
  }

  /** The node that stands for `termId` in `group`. */
  node(group: string, termId: string): LatchNode | undefined {
    return this.#nodes.get(keyOf(group, termId));
  }

  /**
   * Lets `node` stand for `termId`, for `timeoutMs` from now or until this is called again. A holder that does not come
   * back has stopped to renew, or never learned what he was granted. Since this is called after the caller has read the
   * clock, and counts the full time, the term is over by then for its holder.
   */
  hold(node: LatchNode, termId: string, timeoutMs: number): void {
    const key = keyOf(node.group, termId);
    const other = this.#nodes.get(key);
    if (other !== undefined && other !== node) this.#onOver(other);
    this.#nodes.set(key, node);
    node.expiresAt = this.#clock.monotonic() + timeoutMs;
    this.#sweepAt(node.expiresAt);
  }

  /** Takes note that `node` does not stand for `termId` any more. The node itself stays. */
  letGo(node: LatchNode, termId: string): void {
    const key = keyOf(node.group, termId);
    if (this.#nodes.get(key) === node) this.#nodes.delete(key);
  }

  /** Forgets all: the session has ended, and their nodes with it. */
  clear(): void {
    this.#nodes.clear();
    this.#cancelSweep();
  }

  #sweepAt(due: number): void {
    if (due >= this.#sweepDue) return;
    this.#cancelSweep();
    this.#sweepDue = due;
    this.#cancelSweep = this.#clock.setTimer(() => this.#sweep(), due - this.#clock.monotonic());
  }

  /** Ends the terms that were not renewed in time, and comes back when the next may be due. */
  #sweep(): void {
    this.#sweepDue = Infinity;
    const now = this.#clock.monotonic();
    let next = Infinity;
    for (const [key, node] of this.#nodes) {
      if (node.expiresAt > now) {
        next = Math.min(next, node.expiresAt);
        continue;
      }
      this.#nodes.delete(key);
      this.#onOver(node);
    }
    this.#sweepAt(next);
  }
}

function keyOf(group: string, termId: string): string {
  return `${group}/${termId}`;
}
