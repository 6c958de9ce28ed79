/**
 * The operators of streams of changes that need a clock: each holds values back until a window ends.
 *
 * {@linkcode hold} decides which of a window's values are held, so that no `lost` vanishes. A {@linkcode Rule} decides
 * when they fall due. A timer is set only while somebody waits for what is held.
 *
 * @module
 */

import type { Clock } from "../time/clock.ts";
import { type Duration, parseDuration } from "../time/duration.ts";
import { refuseUnknown } from "../spelling.ts";
import { transitionOf } from "./change.ts";
import { DONE, type Source } from "./operators.ts";

/** The largest batch of `buffer({ time })`: a batch that nobody fetches must not grow for ever. */
const MAX_BATCH = 1_024;

/** Options of `buffer`; at least one of the two. */
export interface BufferLimits {
  /** Ends a batch when it has so many values. */
  readonly count?: number | undefined;
  /** Ends a batch so long after its first value. */
  readonly time?: Duration | undefined;
}

/** Decides what is held back, and until when. */
interface Rule<T, U> {
  /** When what is held falls due, in monotonic milliseconds; Infinity when nothing is held. */
  readonly due: number;
  /** True while nothing more fits in before something has been taken out. */
  readonly full: boolean;
  /** Takes a value in, at monotonic time `now`. */
  add(value: T, now: number): void;
  /** Takes out what is held, at monotonic time `now`. */
  take(now: number): U[];
}

/** Delivers the first value at once, and then at most one window's values each `duration`. */
export function throttled<T>(source: Source<T>, duration: Duration, clock: Clock): Source<T> {
  return new Windowed(source, new Throttle(parseDuration(duration, "throttle")), clock);
}

/** Delivers values once nothing has come for `duration`, or `duration` after a `lost`. */
export function debounced<T>(source: Source<T>, duration: Duration, clock: Clock): Source<T> {
  return new Windowed(source, new Debounce(parseDuration(duration, "debounce")), clock);
}

/** Delivers values in batches. */
export function buffered<T>(source: Source<T>, limits: BufferLimits, clock: Clock): Source<T[]> {
  refuseUnknown("limit of buffer", Object.keys(limits ?? {}), ["count", "time"]);
  const { count, time } = limits ?? {};
  if (count === undefined && time === undefined) {
    throw new TypeError(`Cannot buffer without limits: give "count", "time" or both`);
  }
  if (count !== undefined && !(Number.isSafeInteger(count) && count > 0)) {
    throw new RangeError(`Cannot use buffer count "${count}": it must be a whole number of at least 1`);
  }
  const timeMs = time === undefined ? Infinity : parseDuration(time, "buffer time");
  return new Windowed(source, new Batch(count ?? MAX_BATCH, timeMs), clock);
}

class Throttle<T> implements Rule<T, T> {
  readonly full = false;
  readonly #held: T[] = [];
  readonly #windowMs: number;
  #opensAt = -Infinity;

  constructor(windowMs: number) {
    this.#windowMs = windowMs;
  }

  get due(): number {
    return this.#held.length > 0 ? this.#opensAt : Infinity;
  }

  add(value: T): void {
    hold(this.#held, value);
  }

  take(now: number): T[] {
    if (this.#held.length > 0) this.#opensAt = now + this.#windowMs;
    return this.#held.splice(0);
  }
}

class Debounce<T> implements Rule<T, T> {
  readonly full = false;
  due = Infinity;
  readonly #held: T[] = [];
  readonly #windowMs: number;
  #latest = Infinity;

  constructor(windowMs: number) {
    this.#windowMs = windowMs;
  }

  add(value: T, now: number): void {
    hold(this.#held, value);
    // Values that were due while nobody read stay due.
    if (this.due <= now) return;
    if (transitionOf(value) === "lost") this.#latest = Math.min(this.#latest, now + this.#windowMs);
    this.due = Math.min(now + this.#windowMs, this.#latest);
  }

  take(): T[] {
    this.due = this.#latest = Infinity;
    return this.#held.splice(0);
  }
}

class Batch<T> implements Rule<T, T[]> {
  readonly #count: number;
  readonly #timeMs: number;
  #held: T[] = [];
  #endsAt = Infinity;

  constructor(count: number, timeMs: number) {
    this.#count = count;
    this.#timeMs = timeMs;
  }

  get full(): boolean {
    return this.#held.length >= this.#count;
  }

  get due(): number {
    return this.full ? -Infinity : this.#endsAt;
  }

  add(value: T, now: number): void {
    if (this.#held.length === 0) this.#endsAt = now + this.#timeMs;
    this.#held.push(value);
  }

  take(): T[][] {
    // The reader owns the array that it gets; the next batch is another one.
    const batch = this.#held;
    this.#held = [];
    this.#endsAt = Infinity;
    return batch.length > 0 ? [batch] : [];
  }
}

/**
 * Adds `value` to what a window holds: the last value alone, as long as that makes no `acquired` or `lost` vanish.
 *
 * These are kept, up to three; beyond, the oldest whole term, an `acquired` and its `lost`, is forgotten, which leaves
 * two. So what is delivered alternates as what came in did, ends with the last value, and has a `lost` if there was
 * one, which ends the term whose `acquired` was delivered last.
 */
function hold<T>(held: T[], value: T): void {
  const transition = transitionOf(value);
  if (transitionOf(held.at(-1)) === null) held.pop();
  // Two of a kind in a row come from a stream without the other kind: there, only the last counts.
  if (transition !== null && transitionOf(held.at(-1)) === transition) held.pop();
  held.push(value);
  if (transition !== null && held.length > 3) held.splice(transitionOf(held[0]) === "lost" ? 1 : 0, 2);
}

/** Reads from its source without a pause, once it is read itself, and delivers by a rule. */
class Windowed<T, U> implements Source<U> {
  readonly #source: Source<T>;
  readonly #rule: Rule<T, U>;
  readonly #clock: Clock;
  /** Values that have been taken out of the rule and not been read yet. */
  readonly #ready: U[] = [];
  #reader: PromiseWithResolvers<IteratorResult<U, undefined>> | null = null;
  #cancelTimer = () => {};
  #resume = () => {};
  #started = false;
  #ended = false;
  #failure: { readonly error: unknown } | null = null;

  constructor(source: Source<T>, rule: Rule<T, U>, clock: Clock) {
    this.#source = source;
    this.#rule = rule;
    this.#clock = clock;
  }

  next(): Promise<IteratorResult<U, undefined>> {
    this.#reader = Promise.withResolvers();
    const { promise } = this.#reader;
    this.#serve(this.#clock.monotonic());
    if (!this.#started && !this.#ended) void this.#pump();
    this.#started = true;
    return promise;
  }

  async return(): Promise<IteratorResult<never, undefined>> {
    this.#end(null);
    await this.#source.return();
    return DONE;
  }

  /** Never rejects: what the source throws is thrown to the reader. */
  async #pump(): Promise<void> {
    try {
      for (let result = await this.#source.next(); !result.done; result = await this.#source.next()) {
        this.#rule.add(result.value, this.#clock.monotonic());
        this.#serve(this.#clock.monotonic());
        if (this.#rule.full) await new Promise<void>((resolve) => this.#resume = resolve);
      }
      this.#end(null);
    } catch (error) {
      this.#end({ error });
    }
  }

  #end(failure: { readonly error: unknown } | null): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#failure = failure;
    this.#serve(this.#clock.monotonic());
  }

  /** Gives the waiting reader what is due at `now`, or sets the timer for it. At the end everything is due. */
  #serve(now: number): void {
    this.#cancelTimer();
    this.#cancelTimer = () => {};
    const reader = this.#reader;
    if (reader === null) return;
    const { due } = this.#rule;
    if (this.#ready.length === 0 && (this.#ended || due <= now)) {
      this.#ready.push(...this.#rule.take(now));
      this.#resume();
    }
    if (this.#ready.length > 0) {
      this.#reader = null;
      reader.resolve({ done: false, value: this.#ready.shift() as U });
    } else if (this.#ended) {
      this.#reader = null;
      if (this.#failure === null) reader.resolve(DONE);
      else reader.reject(this.#failure.error);
    } else if (due < Infinity) {
      // A timer of the runtime may be a little early; the window is over all the same.
      this.#cancelTimer = this.#clock.setTimer(() => this.#serve(Math.max(due, this.#clock.monotonic())), due - now);
    }
  }
}
