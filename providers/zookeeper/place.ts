/**
 * The place of one participant in the queue of one group.
 *
 * @module
 */

import type { LatchNode } from "./latch_node.ts";
import type { LatchSession } from "./latch_session.ts";

/** The place of one participant in one group, shared by all its watches. */
export interface Place {
  readonly group: string;
  readonly participantId: string;
  /** The number of watches that keep it. */
  watches: number;
  /** Aborts when the last of them has ended. */
  readonly over: AbortController;
  /** The session in which it campaigns; null while it does not. */
  session: LatchSession | null;
  /** The node that waits. */
  node: LatchNode | null;
  /** The node that is being made. */
  taking: Promise<void> | null;
  /** The node that the participant asks for the lease with, just now: it is its place again if that is refused. */
  claiming: LatchNode | null;
  /** True if a watch had nothing to look at meanwhile. */
  hasMissed: boolean;
  /** The node that the participant leads with, or has asked to. */
  claimed: LatchNode | null;
  /** When it was given a hint that it has not followed yet, by the monotonic clock. */
  hintedAt: number | null;
  /** The time that it took to follow one lately, in milliseconds; null before it has. */
  reactionMs: number | null;
  /** Wakes the watches. */
  readonly wake: Set<() => void>;
  /** Stops waiting for a claim of the node, which is first. */
  claimedInTime: () => void;
}

/** The time for which the first may hesitate at least, and beside what it is known to need. */
const CLAIM_MS = 1_000;
/**
 * The time that a participant may need of which nothing is known: as long as elections let a health check last by
 * default.
 */
const UNKNOWN_REACTION_MS = 5_000;

/** Makes the place of a participant that does not campaign yet. */
export function placeOf(group: string, participantId: string): Place {
  return {
    ...{ group, participantId, watches: 0, over: new AbortController(), wake: new Set() },
    ...{ session: null, node: null, taking: null, claiming: null, hasMissed: false, claimed: null },
    ...{ hintedAt: null, reactionMs: null, claimedInTime() {} },
  };
}

/**
 * Takes note that the participant asks for the lease. A shorter time than the last counts only in part: that may have
 * been a call on which it had decided before the hint.
 */
export function noteReaction(place: Place, now: number): void {
  if (place.hintedAt === null) return;
  place.reactionMs = Math.max(now - place.hintedAt, (place.reactionMs ?? 0) * 3 / 4);
  place.hintedAt = null;
}

/**
 * The time for which the first may hesitate, in milliseconds. Twice what it took the last time, since checks vary; but
 * a group is not kept from those who wait for longer than half a session, which is less than a crash would cost.
 */
export function patienceFor(reactionMs: number | null, sessionTimeout: number): number {
  const expected = reactionMs === null ? Math.min(sessionTimeout / 3, UNKNOWN_REACTION_MS) : reactionMs * 2;
  return Math.max(CLAIM_MS, Math.min(CLAIM_MS + expected, sessionTimeout / 2));
}
