/**
 * The looks of a provider at each Lease, and the ground on which it decides that one is free.
 *
 * @module
 */

import type { LeaderInfo, Lease } from "../../src/provider.ts";
import type { Clock } from "../../src/time/clock.ts";
import { type Since, StandingRecords } from "../kit/standing_records.ts";
import {
  ABSENT,
  type LeaseObject,
  type LeaseState,
  numberOf,
  stateOf,
  termOf,
  type TermRecord,
  tokenOf,
} from "./lease_object.ts";

/** A Lease as it was last seen. */
export type Look = LeaseState & Since;

/**
 * Remembers the last look at each group. Only a hint what to try: each write is conditional on the version that was
 * seen.
 */
export class Looks {
  readonly #looks: StandingRecords<LeaseState>;

  constructor(clock: Clock) {
    this.#looks = new StandingRecords(clock, (a, b) => a.mark === b.mark);
  }

  /** Returns the last look at a group. */
  get(electionGroup: string): Look | undefined {
    return this.#looks.get(electionGroup);
  }

  /** Remembers what the API server has answered: the Lease of a group, or that there is none. */
  see(electionGroup: string, lease: LeaseObject | null): Look {
    return this.#looks.see(electionGroup, lease === null ? ABSENT : stateOf(lease, this.get(electionGroup)));
  }

  /**
   * As {@linkcode Looks.see}, for what a watch tells. That may be older than the last look, since a server begins a
   * watch with what it has in its cache: then it is left alone, and null is returned.
   */
  hear(electionGroup: string, lease: LeaseObject, isDeleted: boolean): Look | null {
    const known = this.get(electionGroup);
    const isOld = known !== undefined && known.version !== "" &&
      numberOf(lease.metadata.resourceVersion) < numberOf(known.version);
    return isOld ? null : this.see(electionGroup, isDeleted ? null : lease);
  }

  /**
   * Returns true if another term may begin: there is no holder, or the record has stood still for its lease, as seen
   * here (see `StandingRecords`). A heartbeat changes the mark, and the write that takes over is conditional on the
   * version. Any other write, of a label for example, changes the version alone: it does not prolong the lease of a
   * holder that is dead.
   *
   * @param asked the lease that is asked for, in milliseconds: the least that a holder of another program is given
   */
  isFree(look: Look, asked: number): boolean {
    return look.holder === "" || this.hasStoodStill(look, asked);
  }

  /** Returns true once the lease of the holder is over. */
  hasStoodStill(look: Look, asked = 0): boolean {
    const expiresIn = this.#expiresIn(look, asked);
    return expiresIn !== null && expiresIn <= 0;
  }

  /** Returns true while the term has the lease. */
  isHeldBy(look: Look, termId: string): boolean {
    return look.term?.termId === termId && !this.hasStoodStill(look);
  }

  /** Returns how long the lease of the holder lasts, in milliseconds; null where nobody says. */
  leaseOf({ term, leaseDurationSeconds }: LeaseState, asked = 0): number | null {
    // Ours is exact; what others go by is the same, rounded up. Theirs is what they write, and at least as long as
    // ours: in a group that is led by both, they should agree, and some programs write none.
    if (term !== null) return term.heartbeatTimeout;
    return Math.max((leaseDurationSeconds ?? 0) * 1_000, asked) || null;
  }

  /** Describes the holder. */
  describe(look: Look, asked = 0): LeaderInfo | null {
    const { holder, acquireTime, renewTime, sinceWall, metadata } = look;
    if (holder === "") return null;
    const expiresIn = this.#expiresIn(look, asked);
    return {
      leaderId: holder,
      termId: termOf(look),
      token: tokenOf(look),
      leadershipAcquiredAt: dateOf(acquireTime) ?? new Date(sinceWall),
      lastHeartbeat: dateOf(renewTime),
      metadata,
      expiresIn: expiresIn === null ? null : Math.max(expiresIn, 0),
    };
  }

  #expiresIn(look: Look, asked: number): number | null {
    if (look.holder === "") return null;
    const lease = this.leaseOf(look, asked);
    return lease === null ? null : this.#looks.expiresIn(look, lease);
  }
}

/** Returns the lease of the term that was seen in `look`. */
export function leaseIn(electionGroup: string, look: Look, { termId, heartbeatTimeout }: TermRecord): Lease {
  const acquiredAt = dateOf(look.acquireTime) ?? new Date(look.sinceWall);
  return { electionGroup, participantId: look.holder, termId, token: tokenOf(look), acquiredAt, heartbeatTimeout };
}

function dateOf(time: string | null): Date | null {
  const date = new Date(time ?? "");
  return Number.isNaN(date.getTime()) ? null : date;
}
