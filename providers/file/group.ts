/**
 * The protocol of the leases of one group. The arguments stand at the steps; what they rest upon:
 *
 * 1. A number names one term: `link` gives it to one of all who try, and nothing ever replaces the file.
 * 2. Every touch sets a modification time that the record never had, whatever the clock does. So a record that shows
 *    the same one twice was not touched in between.
 * 3. The highest number that was granted is never removed, and files are removed in ascending order only. A claim that
 *    comes so late that its number has been used and removed finds a higher one.
 * 4. A process that wants to rely on a number touches its file and *then* looks for a higher one, each time anew: to
 *    confirm a claim, however often it is asked for, as to renew a lease. A claim links a higher number and *then*
 *    looks whether its predecessor was touched. Each writes before it looks, so of two that cross at least one sees the
 *    other.
 *
 * `proof/file.pml` is a model of it, searched in full.
 *
 * @module
 */

import type { Clock } from "../../src/time/clock.ts";
import type { Acquired, AcquireRequest, Held, LeaderInfo, Lease, Renewed } from "../../src/provider.ts";
import { type Files, GroupDirectory, releasedName, UNCONFIRMED } from "./directory.ts";
import type { Processes } from "../kit/host_process.ts";
import { MAX_NUMBER } from "./names.ts";
import { type Look, Observer, TRANSFER_TO } from "./observer.ts";
import type { Predecessor, TermRecord } from "./record.ts";
import type { Slots } from "../kit/slots.ts";
import { sweep } from "./sweep.ts";

/** The parts that the groups of a provider share. */
export interface GroupSurroundings {
  /** The directory of all groups. */
  readonly root: string;
  /** Measures how long a record stands still. */
  readonly clock: Clock;
  /** The calls to the file system. */
  readonly files: Files;
  /** The facts about processes that can be proved. */
  readonly processes: Processes;
  /** The ids of processes beside this one that act for the holder of a lease. */
  readonly heldBy: () => readonly number[];
  /** The slots that heartbeats wait for before they open a file. */
  readonly heartbeats: Slots;
  /** The slots that everything else waits for. */
  readonly others: Slots;
  /** True if a grant waits for the disk. */
  readonly durable: boolean;
}

/** A lease that was granted here. */
interface Holding {
  readonly termId: string;
  readonly number: bigint;
  readonly beat: string;
  /** The last modification time that was asked for. */
  mtime: number;
  /** Read before the last touch was asked for that kept the lease. */
  touchedAt: number;
  /** True once somebody was told here that it is over. */
  ended: boolean;
}

/** The number of times that a term that asks again may find that what it had is over, before it gives up. */
const MAX_ATTEMPTS = 10;

/** The predecessor of a claim that follows nobody. */
const NOBODY: Predecessor = { number: "0", mtime: null, leaseMs: 0 };

/** One group, as one provider takes part in it. Every method stops before its next step when its signal aborts. */
export class Group {
  readonly #surroundings: GroupSurroundings;
  readonly #directory: GroupDirectory;
  /** The same directory, for heartbeats. */
  readonly #heartbeats: GroupDirectory;
  readonly #clock: Clock;
  readonly #observer: Observer;
  #holding: Holding | null = null;
  /** The file of the last term that was granted here and whose number is on the disk. */
  #settled: string | null = null;
  /** The number of renewals with metadata that were asked for, and which of them wrote the metadata that hold. */
  readonly #metadata = { asked: 0, written: 0 };
  /** The last write of metadata that was begun. */
  #writing: Promise<unknown> = Promise.resolve();

  /** Makes the group, without I/O. */
  constructor(name: string, surroundings: GroupSurroundings) {
    const { root, clock, files, processes, heartbeats, others, durable } = surroundings;
    this.#surroundings = surroundings;
    this.#directory = new GroupDirectory(root, name, files, others, durable);
    this.#heartbeats = new GroupDirectory(root, name, files, heartbeats, durable);
    this.#clock = clock;
    this.#observer = new Observer(this.#directory, clock, processes);
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
      const { record } = look;
      if (record?.termId !== request.termId) return { acquired: false, leader: await this.#observer.holder(look) };
      const claimed = look.mtime === UNCONFIRMED;
      if (
        claimed ? await this.#confirm(look, record, askedAt, signal) : await this.#again(look, record, request, signal)
      ) {
        await this.#settle(look, record, signal);
        return { acquired: true, lease: leaseOf(record, look.number) };
      }
      if (claimed) return { acquired: false, leader: null };
      // Its earlier lease is over, since it expired or was evicted. The term begins anew, under the next number.
      signal.throwIfAborted();
    }
    throw new Error("its term is ended again and again");
  }

  /**
   * See {@linkcode Provider.renew}. The lease is renewed before its metadata are written, so that a full disk cannot
   * cost it: if only the metadata fail, the call rejects, and the lease lives on for as long as if it had not.
   */
  async renew(
    lease: Lease,
    metadata: Readonly<Record<string, string>> | undefined,
    signal: AbortSignal,
  ): Promise<"renewed" | "lost"> {
    const askedAt = this.#clock.monotonic();
    const order = metadata === undefined ? 0 : ++this.#metadata.asked;
    const holding = await this.#holdingOf(lease, askedAt);
    if (holding === null || holding.ended) return "lost";
    signal.throwIfAborted();
    // An expired lease is gone, also if nobody took it over: somebody may have been told so. Its holder stopped leading
    // before. The mark spares the others the wait. A heartbeat that is still on its way sees `ended` at its end, or had
    // ended before.
    if (askedAt - holding.touchedAt >= lease.heartbeatTimeout) {
      holding.ended = true;
      if ((await this.#heartbeats.list()).numbers.at(-1) === holding.number) await this.#end(holding.beat);
      return "lost";
    }
    if (!(await this.#keep(holding, askedAt))) return "lost";
    if (metadata === undefined) return "renewed";
    const write = () => this.#replaceMetadata(holding.beat, order, metadata, signal);
    // One after the other, whatever became of the one before.
    const written = this.#writing.then(write, write);
    this.#writing = written;
    return await written ? "renewed" : "lost";
  }

  /** Replaces the metadata, unless those of a renewal that was asked for later have been written: the last one wins. */
  async #replaceMetadata(
    beat: string,
    order: number,
    metadata: Readonly<Record<string, string>>,
    signal: AbortSignal,
  ): Promise<boolean> {
    signal.throwIfAborted();
    if (order < this.#metadata.written) return true;
    const replaced = await this.#directory.replaceMetadata(beat, JSON.stringify(metadata), signal);
    if (replaced) this.#metadata.written = order;
    return replaced;
  }

  /** See {@linkcode Provider.release}. */
  async release(termId: string, transferTo: string, signal: AbortSignal): Promise<"released" | "notHolder"> {
    const look = await this.#observer.look();
    if (look?.record?.termId !== termId || await this.#observer.judge(look) !== null) return "notHolder";
    signal.throwIfAborted();
    if (transferTo !== "") {
      // Before the mark, which those who wait look for. A hint: a full disk must not stand in the way of the release.
      const metadata = JSON.stringify({ ...look.metadata, [TRANSFER_TO]: transferTo });
      await this.#directory.replaceMetadata(look.record.beat, metadata, signal).catch(() => {});
      signal.throwIfAborted();
    }
    return await this.#end(look.record.beat) ? "released" : "notHolder";
  }

  /** See {@linkcode Provider.read}. */
  async read(): Promise<LeaderInfo | null> {
    const look = await this.#observer.look();
    return look === null ? null : await this.#observer.leader(look);
  }

  /** See {@linkcode Observer.glance}. */
  glance(mostMs: number): Promise<Renewed | "look" | null> {
    return this.#observer.glance(mostMs);
  }

  /** See {@linkcode Observer.state}. */
  state(): Promise<string> {
    return this.#observer.state();
  }

  /** Links a new record to `number`, if no one else does. A record that was not linked leaves no file behind. */
  async #claim(request: AcquireRequest, number: bigint, after: Predecessor, signal: AbortSignal): Promise<void> {
    const { electionGroup, participantId, termId, heartbeatTimeout, metadata } = request;
    if (number > MAX_NUMBER) {
      throw new Error(`${this.#directory.pathOf(String(number - 1n))} is the last number there is`);
    }
    const beat = `${number}.${crypto.randomUUID()}`;
    const wallMs = this.#clock.wall();
    const acquiredAt = new Date(wallMs).toISOString();
    const [holder = null, ...heldBy] = await this.#surroundings.processes.identify(this.#surroundings.heldBy()) ?? [];
    signal.throwIfAborted();
    await this.#directory.write(
      { electionGroup, participantId, termId, beat, acquiredAt, heartbeatTimeout, metadata, holder, heldBy, after },
      signal,
      wallMs,
    );
    let linked = false;
    try {
      signal.throwIfAborted();
      linked = await this.#directory.link(beat, number);
    } finally {
      // A file that cannot be removed now, the next leader sweeps.
      if (!linked) await this.#directory.remove(beat).catch(() => {});
    }
  }

  /**
   * Makes a claim that was linked a lease, if it stands: {@linkcode Observer.claimStands}. If not, the record stays as
   * it is. To remove it could hit a later term that got the same number; to mark it as free would let a third take over
   * while the predecessor leads. Its number was granted to nobody, and others pass over it when it has stood still for
   * a lease.
   *
   * The record may have stood still so long, and somebody may be about to follow: a claim is asked for again by a
   * process that stalled, or whose calls ran out of time, and its lease counts from the last of them. So this is no
   * more certain than a renewal.
   */
  async #confirm(look: Look, record: TermRecord, askedAt: number, signal: AbortSignal): Promise<boolean> {
    // Before the touch, which makes the claim look confirmed to all others.
    if (!(await this.#observer.claimStands(look))) return false;
    signal.throwIfAborted();
    return await this.#keep(this.#hold(record, look.number, look.mtime, askedAt), askedAt);
  }

  /** Renews the lease of a term that asks for it again. */
  async #again(look: Look, record: TermRecord, { metadata }: AcquireRequest, signal: AbortSignal): Promise<boolean> {
    // The same ones are not written again: a full disk must not stand in the way.
    const changed = JSON.stringify(metadata) !== JSON.stringify(look.metadata);
    return await this.renew(leaseOf(record, look.number), changed ? metadata : undefined, signal) === "renewed";
  }

  /** Keeps the term for another lease, counted from `askedAt`, unless it is over. */
  async #keep(holding: Holding, askedAt: number): Promise<boolean> {
    const { beat, number } = holding;
    // 1. Write. A process that judged this term to stand still, and has not linked a higher number yet, will see this
    //    after linking, and withdraw.
    if (!(await this.#touch(holding))) return false;
    // 2. Look. A process that linked a higher number before our touch shows here; so does one that evicted us.
    const { numbers, names } = await this.#heartbeats.list();
    if (numbers.at(-1) !== number || names.has(releasedName(beat))) return false;
    // 3. A higher number can have come and gone while the directory was being read, but only after our file had gone.
    if (await this.#heartbeats.modified(beat) === null || holding.ended) return false;
    holding.touchedAt = Math.max(holding.touchedAt, askedAt);
    return true;
  }

  /**
   * Makes sure that no power failure can make the number free again, before anybody leads under it; and tidies up. An
   * earlier call of the same term may have come no further than its touch.
   */
  async #settle({ listing, number }: Look, { beat }: TermRecord, signal: AbortSignal): Promise<void> {
    if (this.#settled === beat) return;
    signal.throwIfAborted();
    await this.#directory.sync();
    await sweep(this.#directory, listing, number, signal);
    if (!signal.aborted) await this.#directory.nudge(this.#clock.wall());
    this.#settled = beat;
  }

  /**
   * Marks a term as over, and hints at that. False if it is marked already, or gone. The mark carries the unique name
   * of the term's file: however late it comes, it says nothing about another term.
   */
  async #end(beat: string): Promise<boolean> {
    if (!(await this.#directory.release(beat))) return false;
    await this.#directory.nudge(this.#clock.wall());
    return true;
  }

  /** Returns what is known here of a lease; if it was granted elsewhere, what its files tell. Null if it is over. */
  async #holdingOf({ termId, token }: Lease, askedAt: number): Promise<Holding | null> {
    const holding = this.#holding;
    // A term that began anew has a higher number: the lease under the old one stays lost.
    if (holding !== null && holding.number > token) return null;
    if (holding?.number === token) return holding.termId === termId ? holding : null;
    const record = await this.#directory.record(String(token));
    if (record?.termId !== termId) return null;
    const mtime = await this.#directory.modified(record.beat);
    if (mtime === null || mtime === UNCONFIRMED) return null;
    return this.#hold(record, token, mtime, askedAt);
  }

  #hold({ termId, beat }: TermRecord, number: bigint, mtime: number, touchedAt: number): Holding {
    if (this.#holding?.beat === beat) return this.#holding;
    return this.#holding = { termId, number, beat, mtime, touchedAt, ended: false };
  }

  /**
   * Touches the file of a term under its unique name. False if it is gone: then so is the term, and no other was
   * touched.
   */
  async #touch(holding: Holding): Promise<boolean> {
    // Later than all before, also when the clock stands still or falls back; and taken at once, before anything is
    // awaited, so that of two touches under way each writes a value of its own. None that the file system would not
    // keep.
    const wall = Math.min(this.#clock.wall(), this.#directory.latestTimeMs);
    const mtime = Math.max(Math.floor(wall), holding.mtime + 1);
    holding.mtime = mtime;
    if (!(await this.#heartbeats.touch(holding.beat, mtime))) return false;
    this.#observer.touched(holding.beat, mtime);
    return true;
  }
}

function leaseOf(record: TermRecord, token: bigint): Lease {
  const { electionGroup, participantId, termId, heartbeatTimeout } = record;
  return { electionGroup, participantId, termId, token, acquiredAt: new Date(record.acquiredAt), heartbeatTimeout };
}
