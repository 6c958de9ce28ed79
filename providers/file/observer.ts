/**
 * The knowledge of a group that a look gives: who holds its lease, and whether it is free. Nothing here writes.
 *
 * @module
 */

import { parseMetadata } from "../../src/call.ts";
import type { Clock } from "../../src/time/clock.ts";
import type { LeaderInfo, Renewed } from "../../src/provider.ts";
import { type GroupDirectory, releasedName, UNCONFIRMED } from "./directory.ts";
import { TELL_RENEWALS_BELOW_MS } from "../kit/hint_stream.ts";
import type { Processes } from "../kit/host_process.ts";
import type { Listing } from "./names.ts";
import type { Predecessor, TermRecord } from "./record.ts";

/** By how much the clock of an observer may run fast, as a fraction. On one host all share one, so this is generous. */
const CLOCK_RATE_ERROR = 0.001;
/** The time for which a record that cannot be read must stand still: it does not say for how long its lease is. */
const UNREADABLE_LEASE_MS = 60_000;
/** The number of times that a look may find that what it looked at has just been swept, before it gives up. */
const MAX_LOOKS = 10;

/** The part of a lease after which a glance looks whether it was renewed, and the longest such time in milliseconds. */
const GLANCES_A_LEASE = 6;
const MOST_GLANCE_MS = 1_000;

/** The highest record of a group, as it was seen. */
export interface Sight {
  /** Its number. */
  readonly number: bigint;
  /** Its record; null if it cannot be read. */
  readonly record: TermRecord | null;
  /** The metadata that hold now. */
  readonly metadata: Readonly<Record<string, string>>;
  /** When it was touched last, as its file says. For comparison with itself only. */
  readonly mtime: number;
  /** When this modification time was first seen: read *after* the answer came, so the last touch was earlier. */
  readonly since: number;
}

/** A sight, and the look that gave it. */
export interface Look extends Sight {
  /**
   * Read *before* the question went out: at least until then, nothing had been touched since {@linkcode Sight.since}.
   */
  readonly asOf: number;
  /** All names, read before the rest. */
  readonly listing: Listing;
}

/** One observer of one group. It remembers what it saw, in order to tell what stands still. */
export class Observer {
  readonly #directory: GroupDirectory;
  readonly #clock: Clock;
  readonly #processes: Processes;
  #seen: Sight | null = null;
  #highest = 0n;
  /** When the names were last read, and when the file of the term was last looked at. By the monotonic clock. */
  #lookedAt = -Infinity;
  #glancedAt = -Infinity;

  /** Makes an observer that has seen nothing yet. */
  constructor(directory: GroupDirectory, clock: Clock, processes: Processes) {
    this.#directory = directory;
    this.#clock = clock;
    this.#processes = processes;
  }

  /** The highest number it ever saw. If somebody removes the directory, those who lived through it go on from there. */
  get highest(): bigint {
    return this.#highest;
  }

  /** Looks for the highest record. Null if there is none. */
  async look(): Promise<Look | null> {
    for (let i = 0; i < MAX_LOOKS; i++) {
      const listing = await this.#directory.list();
      const number = listing.numbers.at(-1);
      if (number === undefined) return null;
      const asOf = this.#lookedAt = this.#glancedAt = this.#clock.monotonic();
      const mtime = await this.#directory.modified(String(number));
      // Swept between the two steps: then there is a higher one.
      if (mtime === null) continue;
      const sight = await this.#see(listing, number, mtime, this.#clock.monotonic());
      // Nothing to read there: if it has been swept meanwhile, that is no record that cannot be read.
      if (sight.record === null && await this.#directory.modified(String(number)) === null) continue;
      this.#seen = sight;
      if (number > this.#highest) this.#highest = number;
      return { ...sight, asOf, listing };
    }
    throw new Error("its terms change too fast to be read");
  }

  /**
   * Looks at what the last look has seen, and no further: null while there is nothing new, a renewal of a short lease,
   * or `look` where a whole look is called for, because the holder has died, the lease may be over, or the last look is
   * older than `mostMs`. Six times in a lease it looks at one file, and else at none but those of processes.
   */
  async glance(mostMs: number): Promise<Renewed | "look" | null> {
    const seen = this.#seen;
    const now = this.#clock.monotonic();
    if (seen === null || now - this.#lookedAt >= mostMs) return "look";
    const { number, record, mtime } = seen;
    if (record === null || mtime === UNCONFIRMED || await this.#isGone(record)) return "look";
    const lasts = record.heartbeatTimeout * (1 + CLOCK_RATE_ERROR);
    if (now - seen.since >= lasts) return "look";
    if (now - this.#glancedAt < Math.min(record.heartbeatTimeout / GLANCES_A_LEASE, MOST_GLANCE_MS)) return null;
    this.#glancedAt = now;
    const touched = await this.#directory.modified(String(number));
    if (touched === null) return "look";
    // Another look may have come first, and know better.
    if (touched === mtime || this.#seen !== seen) return null;
    this.#seen = { ...seen, mtime: touched, since: this.#clock.monotonic() };
    if (record.heartbeatTimeout >= TELL_RENEWALS_BELOW_MS) return null;
    return { termId: record.termId, lastHeartbeat: new Date(touched), expiresIn: lasts };
  }

  async #see(listing: Listing, number: bigint, mtime: number, now: number): Promise<Sight> {
    const seen = this.#seen?.number === number ? this.#seen : null;
    // The record never changes, and the unique name that it carries tells that it is the same.
    const same = seen?.record && listing.names.has(seen.record.beat) ? seen : null;
    if (same === null) await this.#directory.refuseLink();
    const record = same?.record ?? await this.#directory.record(String(number));
    const before = record === null && seen?.record === null ? seen : same;
    const since = before?.mtime === mtime ? before.since : now;
    if (record === null) return { number, record, metadata: {}, mtime, since };
    const replaced = listing.names.has(`${record.beat}.metadata`) ? await this.#directory.metadata(record.beat) : null;
    return { number, record, metadata: replaced === null ? record.metadata : parseMetadata(replaced), mtime, since };
  }

  /**
   * Notes that the file was touched from here, just now: as good as having seen it, and it saves waiting for oneself.
   */
  touched(beat: string, mtime: number): void {
    if (this.#seen?.record?.beat !== beat) return;
    this.#seen = { ...this.#seen, mtime, since: this.#clock.monotonic() };
  }

  /**
   * Returns what a claim on the lease could rest upon; null while the lease is held. `leaseMs` is how long a lease is
   * at least, where the record does not tell.
   *
   * A holder that released its lease, or is dead, renews it no more. But an unconfirmed record does not count as a
   * holder by itself: it may have been linked while its predecessor, renewed in the last moment, goes on leading.
   */
  async judge(look: Look, leaseMs = 0): Promise<Predecessor | null> {
    const { record, mtime, since, asOf, listing } = look;
    const number = String(look.number);
    if (record !== null && (listing.names.has(releasedName(record.beat)) || await this.#isGone(record))) {
      if (mtime !== UNCONFIRMED || await this.claimStands(look)) return { number, mtime: null, leaseMs: 0 };
    }
    const lasts = record === null ? Math.max(leaseMs, UNREADABLE_LEASE_MS) : lastsFor(record, mtime);
    return asOf - since >= lasts * (1 + CLOCK_RATE_ERROR) ? { number, mtime, leaseMs: lasts } : null;
  }

  /**
   * Returns whether the claim of `look`, which nobody has confirmed, is good: its number follows the term that it was
   * judged to follow, and that term, if the claim rests upon its standing still, has not been touched since.
   *
   * Why this is safe: `look` saw the number linked. A touch of the predecessor before now would show; a touch from now
   * on is followed by a look that finds our number, and so says "lost". The answer is thus true whoever asks: the claim
   * of a process that died before it could confirm is judged by others in the same way.
   */
  async claimStands({ record, listing }: Look): Promise<boolean> {
    if (record === null) return false;
    const { after } = record;
    // Another number in between comes from a process that had not seen ours, after somebody removed the directory.
    if (String(listing.numbers.at(-2) ?? 0n) !== after.number) return false;
    return after.mtime === null || await this.#directory.modified(after.number) === after.mtime;
  }

  /** Returns the leader that `look` shows; null if its lease is free, or was not granted. */
  async leader(look: Look): Promise<LeaderInfo | null> {
    return await this.judge(look) === null ? await this.holder(look) : null;
  }

  /**
   * Describes whose record it is that stands in the way; null if its claim does not stand, and so was granted to
   * nobody.
   */
  async holder(look: Look): Promise<LeaderInfo | null> {
    if (look.mtime === UNCONFIRMED && look.record !== null && !(await this.claimStands(look))) return null;
    return this.#describe(look);
  }

  /** Returns whether all who act for the holder are certainly dead. */
  async #isGone({ holder, heldBy = [] }: TermRecord): Promise<boolean> {
    if (holder === null) return false;
    for (const each of [holder, ...heldBy]) if (!(await this.#processes.isDead(each))) return false;
    return true;
  }

  #describe({ number, record, metadata, mtime, since }: Sight): LeaderInfo {
    if (record === null) {
      throw new Error(
        `${this.#directory.pathOf(String(number))} is not a record of this group; ` +
          `it counts as held until it has been seen to stand still for ${UNREADABLE_LEASE_MS / 1_000} s`,
      );
    }
    return {
      leaderId: record.participantId,
      termId: record.termId,
      token: number,
      leadershipAcquiredAt: new Date(record.acquiredAt),
      lastHeartbeat: mtime === UNCONFIRMED ? null : new Date(mtime),
      metadata,
      expiresIn: Math.max(1, since + lastsFor(record, mtime) * (1 + CLOCK_RATE_ERROR) - this.#clock.monotonic()),
    };
  }

  /**
   * Returns a text that changes when a waiting participant should look again: when a term begins, and when a lease
   * becomes free. The third word, if there is one, is the participant that it was released for.
   */
  async state(): Promise<string> {
    const look = await this.look();
    if (look === null) return "";
    const isFree = await this.judge(look) !== null;
    return `${look.number} ${isFree} ${isFree ? look.metadata[TRANSFER_TO] ?? "" : ""}`.trimEnd();
  }
}

/** The entry of the metadata of a released term that names who is to lead next. No key of anybody else's is empty. */
export const TRANSFER_TO = "";

/**
 * Returns how long a record must stand still before others may pass over it, in milliseconds.
 *
 * An unconfirmed one stands for its predecessor too, which may have been renewed just before the claim was linked: that
 * term, whose lease may be longer, is over a whole lease of its own after the link at the latest.
 */
function lastsFor({ heartbeatTimeout, after }: TermRecord, mtime: number): number {
  if (mtime !== UNCONFIRMED) return heartbeatTimeout;
  return Math.max(heartbeatTimeout, after.leaseMs ?? UNREADABLE_LEASE_MS);
}
