/**
 * What the scripts answer, in our words.
 *
 * @module
 */

import { parseMetadata } from "../../src/call.ts";
import type { LeaderInfo } from "../../src/provider.ts";

/** Says which key it is that holds something else than a lease. */
export function explain(error: unknown, key: string): unknown {
  const message = error instanceof Error ? error.message : String(error);
  if (!/\b(WRONGTYPE|FOREIGN)\b/.test(message)) return error;
  return new Error(`the key "${key}" is not a lease: ${message.replace(/^.*\bFOREIGN /, "")}`, { cause: error });
}

/** Reads `{termId, participantId, token, acquiredAt, renewedAt, metadata, expiresIn}`, as the scripts answer it. */
export function toLeader(fields: readonly unknown[]): LeaderInfo {
  const [termId, leaderId, token, acquiredAt, renewedAt, metadata, expiresIn] = fields;
  return {
    leaderId: String(leaderId),
    termId: String(termId),
    token: BigInt(String(token)),
    leadershipAcquiredAt: toDate(acquiredAt),
    lastHeartbeat: toDate(renewedAt),
    metadata: parseMetadata(String(metadata)),
    // In its last millisecond a lease has 0 left. One whose expiry somebody took away has no end.
    expiresIn: Number(expiresIn) < 0 ? null : Math.max(Number(expiresIn), 1),
  };
}

/** Reads microseconds since the Unix epoch. */
export function toDate(microseconds: unknown): Date {
  return new Date(Math.floor(Number(microseconds) / 1_000));
}
