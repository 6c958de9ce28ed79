/**
 * Hints for those who wait: one look for all groups when the file's log is written to, and in a while, which notices
 * grants, releases and leases that ran out.
 *
 * @module
 */

import { basename, dirname } from "node:path";
import type { Hint } from "../../src/provider.ts";
import { type Clock, sleep } from "../../src/time/clock.ts";
import { DirectoryWatch } from "../kit/directory_watch.ts";
import { HintStream } from "../kit/hint_stream.ts";

/**
 * The interval between looks. A look at a database in which nothing changed is one statement, whatever the number of
 * groups.
 */
const TICK_MS = 100;
/** The number of ticks after which it is made sure that the directory is still the one that is watched. */
const KEEP_TICKS = 50;
/**
 * The pauses before looks when the log was written to, in milliseconds: what is written is seen a little later, once it
 * is on the disk where it waits for that.
 */
const LOOKS_AFTER_WRITE_MS = [0, 1, 4, 10];
/** Looks for the sake of writes take at most one part of so many of the time, however many writes there are. */
const LOOKS_SHARE = 10;

/** A group that somebody watches. */
interface Watched {
  readonly watchers: Set<HintStream>;
  state: string | undefined;
}

/** The hints of one provider. */
export class Hints {
  readonly #clock: Clock;
  readonly #look: (electionGroups: readonly string[]) => Promise<readonly string[]>;
  readonly #watched = new Map<string, Watched>();
  /** Null where there can be no watch. */
  readonly #directory: DirectoryWatch | null;
  readonly #closing = new AbortController();
  #cancelTick: (() => void) | null = null;
  #ticks = 0;
  /** True if the log was written to since the last look; and while that is being looked at. */
  #isWritten = false;
  #isFollowing = false;

  /**
   * `look` returns a text for each group that changes when those who wait should look again. `path` is that of the
   * database.
   */
  constructor(path: string, clock: Clock, look: (electionGroups: readonly string[]) => Promise<readonly string[]>) {
    this.#clock = clock;
    this.#look = look;
    const log = `${basename(path)}-wal`;
    // Deno's watcher opens each file that has changed, and closes it. By the rules of POSIX that ends all locks of the
    // process on that file: another, which takes itself for the last one, then removes the log that we still use.
    this.#directory = "Deno" in globalThis ? null : new DirectoryWatch(dirname(path), (name) => {
      if (name === log || name === null) void this.#follow();
    });
  }

  /** See {@linkcode Provider.watch}. */
  async *watch(electionGroup: string, signal: AbortSignal): AsyncGenerator<Hint, void> {
    if (signal.aborted || this.#closing.signal.aborted) return;
    const watcher = new HintStream();
    const watched = this.#watched.get(electionGroup) ?? { watchers: new Set<HintStream>(), state: undefined };
    this.#watched.set(electionGroup, watched);
    watched.watchers.add(watcher);
    try {
      await this.#directory?.keep();
      // Changes from here on are noticed, by comparison with this look.
      await this.#compare([electionGroup]);
      this.#cancelTick ??= this.#clock.setTimer(this.#tick, TICK_MS);
      yield* watcher.read(signal);
    } catch (error) {
      if (!signal.aborted && !this.#closing.signal.aborted) throw error;
    } finally {
      watched.watchers.delete(watcher);
      if (watched.watchers.size === 0) this.#watched.delete(electionGroup);
      if (this.#watched.size === 0) this.#rest();
    }
  }

  /** Ends every watch. */
  close(): void {
    this.#closing.abort();
    this.#rest();
    for (const { watchers } of this.#watched.values()) for (const watcher of watchers) watcher.end();
  }

  /** Lets go of everything that would keep the process alive. */
  #rest(): void {
    this.#cancelTick?.();
    this.#cancelTick = null;
    this.#directory?.rest();
  }

  /** Looks, because the log was written to; once more, if it is again meanwhile. Never rejects. */
  async #follow(): Promise<void> {
    this.#isWritten = true;
    if (this.#isFollowing) return;
    this.#isFollowing = true;
    while (this.#isWritten && this.#watched.size > 0) {
      this.#isWritten = false;
      const started = this.#clock.monotonic();
      let [paused, isChanged] = [0, false];
      for (const pauseMs of LOOKS_AFTER_WRITE_MS) {
        if (pauseMs > 0) await sleep(this.#clock, pauseMs, this.#closing.signal).catch(() => {});
        paused += pauseMs;
        // One that fails is no hint; the next tick looks again.
        isChanged = await this.#compare([...this.#watched.keys()]).catch(() => false);
        if (isChanged || this.#watched.size === 0) break;
      }
      const tookMs = this.#clock.monotonic() - started - paused;
      if (tookMs > 1) await sleep(this.#clock, tookMs * LOOKS_SHARE, this.#closing.signal).catch(() => {});
    }
    this.#isFollowing = false;
  }

  readonly #tick = async (): Promise<void> => {
    const current = this.#cancelTick;
    if (++this.#ticks % KEEP_TICKS === 0) await this.#directory?.keep();
    // A state that cannot be read now is no hint; the next tick looks again.
    await this.#compare([...this.#watched.keys()]).catch(() => {});
    // If everybody has left meanwhile, the next to come has started ticks of its own.
    if (this.#cancelTick === current) this.#cancelTick = this.#clock.setTimer(this.#tick, TICK_MS);
  };

  /** Returns whether a state has changed. */
  async #compare(electionGroups: readonly string[]): Promise<boolean> {
    const states = await this.#look(electionGroups);
    let isChanged = false;
    for (const [i, electionGroup] of electionGroups.entries()) {
      const watched = this.#watched.get(electionGroup);
      if (watched === undefined || watched.state === states[i]) continue;
      // The first look may find a release of long ago.
      const transferTo = watched.state === undefined ? undefined : states[i]?.split(" ")[2];
      watched.state = states[i];
      isChanged = true;
      for (const watcher of watched.watchers) watcher.push(transferTo ? { transferTo } : {});
    }
    return isChanged;
  }
}
