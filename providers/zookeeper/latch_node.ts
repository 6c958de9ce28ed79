/**
 * What is known of one node of ours, from before it is asked for until it is gone.
 *
 * @module
 */

import type { Stat } from "./protocol.ts";

/** A node of ours. */
export interface LatchNode {
  readonly group: string;
  readonly participantId: string;
  /** Whether it was made to lead at once, or to wait. */
  readonly kind: "term" | "place";
  /** By which its name is recognized when the answer to its creation was lost. */
  readonly guid: string;
  /** Whether its creation was asked for, so that it may exist. */
  asked: boolean;
  /** Where it is, once that is known. */
  created: { readonly path: string; readonly stat: Stat } | null;
  /** Whether it is the first of its group. Once it is, it remains so: all earlier ones are gone, new ones come after. */
  first: boolean;
  /** For a place that was granted: when, by the server's clock. */
  grantedAt: number | null;
  /** When the lease that it stands for has not been renewed for too long, by the monotonic clock. */
  expiresAt: number;
}

/** Makes a node that is not asked for yet. */
export function latchNode(group: string, participantId: string, kind: "term" | "place", guid: string): LatchNode {
  const unknown = { asked: false, created: null, first: false, grantedAt: null, expiresAt: Infinity };
  return { group, participantId, kind, guid, ...unknown };
}
