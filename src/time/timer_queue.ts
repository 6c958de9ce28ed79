/**
 * One timer of the runtime for any number of deadlines: ten thousand elections must not mean ten thousand timers.
 *
 * @module
 */

import type { Clock } from "./clock.ts";

/** A timer in a {@linkcode TimerQueue}, to be set again and again. */
export class QueuedTimer {
  /** When it fires, in the queue's time. */
  due = 0;
  /** Where it stands in the queue's heap; -1 when it is not set. */
  index = -1;
  /** In which round of the queue it was set. */
  round = 0;
  readonly #queue: TimerQueue;
  readonly callback: () => void;

  /** Makes a timer of `queue` that is not set yet. */
  constructor(queue: TimerQueue, callback: () => void) {
    this.#queue = queue;
    this.callback = callback;
  }

  /**
   * Fires once, `delayMs` milliseconds from now, instead of when it was set to fire before. It may fire up to `earlyMs`
   * sooner, at a moment that it shares with other timers of the same `earlyMs`: what is due together can travel
   * together.
   */
  set(delayMs: number, earlyMs = 0): void {
    this.#queue.set(this, delayMs, earlyMs);
  }

  /** Does not fire. */
  clear(): void {
    this.#queue.clear(this);
  }
}

/** The longest sleep: how late a jump of the wall clock, such as a resume from suspend, is noticed. */
const MAX_SLEEP_MS = 1_000;
/** By how much the wall clock must outrun the monotonic one between two looks to count as a jump. */
const JUMP_MS = 50;

const queues = new WeakMap<Clock, TimerQueue>();

/** Timers on one {@linkcode Clock}: a binary heap by due time over a single timer of the clock. */
export class TimerQueue {
  readonly #clock: Clock;
  readonly #heap: QueuedTimer[] = [];
  #cancel: (() => void) | null = null;
  #armedFor = Infinity;
  #firing = false;
  #round = 0;
  /** Milliseconds that the monotonic clock missed, because the machine was suspended. */
  #missed = 0;
  /** By how much the wall clock was ahead of the monotonic one when they were last looked at, at most. */
  #wallAhead: number;

  private constructor(clock: Clock) {
    this.#clock = clock;
    this.#wallAhead = this.#lookAtWall().most;
  }

  /** Returns the queue of `clock`: the same one each time. */
  static of(clock: Clock): TimerQueue {
    let queue = queues.get(clock);
    if (queue === undefined) queues.set(clock, queue = new TimerQueue(clock));
    return queue;
  }

  /** Makes a timer. */
  timer(callback: () => void): QueuedTimer {
    return new QueuedTimer(this, callback);
  }

  /** Waits `delayMs`; returns early, without an error, when `signal` aborts. */
  async pause(delayMs: number, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return;
    let resume = () => {};
    const timer = this.timer(() => resume());
    const wake = () => (timer.clear(), resume());
    signal.addEventListener("abort", wake, { once: true });
    timer.set(delayMs);
    await new Promise<void>((resolve) => resume = resolve);
    signal.removeEventListener("abort", wake);
  }

  /** See {@linkcode QueuedTimer.set}. */
  set(timer: QueuedTimer, delayMs: number, earlyMs: number): void {
    if (this.#heap.length === 0) this.#wallAhead = this.#lookAtWall().most;
    // A timer that is set after a jump must not be brought forward by it.
    else this.#noticeJump();
    const now = this.#now();
    let due = now + Math.max(delayMs, 0);
    const shared = earlyMs > 0 ? Math.floor(due / earlyMs) * earlyMs : due;
    if (shared > now) due = shared;
    timer.due = due;
    timer.round = this.#round;
    if (timer.index < 0) this.#place(timer, this.#heap.length);
    this.#siftUp(timer);
    this.#siftDown(timer);
    if (!this.#firing) this.#arm();
  }

  /** See {@linkcode QueuedTimer.clear}. */
  clear(timer: QueuedTimer): void {
    if (timer.index < 0) return;
    const last = this.#heap.pop() as QueuedTimer;
    if (last !== timer) {
      this.#place(last, timer.index);
      this.#siftUp(last);
      this.#siftDown(last);
    }
    timer.index = -1;
    if (!this.#firing && this.#heap.length === 0) this.#arm();
  }

  #now(): number {
    return this.#clock.monotonic() + this.#missed;
  }

  /**
   * Sets the clock's timer for the first of the heap, or none. One that is set for sooner may stay: it fires in vain.
   */
  #arm(): void {
    const first = this.#heap[0];
    if (first === undefined) {
      this.#cancel?.();
      this.#cancel = null;
      this.#armedFor = Infinity;
      return;
    }
    if (this.#cancel !== null && this.#armedFor <= first.due) return;
    this.#cancel?.();
    const now = this.#now();
    this.#armedFor = Math.min(first.due, now + MAX_SLEEP_MS);
    this.#cancel = this.#clock.setTimer(this.#fire, this.#armedFor - now);
  }

  readonly #fire = (): void => {
    this.#cancel = null;
    this.#armedFor = Infinity;
    this.#noticeJump();
    const now = this.#now();
    this.#firing = true;
    this.#round++;
    try {
      for (;;) {
        const first = this.#heap[0];
        // A timer that is set while this runs waits for the next round, so the loop ends.
        if (first === undefined || first.due > now || first.round === this.#round) return;
        this.clear(first);
        first.callback();
      }
    } finally {
      this.#firing = false;
      this.#arm();
    }
  };

  /** Brings forward what is due, if the wall clock has jumped since it was last looked at. */
  #noticeJump(): void {
    const { least, most } = this.#lookAtWall();
    const jumped = least - this.#wallAhead;
    this.#wallAhead = most;
    if (jumped <= JUMP_MS) return;
    this.#missed += jumped;
    // The timer of the clock knows nothing of that.
    this.#armedFor += jumped;
  }

  /**
   * Returns by how much the wall clock is ahead, at least and at most: this process may be held up between two reads,
   * which is no jump. A timer may be late after a jump that was not noticed in full. It must not be early for a jump
   * that was none.
   */
  #lookAtWall(): { least: number; most: number } {
    const before = this.#clock.monotonic();
    const wall = this.#clock.wall();
    return { least: wall - this.#clock.monotonic(), most: wall - before };
  }

  #siftUp(timer: QueuedTimer): void {
    while (timer.index > 0) {
      const parent = this.#heap[(timer.index - 1) >> 1] as QueuedTimer;
      if (parent.due <= timer.due) return;
      this.#swap(parent, timer);
    }
  }

  #siftDown(timer: QueuedTimer): void {
    for (;;) {
      const left = this.#heap[2 * timer.index + 1];
      const right = this.#heap[2 * timer.index + 2];
      const child = right !== undefined && left !== undefined && right.due < left.due ? right : left;
      if (child === undefined || timer.due <= child.due) return;
      this.#swap(child, timer);
    }
  }

  #swap(a: QueuedTimer, b: QueuedTimer): void {
    const index = a.index;
    this.#place(a, b.index);
    this.#place(b, index);
  }

  #place(timer: QueuedTimer, index: number): void {
    this.#heap[index] = timer;
    timer.index = index;
  }
}
