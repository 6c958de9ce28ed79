/** The steps of a hand-off, as a provider sees them. */

import { ForwardingProvider } from "../src/forwarding_provider.ts";
import type { Hint, Provider, ReleaseCallOptions, WatchOptions } from "../src/provider.ts";

/** The steps, in order. */
export const STEPS = ["releasing", "free", "hint", "looks", "looked"] as const;

/** One step. */
export type Step = typeof STEPS[number];

/** The wall clock in milliseconds, with fractions. */
export const now = (): number => performance.timeOrigin + performance.now();

/** Remembers when each step was last taken, and the hint before the last look. */
export class RecordingProvider extends ForwardingProvider {
  readonly at = new Map<Step, number>();
  #hintedAt = NaN;

  /** Records what passes to `target`. */
  constructor(target: Provider) {
    super(target);
  }

  override async acquire(...call: Parameters<Provider["acquire"]>): ReturnType<Provider["acquire"]> {
    this.at.set("hint", this.#hintedAt).set("looks", now());
    const answer = await this.target.acquire(...call);
    this.at.set("looked", now());
    return answer;
  }

  override async release(lease: Parameters<Provider["release"]>[0], options: ReleaseCallOptions) {
    this.at.set("releasing", now());
    const answer = await this.target.release(lease, options);
    this.at.set("free", now());
    return answer;
  }

  override async *watch(electionGroup: string, options: WatchOptions): AsyncIterable<Hint | void> {
    for await (const hint of super.watch(electionGroup, options)) {
      if (hint?.renewed === undefined && hint?.leader === undefined) this.#hintedAt = now();
      yield hint;
    }
  }
}
