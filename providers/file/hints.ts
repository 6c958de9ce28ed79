/**
 * Hints for those who wait: one watch of the root directory for all groups, and underneath it a look at each group
 * every now and then, which notices what no file tells: that a holder died, or that a lease expired.
 *
 * @module
 */

import { type FSWatcher, watch } from "node:fs";
import { stat } from "node:fs/promises";
import { basename } from "node:path";
import type { Hint } from "../../src/provider.ts";
import type { Clock } from "../../src/time/clock.ts";
import { HintStream } from "../kit/hint_stream.ts";
import { directoryName } from "./names.ts";

/** The interval at which a group is looked at. A killed leader is to be followed in under a second. */
const TICK_MS = 200;
/**
 * The number of groups that are looked at in one tick: with more, each has its turn less often, and the cost stays the
 * same.
 */
const LOOKS_PER_TICK = 100;

/** A group that somebody watches. */
interface Watched {
  readonly electionGroup: string;
  readonly watchers: Set<HintStream>;
  state: string | null;
}

/** The hints of one provider. */
export class Hints {
  readonly #root: string;
  readonly #clock: Clock;
  readonly #look: (electionGroup: string) => Promise<string>;
  /** By the name of the group's directory; the first is the next to be looked at. */
  readonly #watched = new Map<string, Watched>();
  #watcher: FSWatcher | null = null;
  /** Which directory is being watched: another one may get its name. */
  #inode = -1;
  #cancelTick: (() => void) | null = null;
  #closed = false;

  /** Hints come when the answer of `look` changes: see {@linkcode Observer.state}. */
  constructor(root: string, clock: Clock, look: (electionGroup: string) => Promise<string>) {
    this.#root = root;
    this.#clock = clock;
    this.#look = look;
  }

  /** See {@linkcode Provider.watch}. */
  async *watch(electionGroup: string, signal: AbortSignal): AsyncGenerator<Hint, void> {
    if (signal.aborted || this.#closed) return;
    const watcher = new HintStream();
    const watched = this.#add(electionGroup, watcher);
    try {
      await this.#watchRoot();
      // Changes from here on are noticed: by the watch, or by comparison with this look.
      await this.#lookAt(watched);
      yield* watcher.read(signal);
    } finally {
      this.#remove(watched, watcher);
    }
  }

  /** Ends every watch. */
  close(): void {
    this.#closed = true;
    this.#rest();
    for (const { watchers } of this.#watched.values()) for (const watcher of watchers) watcher.end();
  }

  #add(electionGroup: string, watcher: HintStream): Watched {
    const name = directoryName(electionGroup);
    let watched = this.#watched.get(name);
    if (watched === undefined) this.#watched.set(name, watched = { electionGroup, watchers: new Set(), state: null });
    watched.watchers.add(watcher);
    this.#cancelTick ??= this.#clock.setTimer(this.#tick, TICK_MS);
    return watched;
  }

  #remove(watched: Watched, watcher: HintStream): void {
    watched.watchers.delete(watcher);
    if (watched.watchers.size > 0) return;
    this.#watched.delete(directoryName(watched.electionGroup));
    if (this.#watched.size === 0) this.#rest();
  }

  /** Lets go of everything that would keep the process alive. */
  #rest(): void {
    this.#cancelTick?.();
    this.#cancelTick = null;
    this.#watcher?.close();
    this.#watcher = null;
  }

  readonly #tick = async (): Promise<void> => {
    const current = this.#cancelTick;
    await this.#watchRoot();
    for (const [name, watched] of [...this.#watched].slice(0, LOOKS_PER_TICK)) {
      await this.#lookAt(watched);
      // To the end of the queue, unless it has left meanwhile.
      if (this.#watched.delete(name)) this.#watched.set(name, watched);
    }
    // If everybody has left meanwhile, the next to come has started ticks of its own.
    if (this.#cancelTick !== current) return;
    this.#cancelTick = this.#clock.setTimer(this.#tick, TICK_MS);
  };

  /**
   * Watches the root directory, unless that is done already. Where it cannot be, or does not exist yet, the ticks must
   * do.
   */
  async #watchRoot(): Promise<void> {
    const inode = await stat(this.#root).then((stats) => stats.ino, () => -1);
    if (this.#closed || this.#watched.size === 0 || (this.#watcher !== null && inode === this.#inode)) return;
    this.#watcher?.close();
    this.#watcher = null;
    if (inode === -1) return;
    try {
      const watcher = watch(this.#root, (_, name) => this.#onChange(name));
      watcher.on("error", () => {
        watcher.close();
        if (this.#watcher === watcher) this.#watcher = null;
      });
      this.#watcher = watcher;
      this.#inode = inode;
    } catch {
      // No more watches are to be had, or none on this file system.
    }
  }

  #onChange(name: string | null): void {
    const watched = name === null ? undefined : this.#watched.get(name);
    if (watched !== undefined) return void this.#lookAt(watched);
    if (name === null || name === basename(this.#root)) {
      for (const each of this.#watched.values()) void this.#lookAt(each);
    }
  }

  async #lookAt(watched: Watched): Promise<void> {
    // A state that cannot be read now is no hint; the next tick looks again.
    const state = await this.#look(watched.electionGroup).catch(() => watched.state);
    if (state === watched.state) return;
    // The first look may find a release of long ago.
    const transferTo = watched.state === null ? undefined : state?.split(" ")[2];
    watched.state = state;
    for (const watcher of watched.watchers) watcher.push(transferTo ? { transferTo } : {});
  }
}
