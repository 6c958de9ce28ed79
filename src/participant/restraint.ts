/**
 * Why a participant holds back though the lease may be free: it cools down, it lets others lead first, or the lease was
 * released for somebody else.
 *
 * Nothing here is part of a safety argument. It only decides whether a look asks for the lease or reads who leads, and
 * the backend grants to one participant at a time whoever asks, and whenever.
 *
 * @module
 */

import type { ElectionConfig } from "../options.ts";
import type { LeaderInfo } from "../provider.ts";

/** The time for which others hold back, at least, after a lease was released for one participant. */
export const TRANSFER_HOLD_MS = 2_000;

/** The restraint of one participant. Every time is monotonic. */
export class Restraint {
  readonly #config: ElectionConfig;
  /** When it will have cooled down. */
  #coolUntil = -Infinity;
  /** When it first saw that nobody leads; null while somebody does, or while that is not known. */
  #freeSince: number | null = null;
  /** Until when the lease is left to the one for whom it was released. */
  #madeWayUntil = -Infinity;
  /** Until when the lease is this one's to take. */
  #invitedUntil = -Infinity;

  /** Makes the restraint of a participant that has seen nothing yet. */
  constructor(config: ElectionConfig) {
    this.#config = config;
  }

  /** The milliseconds for which not to ask for the lease. */
  get left(): number {
    return Math.max(this.#fixed, this.#delayLeft(this.#config.campaignDelay));
  }

  /** The milliseconds until it may ask, as far as that is known: while somebody leads, a delay has not begun. */
  get endsIn(): number {
    return Math.max(this.#fixed, this.#delayLeft(0));
  }

  /** Holds back for `ms`. */
  coolDown(ms: number): void {
    this.#coolUntil = Math.max(this.#coolUntil, this.#now + ms);
  }

  /** Takes note of the leader that a look found. */
  sees(leader: LeaderInfo | null): void {
    this.#freeSince = leader === null ? this.#freeSince ?? this.#now : null;
  }

  /**
   * Takes note that the lease was released for `participantId`. The answer of a look that was under way may name the
   * last leader after that, so only time ends this.
   */
  makeWay(participantId: string): void {
    const until = this.#now + TRANSFER_HOLD_MS;
    const isInvited = participantId === this.#config.participantId;
    this.#invitedUntil = isInvited ? until : -Infinity;
    this.#madeWayUntil = isInvited ? -Infinity : until;
  }

  /** Takes note that this one was granted the lease: what it held back for is over. */
  leads(): void {
    this.#freeSince = null;
    this.#madeWayUntil = this.#invitedUntil = -Infinity;
  }

  get #now(): number {
    return this.#config.clock.monotonic();
  }

  /** The part that does not depend on whether somebody leads. */
  get #fixed(): number {
    return Math.max(0, this.#coolUntil - this.#now, this.#madeWayUntil - this.#now);
  }

  /** The rest of `campaignDelay`; `unknown` while it is not known that nobody leads. */
  #delayLeft(unknown: number): number {
    const { campaignDelay } = this.#config;
    if (campaignDelay === 0 || this.#now < this.#invitedUntil) return 0;
    return this.#freeSince === null ? unknown : this.#freeSince + campaignDelay - this.#now;
  }
}
