/**
 * The operators of streams of changes that need no clock. Each reads from a source only when it is read itself, and
 * passes its closing on. Their arguments are checked when they are made.
 *
 * @module
 */

import { refuseUnknown } from "../spelling.ts";
import { isLeadershipChange, type LeadershipChange, transitionOf } from "./change.ts";

/**
 * The source that an operator reads from: one `next` at a time. `return` ends it, also while a `next` waits, which then
 * is done.
 */
export interface Source<T> {
  /** Reads one value. */
  next(): Promise<IteratorResult<T, undefined>>;
  /** Closes it. */
  return(): Promise<IteratorResult<never, undefined>>;
}

/** The answer of a source that has ended. */
export const DONE: IteratorReturnResult<undefined> = Object.freeze({ done: true, value: undefined });

/** A function of a value and of its place in the stream. */
export type Callback<T, U> = (value: T, index: number) => U | Promise<U>;

/** Callbacks of a transition. */
export interface Transitions<C> {
  /** Called when this participant has become the leader. */
  readonly acquired?: ((change: C) => unknown) | undefined;
  /** Called when this participant has ceased to be the leader. */
  readonly lost?: ((change: C) => unknown) | undefined;
}

/** Lets the values through for which `predicate` is true. */
export function filtered<T>(source: Source<T>, predicate: Callback<T, unknown>): Source<T> {
  checkFunction("filter by", predicate);
  let index = 0;
  return passing(source, async () => {
    for (;;) {
      const result = await source.next();
      if (result.done || await predicate(result.value, index++)) return result;
    }
  });
}

/** Replaces each value by what `mapper` makes of it. */
export function mapped<T, U>(source: Source<T>, mapper: Callback<T, U>): Source<U> {
  checkFunction("map by", mapper);
  let index = 0;
  return passing(source, async () => {
    const result = await source.next();
    return result.done ? result : { done: false, value: await mapper(result.value, index++) };
  });
}

/** Lets `limit` values through and closes the source. */
export function taken<T>(source: Source<T>, limit: number): Source<T> {
  const count = toCount("take", limit);
  let index = 0;
  return endedBy(source, () => ++index >= count, count === 0);
}

/** Skips `limit` values. */
export function dropped<T>(source: Source<T>, limit: number): Source<T> {
  const count = toCount("drop", limit);
  return filtered(source, (_, index) => index >= count);
}

/** Skips every value whose key is that of the value before. */
export function distinct<T>(source: Source<T>, keyOf: (value: T) => unknown = defaultKey): Source<T> {
  checkFunction("compare by", keyOf);
  let last: { readonly key: unknown } | null = null;
  return filtered(source, async (value) => {
    const key = await keyOf(value);
    const differs = last === null || !Object.is(last.key, key);
    last = { key };
    return differs;
  });
}

/** Ends with the change by which this participant becomes the leader; at once, without reading, if it is `leading`. */
export function untilLeader<C extends LeadershipChange>(source: Source<C>, leading: boolean): Source<C> {
  return endedBy(source, (change) => change.becameLeader, leading);
}

/**
 * Lets one term of this participant through: the one under way if it is `leading`, else the next; ends with its `lost`.
 */
export function oneTerm<C extends LeadershipChange>(source: Source<C>, leading: boolean): Source<C> {
  let within = leading;
  return endedBy(filtered(source, (change) => within ||= change.becameLeader), (change) => change.lostLeadership);
}

/** Calls `visit` with each value, one after another, until the source ends. */
export async function visited<T>(source: Source<T>, visit: Callback<T, unknown>): Promise<void> {
  try {
    checkFunction("call", visit);
    let index = 0;
    for (let result = await source.next(); !result.done; result = await source.next()) {
      await visit(result.value, index++);
    }
  } finally {
    await source.return();
  }
}

/** Calls the callback of each `acquired` and `lost`, one after another, until the source ends. */
export async function transitions<C extends LeadershipChange>(
  source: Source<C>,
  callbacks: Transitions<C>,
): Promise<void> {
  try {
    refuseUnknown("callback of onTransition", Object.keys(callbacks), ["acquired", "lost"]);
    for (const callback of [callbacks.acquired, callbacks.lost]) {
      if (callback !== undefined) checkFunction("call", callback);
    }
    await visited(source, (change) => {
      const transition = transitionOf(change);
      return transition === null ? undefined : callbacks[transition]?.(change);
    });
  } finally {
    await source.return();
  }
}

/** @throws {TypeError} if `callback` is not a function */
function checkFunction(verb: string, callback: unknown): void {
  if (typeof callback !== "function") throw new TypeError(`Cannot ${verb} "${callback}": it must be a function`);
}

/** Ends `source` with the first value that is the last, and closes it then; at once if there is to be none. */
function endedBy<T>(source: Source<T>, isLast: (value: T) => boolean, none = false): Source<T> {
  let ended = none;
  if (ended) void source.return();
  return passing(source, async () => {
    if (ended) return DONE;
    const result = await source.next();
    ended = result.done === true || isLast(result.value);
    // Closed now and not with the next read, as a reader that has what it wanted may never read again.
    if (ended) await source.return();
    return result;
  });
}

function passing<T, U>(source: Source<T>, next: () => Promise<IteratorResult<U, undefined>>): Source<U> {
  return { next, return: () => source.return() };
}

/**
 * Two changes are the same if they tell the same of the same terms, whoever made the objects; other values if
 * identical.
 */
function defaultKey(value: unknown): unknown {
  if (!isLeadershipChange(value)) return value;
  return `${value.type} ${value.previous?.termId} ${value.current?.termId}`;
}

function toCount(verb: string, limit: number): number {
  const count = Math.trunc(Number(limit));
  if (!(count >= 0)) throw new RangeError(`Cannot ${verb} "${limit}": it must be a number of at least 0`);
  return count;
}
