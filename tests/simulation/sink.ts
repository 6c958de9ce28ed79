/**
 * A resource that the work of leaders writes to, and that refuses lower tokens than it has seen.
 *
 * @module
 */

import type { Term } from "../../src/participant/term.ts";
import type { History } from "./history.ts";
import type { SimulatedServer } from "./server.ts";

/** Checks S4: no write of an earlier grant is carried out after one of a later, whatever leaders believe. */
export class FencedSink {
  readonly #server: SimulatedServer;
  readonly #history: History;
  #highest = -1n;
  #lastGrant = -1;

  constructor(server: SimulatedServer, history: History) {
    this.#server = server;
    this.#history = history;
  }

  /** A write of `term` arrives. */
  write({ termId, token }: Term): void {
    if (token < this.#highest) return;
    this.#highest = token;
    const grant = this.#server.grants.findLastIndex((each) => each.termId === termId && each.token === token);
    if (grant < this.#lastGrant) {
      this.#history.violate("S4", `a write of ${this.#history.term(termId)} was carried out after one of a later term`);
    }
    this.#lastGrant = grant;
  }
}
