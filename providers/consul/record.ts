/**
 * The value of a lock: its account of the term that holds it.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { gunzipSync, gzipSync } from "node:zlib";
import { parseMetadata } from "../../src/call.ts";
import { TooLargeError } from "./http.ts";

/** From this size on, in bytes, a record is packed: Consul refuses transactions of more than 512 KiB. */
const PACK_BYTES = 8 * 1024;
/** The most that fits into one transaction, in bytes: base64 adds a third, the operations around it the rest. */
const MAX_BYTES = 384 * 1024;

/** The record of one term. */
export interface TermRecord {
  readonly participantId: string;
  readonly termId: string;
  /** Null in the acquiring write, whose index is the token. */
  readonly token: bigint | null;
  readonly heartbeatTimeout: number;
  readonly acquiredAt: Date;
  /** By the holder's wall clock, for people. */
  readonly renewedAt: Date;
  /** Counts the heartbeats: a record that is written again is never the same, even by a clock that stands still. */
  readonly beat: number;
  readonly metadata: Readonly<Record<string, string>>;
}

/**
 * Writes a record.
 *
 * @throws {TooLargeError} if its metadata is too much for Consul, even packed
 */
export function encodeRecord(record: TermRecord): Uint8Array {
  const { token, metadata, ...rest } = record;
  const json = JSON.stringify({ multilock: 1, ...rest, ...(token !== null && { token: String(token) }), metadata });
  const bytes = Buffer.from(json);
  if (bytes.length < PACK_BYTES) return bytes;
  const packed = gzipSync(bytes);
  if (packed.length > MAX_BYTES) {
    throw new TooLargeError(`metadata takes ${packed.length} bytes, packed: Consul has room for ${MAX_BYTES}`);
  }
  return packed;
}

/** Reads a record; null if it is not one of ours. */
export function decodeRecord(value: Uint8Array): TermRecord | null {
  try {
    const isPacked = value[0] === 0x1f && value[1] === 0x8b;
    const json: unknown = JSON.parse(Buffer.from(isPacked ? gunzipSync(value) : value).toString());
    return isRecord(json) ? parseRecord(json) : null;
  } catch {
    return null;
  }
}

function isRecord(json: unknown): json is Record<string, unknown> {
  return typeof json === "object" && json !== null && "multilock" in json && json.multilock === 1;
}

function parseRecord(json: Record<string, unknown>): TermRecord | null {
  const { participantId, termId, token, heartbeatTimeout, beat } = json;
  const [acquiredAt, renewedAt] = [new Date(String(json.acquiredAt)), new Date(String(json.renewedAt))];
  const isWhole = typeof participantId === "string" && typeof termId === "string" &&
    typeof heartbeatTimeout === "number" && heartbeatTimeout > 0 && typeof beat === "number" &&
    (token === undefined || typeof token === "string" && /^\d{1,20}$/.test(token)) &&
    !Number.isNaN(acquiredAt.getTime()) && !Number.isNaN(renewedAt.getTime());
  if (!isWhole) return null;
  return {
    participantId,
    termId,
    token: token === undefined ? null : BigInt(token as string),
    heartbeatTimeout,
    acquiredAt,
    renewedAt,
    beat,
    metadata: parseMetadata(JSON.stringify(json.metadata)),
  };
}
