/**
 * The answers of the scripts, in our words. An answer of another form is an error, and never taken for a loss.
 *
 * @module
 */

import { parseMetadata, permanently } from "../../src/call.ts";
import type { LeaderInfo } from "../../src/provider.ts";
import { isRefusal, messageOf } from "./link.ts";

/** A record as a script answered it. */
export interface LeaseRecord {
  /** Without `expiresIn`, which is for the evidence to say. */
  readonly leader: Omit<LeaderInfo, "expiresIn">;
  /** The text that changes with each write. */
  readonly version: string;
  readonly heartbeatTimeout: number;
  /** Milliseconds until it expires by the server's clock; not positive when it has. */
  readonly expiresInMs: number;
}

/** Says which key it is that holds something else than a lease. */
export function explain(error: unknown, key: string): unknown {
  const message = messageOf(error);
  if (/\bMOVED\b/.test(message)) {
    return permanently(new Error(`the server belongs to a cluster: use redis+cluster: (${message})`, { cause: error }));
  }
  if (/unauthenticated/.test(message)) {
    // It takes only short commands from strangers, and tells others so.
    return permanently(new Error(`NOAUTH the server asks for a password (${message})`, { cause: error }));
  }
  if (error instanceof Error && isRefusal(error)) return permanently(error);
  if (!/\b(WRONGTYPE|FOREIGN)\b/.test(message)) return error;
  const why = `the key "${key}" is not a lease: ${message.replace(/^.*\bFOREIGN /, "")}`;
  return permanently(new Error(why, { cause: error }));
}

/** Reads an answer that is a list. */
export function listOf(answer: unknown): readonly unknown[] {
  if (Array.isArray(answer) && answer.length > 0) return answer;
  throw new Error(`the server's answer is not one of our scripts': ${JSON.stringify(answer)}`);
}

/** Reads the outcome at the head of an answer, which must be one of `known`. */
export function outcomeOf<const T>(answer: readonly unknown[], known: Readonly<{ [outcome: string]: T }>): T {
  const outcome = String(answer[0]);
  const value = known[outcome];
  if (value === undefined) throw new Error(`the server's answer is not one of our scripts': ${outcome}`);
  return value;
}

/** Reads microseconds since the Unix epoch, as a number of milliseconds with fractions. */
export function millisecondsOf(microseconds: unknown): number {
  const value = Number(microseconds) / 1_000;
  if (Number.isFinite(value)) return value;
  throw new Error(`the server's time is not a number: ${microseconds}`);
}

/** Reads microseconds since the Unix epoch. */
export function dateOf(microseconds: unknown): Date {
  return new Date(Math.floor(Number(microseconds) / 1_000));
}

/** Reads `{termId, participantId, token, acquiredAt, renewedAt, metadata, heartbeatTimeout, expiresAt, beats}`. */
export function recordOf(fields: readonly unknown[], serverMs: number): LeaseRecord {
  const [termId, leaderId, token, acquiredAt, renewedAt, metadata, heartbeatTimeout, expiresAt, beats] = fields;
  return {
    leader: {
      leaderId: String(leaderId),
      termId: String(termId),
      token: BigInt(String(token)),
      leadershipAcquiredAt: dateOf(acquiredAt),
      lastHeartbeat: dateOf(renewedAt),
      metadata: parseMetadata(metadata === null ? null : String(metadata)),
    },
    version: `${termId}:${beats}:${renewedAt}`,
    heartbeatTimeout: Number(heartbeatTimeout),
    expiresInMs: millisecondsOf(expiresAt) - serverMs,
  };
}
