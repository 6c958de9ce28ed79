/**
 * The knowledge of one node of ours, from before it is asked for until it is gone.
 *
 * @module
 */

import type { Stat } from "./protocol.ts";

/** A node of ours. */
export interface LatchNode {
  readonly group: string;
  readonly participantId: string;
  /** Its purpose: a term was made to lead at once, a place to wait. */
  readonly kind: "term" | "place";
  /** By which its name is recognized when the answer to its creation was lost. */
  readonly guid: string;
  /** True once its creation was asked for, so that it may exist. */
  asked: boolean;
  /** Where it is, once that is known. */
  created: { readonly path: string; readonly stat: Stat } | null;
  /**
   * For a place: the names of those that stood before it when they were last looked for, in order. They can only become
   * fewer: whoever comes later stands behind. Null before the first look.
   */
  ahead: string[] | null;
  /**
   * True if it is the first of its group. Once it is, it remains so: all earlier ones are gone, new ones come after.
   */
  first: boolean;
  /** For a place that was granted: when, by the server's clock. */
  grantedAt: number | null;
  /** The writes of its record that are under way. */
  writing: Writing | null;
  /** True once a record that is not sure to be taken was sent when its lease was granted: that is tried once. */
  triedLarge: boolean;
  /** When the lease that it stands for has not been renewed for too long, by the monotonic clock. */
  expiresAt: number;
}

/** The writes of one record that are under way. */
export interface Writing {
  /** True if all of them go over one connection, which keeps their order. */
  readonly inOrder: boolean;
  /** Resolves when all of them have come to an end. */
  readonly settled: Promise<unknown>;
}

/** Makes a node that is not asked for yet. */
export function latchNode(group: string, participantId: string, kind: "term" | "place", guid: string): LatchNode {
  return {
    ...{ group, participantId, kind, guid, asked: false, created: null, ahead: null, first: false },
    ...{ grantedAt: null, writing: null, triedLarge: false, expiresAt: Infinity },
  };
}
