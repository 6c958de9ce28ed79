/**
 * The evidence of a process about leases whose expiry a server's wall clock decides: that the clock was stepped, and
 * that a record has stood still for a whole lease.
 *
 * @module
 */

import type { Clock } from "../../src/time/clock.ts";

/** How much faster than the holder's clock the observer's may run, as a fraction. */
export const CLOCK_RATE_ERROR = 0.001;

/**
 * How much later than foreseen a server's clock may be, as a fraction of the lease, and still be believed. A smaller
 * step ends a lease early by less than the holder's safety margin, which is twice that by default.
 */
const TOLERANCE = 1 / 20;

/** A record of a term as an answer showed it. */
export interface SeenRecord {
  /**
   * A mark that changes with every write of the record: never a time, which may come twice when a clock is set back.
   */
  readonly version: string;
  /** The holder's lease, in milliseconds. */
  readonly heartbeatTimeout: number;
  /** True if the lease has expired by the server's clock as the answer shows it. @default false */
  readonly expired?: boolean;
}

/** On what a take-over is conditional, beside the term that it sees in the record. */
export interface Evidence {
  /**
   * The version that has stood still for a whole lease, or that was seen expired by a clock that is believed: a record
   * that still has it may be taken over whatever the time is.
   */
  readonly stale: string | null;
  /** The latest server time, in ms since the epoch, at which an expiry by the server's clock counts; null: at any. */
  readonly latest: number | null;
}

interface Standing extends SeenRecord {
  /** When this version was first seen, by the monotonic clock. */
  readonly since: number;
  /** True once an answer showed it expired, by a clock that was believed then. */
  readonly isOver: boolean;
}

/**
 * Bounds what a step of the server's clock can do. It keeps no timers and does no I/O.
 *
 * **Backwards.** The expiry in a record then lies hours ahead, and a dead leader would block its group. A record that
 * this process has seen stand still for `heartbeatTimeout * (1 + CLOCK_RATE_ERROR)` may be taken over. Safe: a renewal
 * changes the version, so the last one was *sent* before the version was first seen; the holder counts its time from
 * then, and less of it. The write is conditional on the version, so a renewal in between makes it fail.
 *
 * **Forwards.** The server then ends leases early. Between two answers the server's clock can have advanced by no more
 * than the monotonic time from before the first request to now. A clock that is later than that by more than a
 * tolerance was stepped (or is another server's clock, after a failover), and for one lease from then on only a
 * standstill counts: after that, every lease that was granted by the old clock has ended or been renewed by the new
 * one. A process that has never asked the server cannot know, and believes it.
 */
export class LeaseEvidence {
  readonly #clock: Clock;
  readonly #records = new Map<string, Standing>();
  /** The last answer: what the server's clock showed, and our own before the request went out. */
  #anchor: { readonly server: number; readonly sent: number } | null = null;
  /** When a step was seen. */
  #steppedAt = -Infinity;
  /** The shortest lease that was asked for or seen: the one that a step hurts first. */
  #shortest = Infinity;

  /** Measures with `clock`. */
  constructor(clock: Clock) {
    this.#clock = clock;
  }

  /**
   * Takes note of an answer.
   *
   * @param electionGroup the group that was asked about
   * @param record the record of the term that holds it, expired or not; null where none does
   * @param serverMs the server's clock as the answer shows it
   * @param sent the monotonic clock before the request went out
   */
  note(electionGroup: string, record: SeenRecord | null, serverMs: number, sent: number): void {
    const now = this.#clock.monotonic();
    if (record !== null) this.#shortest = Math.min(this.#shortest, record.heartbeatTimeout);
    if (this.#anchor !== null && serverMs > this.#foreseen(this.#anchor, now)) this.#steppedAt = now;
    this.#anchor = { server: serverMs, sent };
    if (record === null) {
      this.#records.delete(electionGroup);
      return;
    }
    const earlier = this.#records.get(electionGroup);
    const same = earlier?.version === record.version ? earlier : null;
    // An answer is judged when it comes, so that a slow one is not taken for a step. `latest` cannot do that: it is
    // fixed when the request goes out, and a take-over that travels for long is refused; this lets the next one
    // through.
    const isOver = record.expired === true && !this.#distrusts(record.heartbeatTimeout, now);
    this.#records.set(electionGroup, { ...record, since: same?.since ?? now, isOver: isOver || same?.isOver === true });
  }

  /** Returns what the next `acquire` of the group may rely on; `heartbeatTimeout` is the lease that it asks for. */
  of(electionGroup: string, heartbeatTimeout: number): Evidence {
    const now = this.#clock.monotonic();
    this.#shortest = Math.min(this.#shortest, heartbeatTimeout);
    const standing = this.#records.get(electionGroup);
    const isStale = standing !== undefined && (standing.isOver || now - standing.since >= whole(standing));
    const stale = isStale ? standing.version : null;
    if (this.#anchor === null) return { stale, latest: null };
    if (this.#distrusts(standing?.heartbeatTimeout ?? heartbeatTimeout, now)) return { stale, latest: -Infinity };
    return { stale, latest: this.#foreseen(this.#anchor, now) };
  }

  /**
   * Returns in how many milliseconds the lease of the group can be taken over, given that the server says `byServer`:
   * never longer than a lease, and not sooner than a standstill while the server's clock is not believed.
   */
  expiresIn(electionGroup: string, byServer: number): number {
    const standing = this.#records.get(electionGroup);
    if (standing === undefined) return Math.max(byServer, 0);
    if (standing.isOver) return 0;
    const now = this.#clock.monotonic();
    const still = Math.max(standing.since + whole(standing) - now, 0);
    return this.#distrusts(standing.heartbeatTimeout, now) ? still : Math.min(Math.max(byServer, 0), still);
  }

  /** Returns true if the server's clock was stepped less than a lease ago. */
  #distrusts(heartbeatTimeout: number, now: number): boolean {
    return now - this.#steppedAt < heartbeatTimeout * (1 + CLOCK_RATE_ERROR);
  }

  /** The latest that the server's clock is believed to show at `now`. */
  #foreseen(anchor: { readonly server: number; readonly sent: number }, now: number): number {
    const tolerance = Number.isFinite(this.#shortest) ? this.#shortest * TOLERANCE : 0;
    return anchor.server + (now - anchor.sent) * (1 + CLOCK_RATE_ERROR) + tolerance;
  }
}

function whole({ heartbeatTimeout }: SeenRecord): number {
  return heartbeatTimeout * (1 + CLOCK_RATE_ERROR);
}
