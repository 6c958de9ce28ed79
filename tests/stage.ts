/** Participants of one election on a virtual clock and a memory store, for the tests of the core. */

import { LeaderElection } from "../src/election.ts";
import type { ElectionOptions } from "../src/options.ts";
import { memoryProvider } from "../providers/memory.ts";
import { ForwardingProvider } from "../src/forwarding_provider.ts";
import { FaultyProvider } from "../testing/faulty_provider.ts";
import { type Skew, VirtualClock } from "../testing/virtual_clock.ts";
import type { Provider } from "../src/provider.ts";

let stores = 0;

/** A participant, and the provider through which it can be hurt. */
export interface Actor {
  readonly election: LeaderElection;
  readonly provider: FaultyProvider;
}

/** One store and one clock. */
export class Stage {
  readonly clock: VirtualClock = new VirtualClock();
  readonly #name = `stage-${stores++}`;
  readonly store: Provider = this.open();

  /** Opens the store once more. */
  open(): Provider {
    return memoryProvider({ name: this.#name, clock: this.clock });
  }

  /** Returns `provider` with some of its methods replaced. */
  wrap(provider: Provider, methods: Partial<Provider>): Provider {
    return Object.assign(new ForwardingProvider(provider), methods);
  }

  /** Makes a participant of the group `g`, with a clock of its own if `skew` is given. It is not started. */
  actor(participantId: string, options?: Partial<ElectionOptions>, skew?: Skew): Actor {
    const provider = new FaultyProvider(this.open(), this.clock);
    const clock = skew === undefined ? this.clock : this.clock.skewed(skew);
    const election = new LeaderElection(provider, {
      electionGroup: "g",
      participantId,
      clock,
      random: () => 0.5,
      logger: null,
      ...options,
    });
    return { election, provider };
  }

  /** Waits for `work`, moving the clock on by `stepMs` until it settles, for at most ten virtual minutes. */
  async finish<T>(work: Promise<T>, stepMs = 10): Promise<T> {
    let settled = false;
    const done = work.finally(() => settled = true);
    done.catch(() => {});
    for (let passed = 0; passed < 600_000; passed += stepMs) {
      await this.clock.advance(0);
      if (settled) return await done;
      await this.clock.advance(stepMs);
    }
    throw new Error("Cannot finish: the work has not settled within ten minutes");
  }

  /** Starts a participant and lets its first look end. */
  async start(actor: Actor): Promise<void> {
    await this.finish(actor.election.start());
  }

  /** Moves on by `ms` in steps, and calls `check` at each. */
  async during(ms: number, check: () => void, stepMs = 50): Promise<void> {
    for (let passed = 0; passed < ms; passed += stepMs) {
      await this.clock.advance(stepMs);
      check();
    }
  }
}

/** A promise that its maker settles. */
export function gate<T = void>(): PromiseWithResolvers<T> {
  return Promise.withResolvers<T>();
}

/** Resolves when `signal` aborts. */
export function abortOf(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    if (signal.aborted) resolve();
    else signal.addEventListener("abort", () => resolve(), { once: true });
  });
}
