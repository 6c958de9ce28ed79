/**
 * Hints for those who wait: one look in a while for all groups, which notices grants, releases and leases that ran out.
 *
 * @module
 */

import type { Hint } from "../../src/provider.ts";
import type { Clock } from "../../src/time/clock.ts";
import { HintStream } from "../kit/hint_stream.ts";

/**
 * The interval between looks. A look at a database in which nothing changed is one statement, whatever the number of
 * groups.
 */
const TICK_MS = 100;

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
  #cancelTick: (() => void) | null = null;
  #closed = false;

  /** `look` returns a text for each group that changes when those who wait should look again. */
  constructor(clock: Clock, look: (electionGroups: readonly string[]) => Promise<readonly string[]>) {
    this.#clock = clock;
    this.#look = look;
  }

  /** See {@linkcode Provider.watch}. */
  async *watch(electionGroup: string, signal: AbortSignal): AsyncGenerator<Hint, void> {
    if (signal.aborted || this.#closed) return;
    const watcher = new HintStream();
    const watched = this.#watched.get(electionGroup) ?? { watchers: new Set<HintStream>(), state: undefined };
    this.#watched.set(electionGroup, watched);
    watched.watchers.add(watcher);
    try {
      // Changes from here on are noticed, by comparison with this look.
      await this.#compare([electionGroup]);
      this.#cancelTick ??= this.#clock.setTimer(this.#tick, TICK_MS);
      yield* watcher.read(signal);
    } catch (error) {
      if (!signal.aborted && !this.#closed) throw error;
    } finally {
      watched.watchers.delete(watcher);
      if (watched.watchers.size === 0) this.#watched.delete(electionGroup);
      if (this.#watched.size === 0) this.#rest();
    }
  }

  /** Ends every watch. */
  close(): void {
    this.#closed = true;
    this.#rest();
    for (const { watchers } of this.#watched.values()) for (const watcher of watchers) watcher.end();
  }

  #rest(): void {
    this.#cancelTick?.();
    this.#cancelTick = null;
  }

  readonly #tick = async (): Promise<void> => {
    const current = this.#cancelTick;
    // A state that cannot be read now is no hint; the next tick looks again.
    await this.#compare([...this.#watched.keys()]).catch(() => {});
    // If everybody has left meanwhile, the next to come has started ticks of its own.
    if (this.#cancelTick === current) this.#cancelTick = this.#clock.setTimer(this.#tick, TICK_MS);
  };

  async #compare(electionGroups: readonly string[]): Promise<void> {
    const states = await this.#look(electionGroups);
    for (const [i, electionGroup] of electionGroups.entries()) {
      const watched = this.#watched.get(electionGroup);
      if (watched === undefined || watched.state === states[i]) continue;
      // The first look may find a release of long ago.
      const transferTo = watched.state === undefined ? undefined : states[i]?.split(" ")[2];
      watched.state = states[i];
      for (const watcher of watched.watchers) watcher.push(transferTo ? { transferTo } : {});
    }
  }
}
