/**
 * The protocol of the leases of one group. The arguments stand at the steps; what they rest upon:
 *
 * 1. A number names one term: `link` gives it to one of all who try, and nothing ever replaces the file.
 * 2. Every touch sets a modification time that the record never had, whatever the clock does. So a record that shows the
 *    same one twice was not touched in between.
 * 3. The highest number that was granted is never removed, and files are removed in ascending order only. A claim that comes
 *    so late that its number has been used and removed finds a higher one.
 * 4. A renewal touches and *then* looks for a higher number. A claim links a higher number and *then* looks whether its
 *    predecessor was touched. Each writes before it looks, so of two that cross at least one sees the other.
 *
 * @module
 */

import type { Clock } from "../../src/clock.ts";
import type { Acquired, AcquireRequest, Held, LeaderInfo, Lease } from "../../src/provider.ts";
import { type Files, GroupDirectory, releasedName, UNCONFIRMED } from "./directory.ts";
import { ownHolder } from "./host.ts";
import { type Look, Observer } from "./observer.ts";
import type { Predecessor, TermRecord } from "./record.ts";

/** A lease that was granted here. */
interface Holding {
  readonly termId: string;
  readonly number: bigint;
  readonly beat: string;
  /** The last modification time that was asked for. */
  mtime: number;
  /** Read before the last touch was asked for. */
  touchedAt: number;
}

/** How often a term that asks again may find that what it had is over, before it gives up. */
const MAX_ATTEMPTS = 10;

/** What follows nobody. */
const NOBODY: Predecessor = { number: "0", mtime: null };

/** One group, as one provider takes part in it. Every method stops before its next step when its signal aborts. */
export class Group {
  readonly #directory: GroupDirectory;
  readonly #clock: Clock;
  readonly #observer: Observer;
  #holding: Holding | null = null;

  /** Makes the group, without I/O. */
  constructor(root: string, name: string, clock: Clock, files: Files) {
    this.#directory = new GroupDirectory(root, name, files);
    this.#clock = clock;
    this.#observer = new Observer(this.#directory, clock);
  }

  /** See {@linkcode Provider.acquire}. */
  async acquire(request: AcquireRequest, signal: AbortSignal): Promise<Acquired | Held> {
    const askedAt = this.#clock.monotonic();
    for (let attempt = 0; attempt < MAX_ATTEMPTS; attempt++) {
      // Before the look: what another call learns meanwhile must not pass for what this one has looked at.
      const known = this.#observer.highest;
      let look = await this.#observer.look();
      const after = look === null ? NOBODY : await this.#observer.judge(look, request.heartbeatTimeout);
      if (after !== null) {
        const number = (look !== null && look.number > known ? look.number : known) + 1n;
        await this.#claim(request, number, after, signal);
        // Won, lost, or done by an earlier call whose answer was lost: the directory knows.
        look = await this.#observer.look();
      }
      if (look === null) return { acquired: false, leader: null };
      if (look.record?.termId !== request.termId) return { acquired: false, leader: await this.#observer.holder(look) };
      const lease = leaseOf(look.record, look.number);
      if (look.mtime === UNCONFIRMED) {
        const granted = await this.#confirm(look, look.record, askedAt, signal);
        return granted ? { acquired: true, lease } : { acquired: false, leader: null };
      }
      if (await this.renew(lease, request.metadata, signal) === "renewed") return { acquired: true, lease };
      // What it had is over, since it expired or was evicted. The term begins anew, under the next number.
      signal.throwIfAborted();
    }
    throw new Error("its term is ended again and again");
  }

  /** See {@linkcode Provider.renew}. */
  async renew(
    lease: Lease,
    metadata: Readonly<Record<string, string>> | undefined,
    signal: AbortSignal,
  ): Promise<"renewed" | "lost"> {
    const askedAt = this.#clock.monotonic();
    const holding = await this.#holdingOf(lease, askedAt);
    if (holding === null) return "lost";
    const { beat, number } = holding;
    signal.throwIfAborted();
    // An expired lease is gone, also if nobody took it over: somebody may have been told so. Its holder stopped leading before.
    // The mark makes that true for a heartbeat of ours that is still on its way, and spares the others the wait.
    if (askedAt - holding.touchedAt >= lease.heartbeatTimeout) {
      if ((await this.#directory.list()).numbers.at(-1) === number) await this.#end(beat);
      return "lost";
    }
    if (metadata && !(await this.#directory.replaceMetadata(beat, JSON.stringify(metadata), signal))) return "lost";
    signal.throwIfAborted();
    // 1. Write. Whoever judged this term to stand still, and has not linked a higher number yet, will see this after
    //    linking, and withdraw.
    if (!(await this.#touch(holding))) return "lost";
    // 2. Look. Whoever linked a higher number before our touch, shows here; so does whoever evicted us.
    const { numbers, names } = await this.#directory.list();
    if (numbers.at(-1) !== number || names.has(releasedName(beat))) return "lost";
    // 3. A higher number can have come and gone while the directory was being read, but only after our file had gone.
    if (await this.#directory.modified(beat) === null) return "lost";
    holding.touchedAt = Math.max(holding.touchedAt, askedAt);
    return "renewed";
  }

  /** See {@linkcode Provider.release}. */
  async release(termId: string, signal: AbortSignal): Promise<"released" | "notHolder"> {
    const look = await this.#observer.look();
    if (look?.record?.termId !== termId || await this.#observer.judge(look) !== null) return "notHolder";
    signal.throwIfAborted();
    return await this.#end(look.record.beat) ? "released" : "notHolder";
  }

  /** See {@linkcode Provider.read}. */
  async read(): Promise<LeaderInfo | null> {
    const look = await this.#observer.look();
    return look === null ? null : await this.#observer.leader(look);
  }

  /** See {@linkcode Observer.state}. */
  state(): Promise<string> {
    return this.#observer.state();
  }

  /** Links a new record to `number`, if no one else does. */
  async #claim(request: AcquireRequest, number: bigint, after: Predecessor, signal: AbortSignal): Promise<void> {
    const { electionGroup, participantId, termId, heartbeatTimeout, metadata } = request;
    const beat = `${number}.${crypto.randomUUID()}`;
    const acquiredAt = new Date(this.#clock.wall()).toISOString();
    const holder = await ownHolder();
    signal.throwIfAborted();
    await this.#directory.write(
      { electionGroup, participantId, termId, beat, acquiredAt, heartbeatTimeout, metadata, holder, after },
      signal,
    );
    signal.throwIfAborted();
    if (!(await this.#directory.link(beat, number)) && !signal.aborted) await this.#directory.remove(beat);
  }

  /**
   * Makes a claim that was linked a lease, if it stands: {@linkcode Observer.claimStands}. If not, the record stays as it
   * is. To remove it could hit a later term that got the same number; to mark it as free would let a third take over while
   * the predecessor leads. Its number was granted to nobody, and others pass over it when it has stood still for a lease.
   */
  async #confirm(look: Look, record: TermRecord, askedAt: number, signal: AbortSignal): Promise<boolean> {
    const { listing, number, mtime } = look;
    if (listing.names.has(releasedName(record.beat)) || !(await this.#observer.claimStands(look))) return false;
    signal.throwIfAborted();
    // If the file is still there to be touched, then nothing above it had been swept while we looked: we saw all there was.
    // A process that stalls before this step for so long that others pass over its claim, is past the deadline of its
    // term, which counts from before its `acquire`.
    if (!(await this.#touch(this.#hold(record, number, mtime, askedAt)))) return false;
    await this.#directory.sync();
    await this.#directory.sweep(listing, number, signal);
    if (!signal.aborted) await this.#directory.nudge(this.#clock.wall());
    return true;
  }

  /**
   * Marks a term as over, and hints at that. False if it is marked already, or gone. The mark carries the unique name of the
   * term's file: however late it comes, it says nothing about another term.
   */
  async #end(beat: string): Promise<boolean> {
    if (!(await this.#directory.release(beat))) return false;
    await this.#directory.nudge(this.#clock.wall());
    return true;
  }

  /** Returns what is known here of a lease; if it was granted elsewhere, what its files tell. Null if it is over. */
  async #holdingOf({ termId, token }: Lease, askedAt: number): Promise<Holding | null> {
    const holding = this.#holding;
    if (holding !== null && holding.number >= token) return holding.termId === termId ? holding : null;
    const record = await this.#directory.record(token);
    if (record?.termId !== termId) return null;
    const mtime = await this.#directory.modified(record.beat);
    if (mtime === null || mtime === UNCONFIRMED) return null;
    return this.#hold(record, token, mtime, askedAt);
  }

  #hold({ termId, beat }: TermRecord, number: bigint, mtime: number, touchedAt: number): Holding {
    if (this.#holding?.beat === beat) return this.#holding;
    return this.#holding = { termId, number, beat, mtime, touchedAt };
  }

  /** Touches the file of a term under its unique name. False if it is gone: then so is the term, and no other was touched. */
  async #touch(holding: Holding): Promise<boolean> {
    // Later than all before, also when the clock stands still or falls back; and taken at once, before anything is awaited,
    // so that of two touches under way each writes a value of its own.
    const mtime = Math.max(Math.floor(this.#clock.wall()), holding.mtime + 1);
    holding.mtime = mtime;
    if (!(await this.#directory.touch(holding.beat, mtime))) return false;
    this.#observer.touched(holding.beat, mtime);
    return true;
  }
}

function leaseOf(record: TermRecord, token: bigint): Lease {
  const { electionGroup, participantId, termId, heartbeatTimeout } = record;
  return { electionGroup, participantId, termId, token, acquiredAt: new Date(record.acquiredAt), heartbeatTimeout };
}
