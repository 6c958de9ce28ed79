/**
 * The sightings of this process, of records and of the server's clock, and what follows from it.
 *
 * @module
 */

import type { Clock } from "../../src/time/clock.ts";
import type { LeaderInfo } from "../../src/provider.ts";
import { LeaseEvidence } from "../kit/lease_evidence.ts";
import { millisecondsOf, recordOf } from "./answers.ts";
import type { Pace } from "./pace.ts";

/**
 * Keeps the evidence about leases. Against one server all groups testify to its clock; in a cluster each for itself.
 */
export class Sightings {
  readonly #clock: Clock;
  readonly #pace: Pace;
  readonly #shared: LeaseEvidence | null;
  readonly #byGroup = new Map<string, LeaseEvidence>();

  /** In a cluster a group's server, and so the clock, is another one than the next group's. */
  constructor(clock: Clock, pace: Pace, isCluster: boolean) {
    this.#clock = clock;
    this.#pace = pace;
    this.#shared = isCluster ? null : new LeaseEvidence(clock);
  }

  /** Returns what an `acquire` may rely on, as the script takes it. */
  evidence(
    electionGroup: string,
    heartbeatTimeout: number,
  ): readonly [stale: string, earliest: string, latest: string] {
    const { stale, earliest, latest } = this.#of(electionGroup).of(electionGroup, heartbeatTimeout);
    return [stale ?? "", microsecondsOf(earliest), microsecondsOf(latest)];
  }

  /**
   * Takes note of an answer, and returns the leader in it: null if it has no record.
   *
   * @param stamp the server's clock, in microseconds
   * @param fields the record as the scripts answer it; empty without one
   * @param sentAt our monotonic clock before the question went out
   */
  see(electionGroup: string, stamp: unknown, fields: readonly unknown[], sentAt: number): LeaderInfo | null {
    const serverMs = millisecondsOf(stamp);
    const evidence = this.#of(electionGroup);
    if (fields.length === 0) {
      evidence.note(electionGroup, null, serverMs, sentAt);
      return null;
    }
    const { leader, version, heartbeatTimeout, expiresInMs } = recordOf(fields, serverMs);
    this.#pace.note(heartbeatTimeout);
    evidence.note(electionGroup, { version, heartbeatTimeout, expired: expiresInMs <= 0 }, serverMs, sentAt);
    // A record that can be taken over in this very moment is worth another look, and not one without rest.
    return { ...leader, expiresIn: Math.max(evidence.expiresIn(electionGroup, expiresInMs), 1) };
  }

  /** True if the record that was seen last may be taken over. */
  isFree(electionGroup: string): boolean {
    return this.#of(electionGroup).of(electionGroup, Infinity).stale !== null;
  }

  /** True if the server's clock was stepped less than a lease ago; without a lease, ever. */
  distrusts(electionGroup: string, heartbeatTimeout = Infinity): boolean {
    return this.#of(electionGroup).of(electionGroup, heartbeatTimeout).latest === -Infinity;
  }

  #of(electionGroup: string): LeaseEvidence {
    if (this.#shared !== null) return this.#shared;
    let evidence = this.#byGroup.get(electionGroup);
    if (evidence === undefined) this.#byGroup.set(electionGroup, evidence = new LeaseEvidence(this.#clock));
    return evidence;
  }
}

/** A bound of the server's time as the script takes it: empty for none, before all times where nothing is believed. */
function microsecondsOf(milliseconds: number | null): string {
  if (milliseconds === null) return "";
  return milliseconds === -Infinity ? "-1" : String(Math.floor(milliseconds * 1_000));
}
