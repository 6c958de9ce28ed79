/**
 * Changes of leadership, as a participant tells them.
 *
 * @module
 */

import type { LostReason } from "../errors.ts";
import type { LeaderInfo } from "../provider.ts";

/**
 * The kinds of change: `acquired`, this participant became the leader; `lost`, its term ended; `changed`, it saw that
 * another participant leads, or that nobody does. `acquired` and `lost` alternate.
 */
export type LeadershipChangeType = "acquired" | "lost" | "changed";

/**
 * One change of leadership, as one participant saw it. When it arrives the state has changed already.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { elect, type LeadershipChange } from "@multilock/core";
 *
 * await using election = await elect("memory:", { electionGroup: "docs-change" });
 * const changes: Promise<LeadershipChange[]> = election.changes().toArray();
 * await election.stop();
 * const [change] = await changes;
 * assert(change?.type === "lost" && change.reason === "stopped");
 * ```
 */
export interface LeadershipChange {
  /** The kind of change. */
  readonly type: LeadershipChangeType;
  /** When, by this participant's wall clock. For people to read. */
  readonly at: Date;
  /** The leader before, as far as this participant knew; null when nobody did. */
  readonly previous: LeaderInfo | null;
  /** The leader now, as far as this participant knows; null when nobody does. */
  readonly current: LeaderInfo | null;
  /** Why the term ended; only with `lost`. */
  readonly reason?: LostReason;
  /** True if this participant became the leader: `type` is `"acquired"`. */
  readonly becameLeader: boolean;
  /** True if this participant ceased to be the leader: `type` is `"lost"`. */
  readonly lostLeadership: boolean;
}

/** Makes a change. */
export function leadershipChange(
  type: LeadershipChangeType,
  at: Date,
  previous: LeaderInfo | null,
  current: LeaderInfo | null,
  reason?: LostReason,
): LeadershipChange {
  return {
    type,
    at,
    previous,
    current,
    ...(reason !== undefined && { reason }),
    becameLeader: type === "acquired",
    lostLeadership: type === "lost",
  };
}

/** Returns whether `value`, from a stream that may have been mapped, is a change of leadership. */
export function isLeadershipChange(value: unknown): value is LeadershipChange {
  return typeof value === "object" && value !== null &&
    "type" in value && "becameLeader" in value && "lostLeadership" in value;
}

/** Returns `"acquired"` or `"lost"` if that is what `value` tells, else null. */
export function transitionOf(value: unknown): "acquired" | "lost" | null {
  if (!isLeadershipChange(value)) return null;
  return value.becameLeader ? "acquired" : value.lostLeadership ? "lost" : null;
}

/** Returns whether `a` and `b` are the same term, or both nobody's. */
export function isSameTerm(a: LeaderInfo | null, b: LeaderInfo | null): boolean {
  return a?.termId === b?.termId;
}
