/**
 * The shares of a pool's connections. A heartbeat must not wait for a follower that waits for a row, so the two never
 * wait in one queue, and never use the last connection of the other.
 *
 * @module
 */

import { type KeptClient, Reserve } from "./reserve.ts";

/** At most so many calls at a time, the others in the order in which they came. */
export class Lane {
  #free: number;
  readonly #waiting: (() => void)[] = [];

  /** Makes a lane for `limit` calls at a time. */
  constructor(limit: number) {
    this.#free = limit;
  }

  /** True if a call would not have to wait. */
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

/** The division of the connections of one pool. */
export interface Lanes<C extends KeptClient> {
  /** Looks, releases, second tries of heartbeats, and whatever else may wait. */
  readonly calls: Lane;
  /** Heartbeats, which wait for no row. */
  readonly heartbeats: Lane;
  /** The part that is kept for heartbeats. */
  readonly reserve: Reserve<C>;
  /** Connections that listen. A lane for none is never entered. */
  readonly hints: Lane | null;
}

/** Heartbeats use a second connection only while the first is busy, or has died without a word. */
const HEARTBEATS = 2;

/** Shares out a pool of our own, which is as large as it has to be. */
export function ownLanes<C extends KeptClient>(calls: number): Lanes<C> {
  return { calls: new Lane(calls), heartbeats: new Lane(HEARTBEATS), reserve: new Reserve<C>(), hints: new Lane(1) };
}

/** The pools that users brought. Several providers may share one: what one keeps, the others must not count on. */
const shared = new WeakMap<object, Lanes<never>>();

/** The name by which a pool has the number of its connections, and whether one of them may wait for hints. */
export interface PoolShape {
  readonly max: number;
  readonly setting: string;
  readonly hasHints: boolean;
}

/**
 * Shares out a pool that the user brought, of `max` connections. Of three, one keeps for heartbeats; where there are
 * hints, of each three one may wait for them; so there is always one left for calls. Two do without hints.
 *
 * @throws {RangeError} if it has but one: a look that waits for a locked row would then hold up every heartbeat
 */
export function lanesOf<C extends KeptClient>(pool: object, { max, setting, hasHints }: PoolShape): Lanes<C> {
  if (max < 2) {
    throw new RangeError(
      `Cannot use a pool of ${max} connection: heartbeats need one that nothing else can take, so give it ` +
        `${setting}: 2 or more${hasHints ? " (3 to listen for releases)" : ""}, or give the provider a URL`,
    );
  }
  const known = shared.get(pool);
  // Each pool has clients of one kind.
  if (known !== undefined) return known as unknown as Lanes<C>;
  const heartbeats = max < 6 ? 1 : HEARTBEATS;
  const hints = hasHints ? Math.floor(max / 3) : 0;
  const lanes: Lanes<C> = {
    calls: new Lane(max - heartbeats - hints),
    heartbeats: new Lane(heartbeats),
    reserve: new Reserve<C>(),
    hints: hints === 0 ? null : new Lane(hints),
  };
  shared.set(pool, lanes as unknown as Lanes<never>);
  return lanes;
}
