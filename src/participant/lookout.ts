/**
 * Decides when a follower looks at the backend: after a hint, when the lease can expire, or when it has not looked for
 * long.
 *
 * @module
 */

import { backoff, jittered } from "../time/backoff.ts";
import type { BoundedProvider } from "./bounded_provider.ts";
import type { ElectionConfig } from "../options.ts";
import type { LeaderInfo } from "../provider.ts";
import type { QueuedTimer } from "../time/timer_queue.ts";

/** Followers woken by the same hint spread over this time, so that a release is not a stampede. */
const HINT_SPREAD_MS = 10;
/** The same for followers that wait for the same lease to expire. */
const EXPIRY_SPREAD_MS = 100;

/** The waiting of one participant between two looks. */
export class Lookout {
  readonly #config: ElectionConfig;
  readonly #provider: BoundedProvider;
  readonly #onBroken: (error: unknown) => void;
  readonly #onTransfer: (to: string) => void;
  readonly #timer: QueuedTimer;
  #resume: (() => void) | null = null;
  #hinted = false;
  #live = false;
  #following: AbortController | null = null;
  #vacantLooks = 0;

  /**
   * Makes a lookout. `onBroken` is told when a stream of hints fails; it will be opened again. `onTransfer` is told
   * when the lease was released for one participant, before the look that follows.
   */
  constructor(
    config: ElectionConfig,
    provider: BoundedProvider,
    onBroken: (error: unknown) => void,
    onTransfer: (to: string) => void,
  ) {
    this.#config = config;
    this.#provider = provider;
    this.#onBroken = onBroken;
    this.#onTransfer = onTransfer;
    this.#timer = provider.queue.timer(() => this.#wake());
  }

  /** Returns the milliseconds after which the group is to be looked at again, having just seen `leader`. */
  delayAfter(leader: LeaderInfo | null): number {
    const { random, electionInterval, heartbeatTimeout } = this.#config;
    const interval = jittered(electionInterval, random);
    // Nobody leads, so somebody soon will, without a hint: look again quickly at first, then ever more slowly.
    if (leader === null) return Math.min(interval, backoff(this.#vacantLooks++, this.#config));
    this.#vacantLooks = 0;
    const spread = Math.min(EXPIRY_SPREAD_MS, heartbeatTimeout / 10);
    const expiry = leader.expiresIn === null ? Infinity : Math.max(leader.expiresIn, 1) + random() * spread;
    // While hints arrive, nothing but an expiry can go unnoticed, so there is no need to look before that.
    return this.#live ? Math.min(expiry, heartbeatTimeout + random() * spread) : Math.min(expiry, interval);
  }

  /**
   * Waits `delayMs`, or less if a hint comes, also one that came since the last wait. Returns at once when `signal`
   * aborts.
   */
  async wait(delayMs: number, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    this.#timer.set(this.#hinted ? Math.min(delayMs, this.#spread()) : delayMs);
    const wake = () => this.#wake();
    signal.addEventListener("abort", wake, { once: true });
    await new Promise<void>((resolve) => this.#resume = resolve);
    signal.removeEventListener("abort", wake);
    this.#hinted = false;
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
          if (typeof hint?.transferTo === "string") this.#onTransfer(hint.transferTo);
          this.hint();
        }
      } catch (error) {
        if (!signal.aborted) this.#onBroken(error);
      }
      if (signal.aborted) return;
      this.#live = false;
      // A stream that breaks as soon as it is live is no success, or it would be opened again and again without a
      // pause.
      if (this.#config.clock.monotonic() - opened >= this.#config.retryMaxDelay) failures = 0;
      // Polling at the interval stood still while hints came; it must not wait for the end of that long wait.
      this.hint();
      await this.#provider.queue.pause(backoff(failures, this.#config), signal);
    }
  }

  /** Ends the present wait, or the next one, within the spread of a hint. */
  hint(): void {
    // The first hint decides: those that come during its spread lead to the same look.
    if (this.#hinted) return;
    this.#hinted = true;
    if (this.#resume !== null) this.#timer.set(this.#spread());
  }

  #spread(): number {
    return this.#config.random() * HINT_SPREAD_MS;
  }

  #wake(): void {
    this.#timer.clear();
    this.#resume?.();
    this.#resume = null;
  }
}
