/**
 * The record of a term: written once, in full, before anyone can see it.
 *
 * @module
 */

import type { Holder } from "../kit/host_process.ts";

/** The content of a term's file. It never changes; the file's modification time counts the heartbeats. */
export interface TermRecord {
  readonly electionGroup: string;
  readonly participantId: string;
  readonly termId: string;
  /**
   * The second name of the file, under which its holder touches it. Unique, so a late touch cannot hit another file.
   */
  readonly beat: string;
  readonly acquiredAt: string;
  readonly heartbeatTimeout: number;
  readonly metadata: Readonly<Record<string, string>>;
  /** The process, where its death can be proved, and that of all of {@linkcode TermRecord.heldBy}. */
  readonly holder: Holder | null;
  /** Other processes that act for it: the lease is not free before they are dead too. */
  readonly heldBy?: readonly Holder[];
  /** The term that this one follows, as it was judged. */
  readonly after: Predecessor;
}

/** The ground that a claim rests upon. */
export interface Predecessor {
  /** The number of the term before; `"0"` if there was none. */
  readonly number: string;
  /**
   * Its modification time, where the claim rests upon its standing still; null where its holder had released it or
   * died.
   */
  readonly mtime: number | null;
  /**
   * The time for which it had to stand still, in milliseconds; 0 where it did not have to. Absent in records of earlier
   * versions.
   */
  readonly leaseMs?: number;
}

/** Reads a record. Null if it is not one, or one of another group. */
export function parseRecord(text: string, electionGroup: string): TermRecord | null {
  let value: unknown;
  try {
    value = JSON.parse(text);
  } catch {
    return null;
  }
  return isRecord(value) && value.electionGroup === electionGroup ? value : null;
}

function isRecord(value: unknown): value is TermRecord {
  return isObject(value) && isText(value.electionGroup) && isText(value.participantId) && isText(value.termId) &&
    typeof value.beat === "string" && /^[1-9]\d*\.[0-9a-f-]{36}$/.test(value.beat) &&
    isText(value.acquiredAt) && !Number.isNaN(new Date(value.acquiredAt).getTime()) &&
    typeof value.heartbeatTimeout === "number" && value.heartbeatTimeout > 0 &&
    isObject(value.metadata) && Object.values(value.metadata).every((each) => typeof each === "string") &&
    (value.holder === null || isHolder(value.holder)) &&
    (value.heldBy === undefined || Array.isArray(value.heldBy) && value.heldBy.every(isHolder)) &&
    isPredecessor(value.after);
}

function isPredecessor(value: unknown): value is Predecessor {
  return isObject(value) && typeof value.number === "string" && /^\d+$/.test(value.number) &&
    (value.mtime === null || typeof value.mtime === "number") &&
    (value.leaseMs === undefined || typeof value.leaseMs === "number");
}

function isHolder(value: unknown): value is Holder {
  return isObject(value) && isText(value.host) && isText(value.startTime) &&
    typeof value.pid === "number" && Number.isInteger(value.pid) && value.pid > 0;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

function isText(value: unknown): value is string {
  return typeof value === "string" && value !== "";
}
