/**
 * The evidence of a process about leases whose expiry a server's wall clock decides: that the clock was stepped, and
 * that a record has stood still for a whole lease.
 *
 * @module
 */

import type { Clock } from "../../src/time/clock.ts";

/** The rate by which the observer's clock may run faster than the holder's, as a fraction. */
export const CLOCK_RATE_ERROR = 0.001;

/**
 * The error of a server's clock that is still believed, as a fraction of the lease, later or earlier than foreseen. A
 * smaller step ends a lease early by less than the holder's safety margin, which is twice that by default.
 */
const TOLERANCE = 1 / 20;
/**
 * The error that is always believed, in milliseconds: a server may give its time in whole ones, and a clock be read a
 * little off.
 */
const ROUNDING = 2;

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
  /**
   * The earliest server time, in ms since the epoch, at which an expiry by the server's clock counts; null: at any.
   * Below it the clock was set back, and a later step forwards may have brought the expiry about.
   */
  readonly earliest: number | null;
  /** The latest such time; null: at any. Where it is `-Infinity`, an expiry counts at no time. */
  readonly latest: number | null;
}

/** An answer: what the server's clock showed, and our own before the request went out and when the answer was noted. */
interface Anchor {
  readonly server: number;
  readonly sent: number;
  readonly answered: number;
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
 *
 * **Back, then forwards.** A leader that renews after a step back holds a lease by the new clock, and a small step
 * forwards ends it early, far below the upper bound of those who last asked before the step back. So the clock is
 * bounded from below, too: it has advanced by no less than the monotonic time from when the last answer was noted to
 * before the next request, and what is earlier by more than the tolerance was stepped. An expiry counts between the
 * bounds only: then the steps since the last answer add up to no more than the tolerance and the time that answers
 * travelled. Safe, unless two steps cancel out between two answers: a lease that was renewed between them ends early
 * by the second. The more often a process asks, the less room is there for that; so each answer that tells the time
 * is noted, also a leader's renewals.
 */
export class LeaseEvidence {
  readonly #clock: Clock;
  readonly #records = new Map<string, Standing>();
  /** The last answer. */
  #anchor: Anchor | null = null;
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
    if (record !== null) this.#shortest = Math.min(this.#shortest, record.heartbeatTimeout);
    const now = this.noteTime(serverMs, sent);
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

  /**
   * Takes note of the server's clock alone, in an answer that shows no record: a renewal's.
   *
   * @param serverMs the server's clock as the answer shows it
   * @param sent the monotonic clock before the request went out
   * @returns the monotonic clock now
   */
  noteTime(serverMs: number, sent: number): number {
    const now = this.#clock.monotonic();
    // The server read its clock at some time from `sent` to `now`: a slow answer is no step.
    if (this.#anchor !== null) {
      const isStepped = serverMs > this.#latest(this.#anchor, now) || serverMs < this.#earliest(this.#anchor, sent);
      if (isStepped) this.#steppedAt = now;
    }
    this.#anchor = { server: serverMs, sent, answered: now };
    return now;
  }

  /** Returns what the next `acquire` of the group may rely on; `heartbeatTimeout` is the lease that it asks for. */
  of(electionGroup: string, heartbeatTimeout: number): Evidence {
    const now = this.#clock.monotonic();
    this.#shortest = Math.min(this.#shortest, heartbeatTimeout);
    const standing = this.#records.get(electionGroup);
    const isStale = standing !== undefined && (standing.isOver || now - standing.since >= whole(standing));
    const stale = isStale ? standing.version : null;
    if (this.#anchor === null) return { stale, earliest: null, latest: null };
    const isDistrusted = this.#distrusts(standing?.heartbeatTimeout ?? heartbeatTimeout, now);
    if (isDistrusted) return { stale, earliest: -Infinity, latest: -Infinity };
    return { stale, earliest: this.#earliest(this.#anchor, now), latest: this.#latest(this.#anchor, now) };
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

  /** The latest that the server's clock is believed to show at `now`: as if the last answer showed it when `sent`. */
  #latest({ server, sent }: Anchor, now: number): number {
    return server + (now - sent) * (1 + CLOCK_RATE_ERROR) + this.#tolerance();
  }

  /**
   * The earliest that it is believed to show to a request that goes out at `sent`: as if it was read when the last
   * answer was noted. Of two requests that overlap, the server may have carried out first the one that is noted
   * later; `passed` is negative then.
   */
  #earliest({ server, answered }: Anchor, sent: number): number {
    const passed = sent - answered;
    return server + passed - Math.abs(passed) * CLOCK_RATE_ERROR - this.#tolerance();
  }

  #tolerance(): number {
    return Number.isFinite(this.#shortest) ? Math.max(this.#shortest * TOLERANCE, ROUNDING) : ROUNDING;
  }
}

function whole({ heartbeatTimeout }: SeenRecord): number {
  return heartbeatTimeout * (1 + CLOCK_RATE_ERROR);
}
