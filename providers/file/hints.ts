/**
 * Hints for those who wait: one watch of the root directory for all groups, and underneath it a glance at each group
 * every now and then, which notices what no file tells: that a holder died, or that a lease expired. Where the
 * directory cannot be watched, each of them is a whole look.
 *
 * @module
 */

import { basename } from "node:path";
import type { Hint, Renewed } from "../../src/provider.ts";
import type { Clock } from "../../src/time/clock.ts";
import { DirectoryWatch } from "../kit/directory_watch.ts";
import { HintStream } from "../kit/hint_stream.ts";
import { directoryName } from "./names.ts";

/** The interval between glances. A killed leader is to be followed in under a second. */
const TICK_MS = 200;
/** The longest time without a whole look, should the watch of the directory have missed something. */
const LOOK_MS = 5_000;
/**
 * The number of groups that are looked at in one tick: with more, each has its turn less often, and the cost stays the
 * same.
 */
const LOOKS_PER_TICK = 100;

/** The group of a provider, as far as hints need it. */
interface Group {
  /** See {@linkcode Observer.state}. */
  state(): Promise<string>;
  /** See {@linkcode Observer.glance}. */
  glance(mostMs: number): Promise<Renewed | "look" | null>;
}

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
  readonly #group: (electionGroup: string) => Group;
  /** By the name of the group's directory; the first is the next to be looked at. */
  readonly #watched = new Map<string, Watched>();
  readonly #directory: DirectoryWatch;
  /** When it was last made sure that the root directory is the one that is watched. */
  #keptAt = -Infinity;
  #cancelTick: (() => void) | null = null;
  #closed = false;

  /** Hints come when the state of a group changes, and when it was renewed: see {@linkcode Observer}. */
  constructor(root: string, clock: Clock, group: (electionGroup: string) => Group) {
    this.#root = root;
    this.#clock = clock;
    this.#group = group;
    this.#directory = new DirectoryWatch(root, (name) => this.#onChange(name));
  }

  /** See {@linkcode Provider.watch}. */
  async *watch(electionGroup: string, signal: AbortSignal): AsyncGenerator<Hint, void> {
    if (signal.aborted || this.#closed) return;
    const watcher = new HintStream();
    const watched = this.#add(electionGroup, watcher);
    try {
      await this.#directory.keep();
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
    this.#directory.rest();
  }

  readonly #tick = async (): Promise<void> => {
    const current = this.#cancelTick;
    const now = this.#clock.monotonic();
    if (!this.#directory.isLive || now - this.#keptAt >= LOOK_MS) {
      this.#keptAt = now;
      await this.#directory.keep();
    }
    for (const [name, watched] of [...this.#watched].slice(0, LOOKS_PER_TICK)) {
      await this.#glanceAt(watched);
      // To the end of the queue, unless it has left meanwhile.
      if (this.#watched.delete(name)) this.#watched.set(name, watched);
    }
    // If everybody has left meanwhile, the next to come has started ticks of its own.
    if (this.#cancelTick !== current) return;
    this.#cancelTick = this.#clock.setTimer(this.#tick, TICK_MS);
  };

  #onChange(name: string | null): void {
    const watched = name === null ? undefined : this.#watched.get(name);
    if (watched !== undefined) return void this.#lookAt(watched);
    if (name === null || name === basename(this.#root)) {
      this.#keptAt = -Infinity;
      for (const each of this.#watched.values()) void this.#lookAt(each);
    }
  }

  /** Looks at a group if a glance, or the lack of a watch, calls for it. */
  async #glanceAt(watched: Watched): Promise<void> {
    const group = this.#group(watched.electionGroup);
    const found = this.#directory.isLive ? await group.glance(LOOK_MS).catch(() => "look" as const) : "look";
    if (found === "look") return await this.#lookAt(watched);
    if (found === null) return;
    for (const watcher of watched.watchers) watcher.push({ renewed: found });
  }

  async #lookAt(watched: Watched): Promise<void> {
    // A state that cannot be read now is no hint; the next tick looks again.
    const state = await this.#group(watched.electionGroup).state().catch(() => watched.state);
    if (state === watched.state) return;
    // The first look may find a release of long ago.
    const transferTo = watched.state === null ? undefined : state?.split(" ")[2];
    watched.state = state;
    for (const watcher of watched.watchers) watcher.push(transferTo ? { transferTo } : {});
  }
}
