/**
 * Who may use how many connections of a pool. A heartbeat must not wait for a follower that waits for a row, so the two
 * never wait in one queue, and never use the last connection of the other.
 *
 * @module
 */

import { Reserve } from "./reserve.ts";

/** At most so many calls at a time, the others in the order in which they came. */
export class Lane {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  /** Makes a lane for `limit` calls at a time. */
  constructor(limit: number) {
    this.#free = limit;
  }

  /** Whether a call would not have to wait. */
  get isFree(): boolean {
    return this.#free > 0;
  }

  /**
   * Waits for a turn; an urgent call goes before those that wait. The caller must call the function returned, once.
   *
   * @throws the reason of `signal`, at once, when it aborts
   */
  async enter(signal: AbortSignal, urgent = false): Promise<() => void> {
    signal.throwIfAborted();
    if (this.#free > 0) this.#free--;
    else await this.#turn(signal, urgent);
    return () => {
      const next = this.#waiting.shift();
      if (next === undefined) this.#free++;
      else next();
    };
  }

  #turn(signal: AbortSignal, urgent: boolean): Promise<void> {
    return new Promise((resolve, reject) => {
      const onTurn = () => {
        signal.removeEventListener("abort", onAbort);
        resolve();
      };
      const onAbort = () => {
        this.#waiting.splice(this.#waiting.indexOf(onTurn), 1);
        reject(signal.reason);
      };
      signal.addEventListener("abort", onAbort, { once: true });
      if (urgent) this.#waiting.unshift(onTurn);
      else this.#waiting.push(onTurn);
    });
  }
}

/** How the connections of one pool are shared out. */
export interface Lanes {
  /** Looks, releases, second tries of heartbeats, and whatever else may wait. */
  readonly calls: Lane;
  /** Heartbeats, which wait for no row. */
  readonly heartbeats: Lane;
  /** What is kept for heartbeats. */
  readonly reserve: Reserve;
  /** Connections that listen. A lane for none is never entered. */
  readonly hints: Lane | null;
}

/** Heartbeats use a second connection only while the first is busy, or has died without a word. */
const HEARTBEATS = 2;

/** Shares out a pool of our own, which is as large as it has to be. */
export function ownLanes(calls: number): Lanes {
  return { calls: new Lane(calls), heartbeats: new Lane(HEARTBEATS), reserve: new Reserve(), hints: new Lane(1) };
}

/** The pools that users brought. Several providers may share one: what one keeps, the others must not count on. */
const shared = new WeakMap<object, Lanes>();

/** What a pool of `pg` allows if it is not told otherwise. */
const DEFAULT_MAX = 10;

/**
 * Shares out a pool that the user brought, of `max` connections. Of each three, one may listen; of three, one keeps for
 * heartbeats; so there is always one left for calls. Two do without listening.
 *
 * @throws {RangeError} if it has but one: a look that waits for a locked row would then hold up every heartbeat
 */
export function lanesOf(pool: object, max: number = DEFAULT_MAX): Lanes {
  if (max < 2) {
    throw new RangeError(
      `Cannot use a pool of ${max} connection: heartbeats need one that nothing else can take, so give it ` +
        "max: 2 or more (3 to listen for releases), or give the provider a URL",
    );
  }
  const known = shared.get(pool);
  if (known !== undefined) return known;
  const heartbeats = max < 6 ? 1 : HEARTBEATS;
  const hints = Math.floor(max / 3);
  const lanes = {
    calls: new Lane(max - heartbeats - hints),
    heartbeats: new Lane(heartbeats),
    reserve: new Reserve(),
    hints: hints === 0 ? null : new Lane(hints),
  };
  shared.set(pool, lanes);
  return lanes;
}
