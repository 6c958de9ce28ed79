/**
 * Hints for those who wait: one look in a while for all groups, which notices grants, releases and leases that ran out.
 *
 * @module
 */

import type { TransferHint } from "../../src/provider.ts";
import type { Clock } from "../../src/time/clock.ts";
import { PendingHint } from "../kit/pending_hint.ts";

/**
 * The interval between looks. A look at a database in which nothing changed is one statement, whatever the number of
 * groups.
 */
const TICK_MS = 100;

/** One who waits. */
interface Waiter {
  readonly pending: PendingHint;
  wake(): void;
}

/** A group that somebody watches. */
interface Watched {
  readonly waiters: Set<Waiter>;
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
  async *watch(electionGroup: string, signal: AbortSignal): AsyncGenerator<void | TransferHint> {
    if (signal.aborted || this.#closed) return;
    const waiter: Waiter = { pending: new PendingHint(), wake: () => {} };
    const onAbort = () => waiter.wake();
    const watched = this.#watched.get(electionGroup) ?? { waiters: new Set<Waiter>(), state: undefined };
    this.#watched.set(electionGroup, watched);
    watched.waiters.add(waiter);
    signal.addEventListener("abort", onAbort);
    try {
      // Changes from here on are noticed, by comparison with this look.
      await this.#compare([electionGroup]);
      waiter.pending.add();
      this.#cancelTick ??= this.#clock.setTimer(this.#tick, TICK_MS);
      while (!signal.aborted && !this.#closed) {
        if (!waiter.pending.isPending) await new Promise<void>((resolve) => waiter.wake = resolve);
        if (signal.aborted || this.#closed) return;
        yield waiter.pending.take();
      }
    } catch (error) {
      if (!signal.aborted && !this.#closed) throw error;
    } finally {
      signal.removeEventListener("abort", onAbort);
      watched.waiters.delete(waiter);
      if (watched.waiters.size === 0) this.#watched.delete(electionGroup);
      if (this.#watched.size === 0) this.#rest();
    }
  }

  /** Ends every watch. */
  close(): void {
    this.#closed = true;
    this.#rest();
    for (const watched of this.#watched.values()) hint(watched);
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
      hint(watched, transferTo);
    }
  }
}

function hint({ waiters }: Watched, transferTo?: string): void {
  for (const waiter of waiters) {
    waiter.pending.add(transferTo);
    waiter.wake();
  }
}
