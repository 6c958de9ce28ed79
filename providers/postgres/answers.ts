/**
 * What the server's answers say about who leads, and about the server's clock.
 *
 * @module
 */

import { parseMetadata } from "../../src/call.ts";
import type { Clock } from "../../src/time/clock.ts";
import type { LeaderInfo, Lease } from "../../src/provider.ts";
import { LeaseEvidence } from "../kit/lease_evidence.ts";

/** Reads answers, and remembers what they testify. */
export class Answers {
  readonly #clock: Clock;
  readonly #evidence: LeaseEvidence;

  /** Measures with `clock`. */
  constructor(clock: Clock) {
    this.#clock = clock;
    this.#evidence = new LeaseEvidence(clock);
  }

  /** Prepares for an answer about `electionGroup`. */
  expect(electionGroup: string): Answer {
    return new Answer(this.#clock, this.#evidence, electionGroup);
  }

  /** The latest server time at which an expiry of our own lease counts, in ms since the epoch; null: at any. */
  latest({ electionGroup, heartbeatTimeout }: Lease): number | null {
    return this.#evidence.of(electionGroup, heartbeatTimeout).latest;
  }
}

/** One answer, from before its request goes out. */
class Answer {
  readonly #clock: Clock;
  readonly #evidence: LeaseEvidence;
  readonly #electionGroup: string;
  #sent: number;

  constructor(clock: Clock, evidence: LeaseEvidence, electionGroup: string) {
    this.#clock = clock;
    this.#evidence = evidence;
    this.#electionGroup = electionGroup;
    this.#sent = clock.monotonic();
  }

  /** Returns `values`, of a statement that goes out now. */
  values(values: unknown[]): unknown[] {
    this.#sent = this.#clock.monotonic();
    return values;
  }

  /** On what an `acquire` that goes out now is conditional: the version that has stood still, and the latest time that is believed. */
  evidence(heartbeatTimeout: number): unknown[] {
    const { stale, latest } = this.#evidence.of(this.#electionGroup, heartbeatTimeout);
    return this.values([stale, latest]);
  }

  /** Returns who holds the lease by a record, expired or not. What is left of it is 0 as soon as it may be taken over. */
  leader(record: readonly (string | null)[]): LeaderInfo | null {
    const group = this.#electionGroup;
    const [now, version = null, timeout, leaderId, termId, token, acquiredAt, heartbeatAt, metadata, left] = record;
    const expired = Number(left) <= 0;
    const seen = version === null ? null : { version, heartbeatTimeout: Number(timeout), expired };
    this.#evidence.note(group, seen, Number(now), this.#sent);
    if (seen === null) return null;
    return {
      leaderId: String(leaderId),
      termId: String(termId),
      token: BigInt(String(token)),
      leadershipAcquiredAt: new Date(Number(acquiredAt)),
      lastHeartbeat: new Date(Number(heartbeatAt)),
      metadata: parseMetadata(metadata),
      expiresIn: this.#evidence.expiresIn(group, Number(left)),
    };
  }
}
