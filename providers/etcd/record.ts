/**
 * The value of a key: the account of the term that holds it. It names no time of expiry, which is the session's.
 *
 * @module
 */

import { parseMetadata } from "../../src/call.ts";
import type { LeaderInfo, Lease } from "../../src/provider.ts";
import { fromBase64, type Keys } from "./keys.ts";
import type { KeyValue } from "./requests.ts";

/** The record of one term. */
export interface TermRecord {
  readonly participantId: string;
  readonly termId: string;
  /** By the holder's wall clock, for people. */
  readonly acquiredAt: Date;
  readonly metadata: Readonly<Record<string, string>>;
}

/** Writes a record. */
export function encodeRecord({ participantId, termId, acquiredAt, metadata }: TermRecord): string {
  return JSON.stringify({ multilock: 1, participantId, termId, acquiredAt, metadata });
}

/** Reads a record; null if it is not one of ours. */
export function decodeRecord(text: string): TermRecord | null {
  try {
    const json: unknown = JSON.parse(text);
    if (typeof json !== "object" || json === null || !("multilock" in json) || json.multilock !== 1) return null;
    const { participantId, termId, acquiredAt, metadata } = json as Record<string, unknown>;
    const at = new Date(String(acquiredAt));
    if (typeof participantId !== "string" || typeof termId !== "string" || Number.isNaN(at.getTime())) return null;
    return { participantId, termId, acquiredAt: at, metadata: parseMetadata(JSON.stringify(metadata)) };
  } catch {
    return null;
  }
}

/** Describes whoever holds a key. A stranger, such as `etcdctl elect`, has left a proposal, and no term of ours. */
export function describe(kv: KeyValue, keys: Keys): LeaderInfo {
  const rest = keys.parse(fromBase64(kv.key))?.rest ?? "";
  const value = fromBase64(kv.value);
  const record = decodeRecord(value);
  const token = BigInt(kv.create_revision);
  if (record?.termId === rest) {
    const { participantId: leaderId, termId, acquiredAt: leadershipAcquiredAt, metadata } = record;
    return { leaderId, termId, token, leadershipAcquiredAt, lastHeartbeat: null, metadata, expiresIn: null };
  }
  return {
    leaderId: /^[\x20-\x7e]{1,255}$/.test(value) ? value : `etcd-session-${rest}`,
    // There is no such key: it cannot be evicted, since it would not notice.
    termId: `etcd-session/${rest}`,
    token,
    // Nobody knows. The epoch says so, and stays the same from look to look.
    leadershipAcquiredAt: new Date(0),
    lastHeartbeat: null,
    metadata: {},
    expiresIn: null,
  };
}

/** Returns the lease of a term. */
export function leaseOf(electionGroup: string, record: TermRecord, token: bigint, heartbeatTimeout: number): Lease {
  const { participantId, termId, acquiredAt } = record;
  return { electionGroup, participantId, termId, token, acquiredAt, heartbeatTimeout };
}
