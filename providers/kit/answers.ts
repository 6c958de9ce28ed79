/**
 * The meaning of the server's answers: who leads, and what time the server's clock shows.
 *
 * @module
 */

import { parseMetadata } from "../../src/call.ts";
import type { Clock } from "../../src/time/clock.ts";
import type { LeaderInfo, Lease } from "../../src/provider.ts";
import { type Evidence, LeaseEvidence } from "./lease_evidence.ts";

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

  /** The server times between which an expiry of our own lease counts, in ms since the epoch; null: at any. */
  bounds({ electionGroup, heartbeatTimeout }: Lease): Pick<Evidence, "earliest" | "latest"> {
    return this.#evidence.of(electionGroup, heartbeatTimeout);
  }

  /** Our monotonic clock, to be read before a request goes out whose answer only tells the time. */
  monotonic(): number {
    return this.#clock.monotonic();
  }

  /** Takes note of the server's clock, as the answer to a request of the time `sent` shows it. */
  noteTime(now: string | null | undefined, sent: number): void {
    this.#evidence.noteTime(Number(now), sent);
  }
}

/** One answer, from before its request goes out. */
export class Answer {
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

  /** On what an `acquire` that goes out now is conditional: what has stood still, and the times that are believed. */
  evidence(heartbeatTimeout: number): Evidence {
    this.#sent = this.#clock.monotonic();
    return this.#evidence.of(this.#electionGroup, heartbeatTimeout);
  }

  /**
   * Returns who holds the lease by a record, expired or not. What is left of it is 0 as soon as it may be taken over.
   */
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
