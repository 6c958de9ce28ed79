/**
 * Decides when a follower looks at the backend: after a hint, when the lease can expire, or when it has not looked for
 * long.
 *
 * **Hints never decide.** A hint brings a look forward, or, where it names a leader, puts one off that the lease would
 * have called for; it grants nothing. Every leader is granted its lease by an `acquire` of its own, so a hint that is
 * late, lost, repeated or forged costs a look or a delay. The delay is bounded: after `electionInterval`, or
 * `heartbeatTimeout` if that is longer, the backend itself is asked, whatever was heard since.
 *
 * @module
 */

import { backoff, jittered } from "../time/backoff.ts";
import type { BoundedProvider } from "./bounded_provider.ts";
import type { ElectionConfig } from "../options.ts";
import type { Hint, LeaderInfo } from "../provider.ts";
import { type Occupant, Room } from "./room.ts";
import { hintDelay, Rivals } from "./spread.ts";
import type { QueuedTimer } from "../time/timer_queue.ts";

/** The time over which followers spread that wait for the same lease to expire. */
const EXPIRY_SPREAD_MS = 100;
/** The shortest time between two looks that hints call for: a stream that never rests must not be a busy loop. */
const HINT_GAP_MS = 10;
/** A stream that breaks is likely to break for many at once: a server has ended, say. */
const GAP: Hint = { waiting: 64 };

/** The part of a campaign that its lookout needs. */
export interface LookoutEvents {
  /** A stream of hints has failed; it will be opened again. */
  broken(error: unknown): void;
  /** The leader as it was last seen, expired or not. */
  seen(): LeaderInfo | null;
  /**
   * Somebody says that `leader` leads. Returns the milliseconds until the next look; null where only a look of one's
   * own will do, as planned.
   */
  told(leader: LeaderInfo): number | null;
  /** The lease was released for the participant `to`. A look follows. */
  transferred(to: string): void;
}

/** The waiting of one participant between two looks. */
export class Lookout implements Occupant {
  readonly #config: ElectionConfig;
  readonly #provider: BoundedProvider;
  readonly #events: LookoutEvents;
  /** Made for the first wait: who leads at once needs none. */
  #timer: QueuedTimer | null = null;
  readonly #rivals = new Rivals();
  #resume: (() => void) | null = null;
  /** The hint that was heard and has led to nothing yet. */
  #heard: Hint | null = null;
  /** Where it waits; null while it does not. */
  #room: Room | null = null;
  /** True if the runtime has had a turn since the timer of a hint. */
  #hasReadNews = false;
  #live = false;
  #following: AbortController | null = null;
  #vacantLooks = 0;
  /** The monotonic times of the next look, of the last one that a hint called for, and of the latest that may be. */
  #lookAt = 0;
  #hintedAt = -Infinity;
  #lookBy = 0;
  /** When the last look began, by the same clock, and how long it took. */
  #askedAt: number;
  #lookMs = 0;
  /** The term that held the lease before the look that a hint has called for; undefined if none has. */
  #before: string | null | undefined;

  /** Makes a lookout. */
  constructor(config: ElectionConfig, provider: BoundedProvider, events: LookoutEvents) {
    this.#config = config;
    this.#provider = provider;
    this.#events = events;
    this.#askedAt = config.clock.monotonic();
  }

  /** Returns the milliseconds after which the group is to be looked at again, having just seen `leader`. */
  delayAfter(leader: LeaderInfo | null): number {
    const { random, electionInterval, heartbeatTimeout } = this.#config;
    const interval = jittered(electionInterval, random);
    // Nobody leads, so somebody soon will, without a hint: look again quickly at first, then ever more slowly.
    if (leader === null) return Math.min(interval, backoff(this.#vacantLooks++, this.#config));
    this.#vacantLooks = 0;
    const spread = random() * this.#spread;
    const expiry = leader.expiresIn === null ? Infinity : Math.max(leader.expiresIn, 1) + spread;
    if (!this.#live) return Math.min(expiry, interval);
    // While hints arrive, nothing but an expiry can go unnoticed, so there is no need to look before that. Where only
    // the backend knows of it, it is a hint too.
    return leader.expiresIn === null ? this.#longest + spread : Math.min(expiry, heartbeatTimeout + spread);
  }

  /** Takes note of what a look of one's own has found, and tells those who wait beside us. */
  looked(leader: LeaderInfo | null, isOurs = false): void {
    const now = this.#now;
    this.#lookMs = now - this.#askedAt;
    this.#believeFrom(now);
    if (leader === null) return;
    // After a hint, a term that was not there before: somebody was faster, if it is not ours.
    if (this.#before !== undefined && this.#before !== leader.termId) this.#rivals.note(isOurs);
    Room.find(this.#provider.target, this.#config.electionGroup)?.tell(leader, now);
  }

  /** Tells those who wait beside us that our lease is free again. Where there is no watch, nobody else does. */
  freed(transferTo?: string): void {
    Room.find(this.#provider.target, this.#config.electionGroup)?.invite(transferTo);
  }

  /**
   * Waits `delayMs`, or less if a hint comes, also one that came since the last wait. Returns at once when `signal`
   * aborts.
   */
  async wait(delayMs: number, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    const woken = new Promise<void>((resolve) => this.#resume = resolve);
    const { room, leave } = Room.enter(this.#provider.target, this.#config.electionGroup, this);
    this.#room = room;
    this.#before = undefined;
    this.#set(delayMs);
    const heard = this.#heard;
    this.#heard = null;
    if (heard !== null) this.#hear(heard);
    const wake = () => this.#wake();
    signal.addEventListener("abort", wake, { once: true });
    await woken;
    signal.removeEventListener("abort", wake);
    leave();
    this.#room = null;
    this.#heard = null;
  }

  /** Ends the wait now. */
  interrupt(): void {
    this.#wake();
  }

  /** Listens for hints from now on, if the provider has any. */
  follow(): void {
    if (this.#following !== null) return;
    this.#following = new AbortController();
    void this.#follow(this.#following.signal);
  }

  /** Stops listening for hints. */
  unfollow(): void {
    this.#following?.abort();
    this.#following = null;
    this.#live = false;
  }

  /** Ends the present wait, or the next one, within the spread of `hint`. */
  hint(hint: Hint = {}): void {
    // The first hint decides: those that come during its spread lead to the same look.
    if (this.#heard !== null && this.#heard.leader === undefined) return;
    this.#heard = hint;
    if (this.#room === null) return;
    // The one that the lease was released for has no rivals.
    const isInvited = hint.transferTo === this.#config.participantId;
    const clients = isInvited ? 1 : hint.waiting ?? this.#rivals.count;
    const gap = this.#hintedAt + HINT_GAP_MS - this.#now;
    const delayMs = Math.max(hintDelay(clients, this.#lookMs, this.#room.queue(this), this.#config.random), gap);
    this.#set(Math.min(delayMs, this.#lookAt - this.#now));
  }

  /** See {@linkcode Occupant.tell}: what another one has seen is as good as a look of one's own. */
  tell(leader: LeaderInfo): void {
    const lookBy = this.#lookBy;
    this.#believeFrom(this.#now);
    if (!this.#told(leader)) this.#lookBy = lookBy;
  }

  /** See {@linkcode Occupant.invite}. */
  invite(transferTo?: string): void {
    this.#hear({ waiting: 1, transferTo });
  }

  /** Never rejects. A watch that ignores its signal is left behind: it can do no more than hold its own promise. */
  async #follow(signal: AbortSignal): Promise<void> {
    for (let failures = 0; !signal.aborted; failures++) {
      const opened = this.#config.clock.monotonic();
      try {
        const hints = this.#provider.watch(signal);
        if (hints === undefined) return;
        for await (const hint of hints) {
          if (signal.aborted) return;
          this.#live = true;
          this.#hear(hint ?? {});
        }
      } catch (error) {
        if (!signal.aborted) this.#events.broken(error);
      }
      if (signal.aborted) return;
      this.#live = false;
      // A stream that breaks as soon as it is live is no success, or it would be opened again and again without a
      // pause.
      if (this.#config.clock.monotonic() - opened >= this.#config.retryMaxDelay) failures = 0;
      // Polling at the interval stood still while hints came; it must not wait for the end of that long wait.
      this.hint(GAP);
      await this.#provider.queue.pause(backoff(failures, this.#config), signal);
    }
  }

  #hear(hint: Hint): void {
    const seen = this.#events.seen();
    const { renewed, transferTo } = hint;
    if (typeof transferTo === "string") this.#events.transferred(transferTo);
    if (renewed !== undefined && renewed.termId === seen?.termId) {
      // A hint that the lease is free came before; the look that it calls for stands.
      if (this.#heard === null) this.#told({ ...seen, ...renewed });
    } else if (hint.leader === undefined || renewed !== undefined) this.hint(hint);
    // A look is under way; its answer comes first.
    else if (this.#room === null) this.#heard = hint;
    else this.#told(hint.leader);
  }

  /** Puts off the next look, because somebody says that `leader` leads. Returns whether it could. */
  #told(leader: LeaderInfo): boolean {
    const room = this.#room;
    // The news of a term before the one that was seen are old: tokens grow.
    if (room === null || leader.token < (this.#events.seen()?.token ?? 0n)) return false;
    const delayMs = this.#events.told(leader);
    if (delayMs === null) return false;
    room.unqueue(this);
    this.#heard = null;
    this.#set(Math.max(Math.min(delayMs, this.#lookBy - this.#now), 0));
    return true;
  }

  /** The backend was asked at the monotonic time `now`: for so long others may be believed. */
  #believeFrom(now: number): void {
    this.#lookBy = now + this.#longest + this.#config.random() * this.#spread;
  }

  /** The longest time without asking the backend, while hints arrive, in milliseconds. */
  get #longest(): number {
    return Math.max(this.#config.electionInterval, this.#config.heartbeatTimeout);
  }

  /** The time over which those who wait for the same moment spread, in milliseconds. */
  get #spread(): number {
    return Math.min(EXPIRY_SPREAD_MS, this.#config.heartbeatTimeout / 10);
  }

  /** Looks in `delayMs`: at once, without a timer, if that is now. */
  #set(delayMs: number): void {
    this.#lookAt = this.#now + delayMs;
    this.#hasReadNews = false;
    this.#timer ??= this.#provider.queue.timer(() => this.#due());
    if (delayMs > 0 || this.#heard === null) this.#timer.set(delayMs);
    else this.#wake();
  }

  /**
   * Looks, but after a hint only in the runtime's next turn: a process that was held up has the news of the winner in
   * its sockets, and reads them before it sends a look that is late anyway.
   */
  #due(): void {
    if (this.#heard === null || this.#hasReadNews) return this.#wake();
    this.#hasReadNews = true;
    this.#timer?.set(0);
  }

  #wake(): void {
    this.#timer?.clear();
    this.#askedAt = this.#now;
    if (this.#heard !== null) {
      this.#hintedAt = this.#now;
      this.#before = this.#events.seen()?.termId ?? null;
    }
    this.#resume?.();
    this.#resume = null;
  }

  get #now(): number {
    return this.#config.clock.monotonic();
  }
}
