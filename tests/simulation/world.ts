/**
 * Virtual time, and the processes that live in it: each with a clock of its own, each of which can be held up at any
 * moment.
 *
 * @module
 */

import { setImmediate } from "node:timers";
import type { Clock, Instant } from "../../src/time/clock.ts";
import type { Random } from "./random.ts";

/** Something that happens at a moment, in a process or, without one, outside of all. */
interface Occurrence {
  readonly at: number;
  readonly order: number;
  readonly process: Process | null;
  readonly run: () => void;
}

/** Where the wall clocks start. */
const EPOCH = Date.UTC(2026, 0, 1);

/** One thread, one time. What happens is decided by the order of a heap, never by the machine. */
export class World {
  /** True time, in milliseconds: that of the server. */
  now = 0;
  /** Milliseconds for which everything stood still at reads of a clock. */
  stalled = 0;
  /** How many things have happened. */
  count = 0;
  /** Is called at every instant at which anything can have changed. */
  onInstant: () => void = () => {};
  /** No stall goes beyond this moment. */
  quietAt = Infinity;
  readonly #heap: Occurrence[] = [];
  #order = 0;
  #looking = false;

  /** True time as a clock, that of the server. */
  readonly clock: Clock = {
    monotonic: () => this.now,
    wall: () => EPOCH + this.now,
    setTimer: (callback, delayMs) => this.at(this.now + delayMs, callback),
  };

  /** Lets `run` happen at the moment `at`, in `process` if there is one. Returns a function that cancels it. */
  at(at: number, run: () => void, process: Process | null = null): () => void {
    let cancelled = false;
    this.#push({ at, order: this.#order++, process, run: () => cancelled || run() });
    return () => cancelled = true;
  }

  /** Runs until the moment `end`, or until `isOver`. After each occurrence all promises that can settle do so. */
  async run(end: number, isOver: () => boolean): Promise<void> {
    for (let next = this.#heap[0]; next !== undefined && next.at <= end && !isOver(); next = this.#heap[0]) {
      this.#pop();
      this.now = Math.max(this.now, next.at);
      const { process } = next;
      if (process !== null && !process.alive) continue;
      if (process !== null && process.blocked) {
        process.held.push(next.run);
        continue;
      }
      this.count++;
      this.look();
      next.run();
      await turn();
      this.look();
    }
    if (!isOver()) this.now = Math.max(this.now, end);
  }

  /** Calls `onInstant`; reads of clocks that it makes are no occasion for a stall. */
  look(): void {
    if (this.#looking) return;
    this.#looking = true;
    try {
      this.onInstant();
    } finally {
      this.#looking = false;
    }
  }

  /**
   * A read of a clock: the one moment within running code at which a pause makes a difference, since the value that was
   * read grows stale. All processes stand still, and what was due meanwhile happens late, which is one of the histories
   * that could be.
   */
  stall(probability: number, maxMs: number, random: Random): void {
    if (this.#looking || probability === 0 || !random.chance(probability)) return;
    this.look();
    const ms = Math.min(random.between(0, maxMs), Math.max(0, this.quietAt - this.now));
    this.now += ms;
    this.stalled += ms;
  }

  #push(occurrence: Occurrence): void {
    const heap = this.#heap;
    let index = heap.push(occurrence) - 1;
    while (index > 0) {
      const parent = (index - 1) >> 1;
      if (isBefore(heap[parent] as Occurrence, occurrence)) break;
      heap[index] = heap[parent] as Occurrence;
      index = parent;
    }
    heap[index] = occurrence;
  }

  #pop(): void {
    const heap = this.#heap;
    const last = heap.pop();
    if (last === undefined || heap.length === 0) return;
    let index = 0;
    for (;;) {
      let child = 2 * index + 1;
      if (child >= heap.length) break;
      if (child + 1 < heap.length && isBefore(heap[child + 1] as Occurrence, heap[child] as Occurrence)) child++;
      if (isBefore(last, heap[child] as Occurrence)) break;
      heap[index] = heap[child] as Occurrence;
      index = child;
    }
    heap[index] = last;
  }
}

function isBefore(a: Occurrence, b: Occurrence): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order);
}

/** Lets every promise that can settle do so: a turn of the event loop comes only after all microtasks. */
function turn(): Promise<void> {
  return new Promise((resolve) => setImmediate(resolve));
}

/** How the clock of a process differs from true time. */
export interface ClockFaults {
  /** How fast it runs: 0.999 loses a millisecond in a second. */
  readonly rate: number;
  /** Milliseconds by which its wall clock is ahead. */
  readonly offset: number;
}

/** One process. While it is blocked nothing happens in it: timers and answers wait. Its clock goes on. */
export class Process {
  /** Whether it has not been killed. */
  alive = true;
  /** What was due while it was blocked. */
  held: (() => void)[] = [];
  /** When it was last let go on. */
  resumedAt = 0;
  /** How likely a read of its clock is followed by a stall, and how long that is at most. */
  stalls = { probability: 0, maxMs: 0 };
  /** Whether its machine was ever suspended, or its wall clock stepped: its timers can then be late. */
  clockDisturbed = false;
  /** Whether its wall clock was ever set back: when it comes forward again, that counts as time that has passed. */
  wasSetBack = false;
  /** The timers that are set. */
  timers = 0;
  readonly clock: Clock;
  readonly #world: World;
  readonly #faults: ClockFaults;
  readonly #random: Random;
  #blocks = 0;
  #blockedAt = 0;
  #blockedMs = 0;
  #suspensions = 0;
  #suspendedAt = 0;
  #suspendedMs = 0;
  #steppedMs = 0;

  constructor(world: World, faults: ClockFaults, timerLatenessMs: number, random: Random) {
    this.#world = world;
    this.#faults = faults;
    this.#random = random;
    this.clock = {
      monotonic: () => this.#read(this.monotonic()),
      wall: () => this.#read(this.instant().wall),
      setTimer: (callback, delayMs) => this.#setTimer(callback, delayMs, timerLatenessMs),
    };
  }

  /** What its clocks show, without a stall. */
  instant(): Instant {
    const wall = EPOCH + this.#faults.offset + this.#steppedMs + this.#world.now * this.#faults.rate;
    return { monotonic: this.monotonic(), wall };
  }

  /** The milliseconds since `start`, by the larger of its clocks. */
  elapsedSince(start: Instant): number {
    const { monotonic, wall } = this.instant();
    return Math.max(monotonic - start.monotonic, wall - start.wall);
  }

  /** What its monotonic clock shows, without a stall: it stands still while the machine is suspended. */
  monotonic(): number {
    const suspended = this.#suspendedMs + (this.#suspensions > 0 ? this.#world.now - this.#suspendedAt : 0);
    return (this.#world.now - suspended) * this.#faults.rate;
  }

  /** Whether nothing happens in it at the moment. */
  get blocked(): boolean {
    return this.#blocks > 0;
  }

  /** For how long it has been blocked or stalled so far, in true milliseconds. */
  get idleMs(): number {
    return this.#blockedMs + (this.blocked ? this.#world.now - this.#blockedAt : 0) + this.#world.stalled;
  }

  /** Stops it, as SIGSTOP does. */
  pause(): void {
    if (this.#blocks++ === 0) this.#blockedAt = this.#world.now;
  }

  /** Lets it go on. What it missed happens now, in an order that nobody promises. */
  resume(): void {
    if (--this.#blocks > 0) return;
    this.#blockedMs += this.#world.now - this.#blockedAt;
    this.resumedAt = this.#world.now;
    const held = this.held.splice(0);
    if (this.#random.chance(0.5)) held.reverse();
    for (const run of held) this.#world.at(this.#world.now, run, this);
  }

  /** Suspends its machine: the monotonic clock stops, the wall clock does not. */
  suspend(): void {
    this.pause();
    this.clockDisturbed = true;
    if (this.#suspensions++ === 0) this.#suspendedAt = this.#world.now;
  }

  /** Wakes the machine. */
  wake(): void {
    if (--this.#suspensions === 0) this.#suspendedMs += this.#world.now - this.#suspendedAt;
    this.resume();
  }

  /** Sets its wall clock forward, or back. */
  step(ms: number): void {
    this.#steppedMs += ms;
    this.clockDisturbed = true;
    if (ms < 0) this.wasSetBack = true;
  }

  #read(value: number): number {
    this.#world.stall(this.stalls.probability, this.stalls.maxMs, this.#random);
    return value;
  }

  #setTimer(callback: () => void, delayMs: number, latenessMs: number): () => void {
    const due = this.monotonic() + Math.max(delayMs, 0);
    let isSet = true;
    this.timers++;
    const fire = () => {
      if (!isSet) return;
      // A machine that was suspended has time left on its timers.
      const left = due - this.monotonic();
      if (left > 0) return wait(left);
      isSet = false;
      this.timers--;
      callback();
    };
    // Never at once: time must pass, or rounding could keep a timer that is a trifle early busy for ever.
    const wait = (ms: number) =>
      void this.#world.at(
        this.#world.now + ms / this.#faults.rate + 0.01 + this.#random.between(0, latenessMs),
        fire,
        this,
      );
    wait(delayMs > 0 ? delayMs : 0);
    return () => {
      if (isSet) this.timers--;
      isSet = false;
    };
  }
}
