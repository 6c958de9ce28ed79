/**
 * Since when each record stands still, on the observer's clock: the ground on which it decides that a lease is over,
 * where the backend has no clock of its own.
 *
 * @module
 */

import type { Clock } from "../../src/time/clock.ts";
import { CLOCK_RATE_ERROR } from "./lease_evidence.ts";

/** Since when a record stands. */
export interface Since {
  /** When it was first seen as it is, by the monotonic clock. */
  readonly since: number;
  /** The same by that of the wall, for people. */
  readonly sinceWall: number;
}

/**
 * Remembers the record of each group as it was last seen. It keeps no timers and does no I/O.
 *
 * A record that has stood still for a whole lease may be taken over, by a write that is conditional on it. Safe: each
 * heartbeat changes the record, so the last one was *sent* before the record was first seen as it is. The holder counts
 * its time from then; the observer counts from a later moment, and waits 0.1 % longer, for the clocks' rates. A clock
 * that sleeps with its machine makes the observer wait longer still. A look need not show the newest state: if a
 * heartbeat came in between, the write finds its condition broken.
 */
export class StandingRecords<S extends object> {
  readonly #clock: Clock;
  readonly #isSame: (a: S, b: S) => boolean;
  readonly #records = new Map<string, S & Since>();

  /** Measures with `clock`. `isSame` must be false for two states with a heartbeat in between. */
  constructor(clock: Clock, isSame: (a: S, b: S) => boolean) {
    this.#clock = clock;
    this.#isSame = isSame;
  }

  /** Returns the record of a group as it was last seen. */
  get(electionGroup: string): (S & Since) | undefined {
    return this.#records.get(electionGroup);
  }

  /** Remembers the record as it was just seen or written. One that is the same keeps the time since which it stands. */
  see(electionGroup: string, state: S): S & Since {
    const known = this.#records.get(electionGroup);
    const { since, sinceWall } = known !== undefined && this.#isSame(known, state)
      ? known
      : { since: this.#clock.monotonic(), sinceWall: this.#clock.wall() };
    const seen = { ...state, since, sinceWall };
    this.#records.set(electionGroup, seen);
    return seen;
  }

  /** Returns in how many milliseconds a lease of `leaseMs` is over, if its record stands on; below zero if it is. */
  expiresIn({ since }: Since, leaseMs: number): number {
    return since + leaseMs * (1 + CLOCK_RATE_ERROR) - this.#clock.monotonic();
  }
}
