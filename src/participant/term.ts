/**
 * One reign: a deadline that moves with each renewal, and a signal that says when to put down the work.
 *
 * @module
 */

import { type Clock, elapsedSince, type Instant } from "../time/clock.ts";
import { LeadershipLostError, type LostReason } from "../errors.ts";
import type { LeaderInfo, Lease } from "../provider.ts";

/** One reign of one participant. */
export interface Term {
  /** The election group. */
  readonly electionGroup: string;
  /** The participant that leads. */
  readonly participantId: string;
  /** A random UUID of this term alone. */
  readonly termId: string;
  /** The fencing token: larger than that of every earlier term. Hand it to every resource that the work writes to. */
  readonly token: bigint;
  /** When the backend granted the lease, by its own clock. */
  readonly acquiredAt: Date;
  /**
   * True while nobody else can lead: computed against the deadline on every read. It stays true while `work` drains
   * after `signal` aborted, until just before the lease is released.
   */
  readonly isValid: boolean;
  /** Milliseconds for which that holds without another renewal; 0 when it does not. */
  readonly remaining: number;
  /**
   * Aborts with a {@linkcode LeadershipLostError} when the term ends or is being given up, at the latest at the
   * deadline (on a machine that was suspended beyond it: within a second of its resuming).
   */
  readonly signal: AbortSignal;
  /** Returns if the term is valid. @throws {LeadershipLostError} if it is not */
  assertValid(): void;
}

/**
 * A {@linkcode Term} as the election sees it.
 *
 * Why nobody else can lead while `isValid`: the backend frees the lease no sooner than `heartbeatTimeout` on its own
 * clock after it granted or renewed it, which was after the request had been sent. Time is counted here from *before*
 * the request was sent, on a clock that runs at most `clockRateError` slower, and ends `safetyMargin` early
 * (`validFor`). The getter compares at the moment of the read, so no pause, however long, makes it true too late.
 */
export class LeaseTerm implements Term {
  /** The lease that it rests on. */
  readonly lease: Lease;
  readonly #clock: Clock;
  readonly #validFor: number;
  /** Made when somebody asks for the signal. */
  #controller: AbortController | null = null;
  #sent: Instant;
  #reason: LostReason | null = null;
  #ending: LeadershipLostError | null = null;
  #isOver = false;
  /** Made when somebody waits for the end. */
  #over: PromiseWithResolvers<void> | null = null;

  /** Begins the term of `lease`, the request for which was sent at `sent`; relied upon for `validFor` ms at a time. */
  constructor(lease: Lease, clock: Clock, sent: Instant, validFor: number) {
    this.lease = lease;
    this.#clock = clock;
    this.#sent = sent;
    this.#validFor = validFor;
  }

  get electionGroup(): string {
    return this.lease.electionGroup;
  }

  get participantId(): string {
    return this.lease.participantId;
  }

  get termId(): string {
    return this.lease.termId;
  }

  get token(): bigint {
    return this.lease.token;
  }

  get acquiredAt(): Date {
    return this.lease.acquiredAt;
  }

  get signal(): AbortSignal {
    if (this.#controller === null) {
      this.#controller = new AbortController();
      if (this.#ending !== null) this.#controller.abort(this.#ending);
    }
    return this.#controller.signal;
  }

  /** Resolves when the term is invalid for ever. */
  get over(): Promise<void> {
    if (this.#isOver) return Promise.resolve();
    return (this.#over ??= Promise.withResolvers()).promise;
  }

  get isValid(): boolean {
    return this.remaining > 0;
  }

  get remaining(): number {
    if (this.#isOver) return 0;
    return Math.max(0, this.#validFor - elapsedSince(this.#clock, this.#sent));
  }

  /** True once it is being given up, or over: its signal has aborted, its work may still be draining. */
  get ending(): boolean {
    return this.#ending !== null;
  }

  /** Why it is over, or why it is being given up as long as nothing worse comes of it; null while neither. */
  get reason(): LostReason | null {
    return this.#reason;
  }

  assertValid(): void {
    if (!this.isValid) throw new LeadershipLostError(this.electionGroup, this.#reason ?? "expired");
  }

  /** The leader that this term makes, with `metadata`, as others see it. */
  describe(metadata: Readonly<Record<string, string>>): LeaderInfo {
    const { participantId, termId, token, acquiredAt, heartbeatTimeout } = this.lease;
    return {
      leaderId: participantId,
      termId,
      token,
      leadershipAcquiredAt: acquiredAt,
      lastHeartbeat: new Date(this.#sent.wall),
      metadata,
      expiresIn: Math.max(0, heartbeatTimeout - elapsedSince(this.#clock, this.#sent)),
    };
  }

  /**
   * Moves the deadline: a renewal that was sent at `sent` has succeeded. The answer of an earlier one that comes later
   * moves nothing.
   */
  extend(sent: Instant): void {
    if (elapsedSince(this.#clock, sent) < elapsedSince(this.#clock, this.#sent)) this.#sent = sent;
  }

  /** Tells the work to stop, while the lease is still kept for it. */
  cancel(reason: LostReason): void {
    this.#reason = reason;
    // Of several reasons the signal has the first.
    this.#ending ??= new LeadershipLostError(this.electionGroup, reason);
    this.#controller?.abort(this.#ending);
  }

  /** Makes the term invalid, for ever. The reason that ended it first stays the reason. */
  end(reason: LostReason): void {
    if (this.#isOver) return;
    this.#isOver = true;
    this.cancel(reason);
    this.#over?.resolve();
  }
}
