/**
 * The messages on the channel of a table, `GROUP>MESSAGE`: a `>` is in no name. Hints, and no more: whoever may notify
 * may say anything.
 *
 * - `free COUNT PARTICIPANT` and `renewed TERM EPOCH_MS TIMEOUT_MS`, see `readMessage`; the count is not known here;
 * - `leads TIMEOUT_MS PARTICIPANT TERM TOKEN ACQUIRED_MS HEARTBEAT_MS METADATA`: a term has begun.
 *
 * @module
 */

import { parseMetadata } from "../../src/call.ts";
import type { Hint } from "../../src/provider.ts";
import { leaderHint, readMessage } from "../kit/hint_stream.ts";

/**
 * The share of the server's queue of notifications beyond which we add nothing to it. A full one, which a session that
 * listens and never reads can bring about, would fail the statement, and no lease may depend on a hint.
 */
const FULL_QUEUE = 0.5;

/** SQL that tells those who listen `message` about `group`, both SQL. */
export function notifySql(channel: string, group: string, message: string): string {
  return `CASE WHEN pg_notification_queue_usage() < ${FULL_QUEUE}
    THEN pg_notify('${channel}', ${group} || '>' || ${message})::text END`;
}

/** Reads a message; one that cannot be read is a reason to look. */
export function parseNotification(payload: string): { readonly group: string; readonly hint: Hint } {
  const end = payload.indexOf(">");
  const [group, text] = end < 0 ? [payload, ""] : [payload.slice(0, end), payload.slice(end + 1)];
  return { group, hint: text.startsWith("leads ") ? leaderOf(text) : readMessage(text) ?? {} };
}

function leaderOf(text: string): Hint {
  return leaderHint(() => {
    const [, timeout, leaderId = "", termId = "", token = "", acquiredAt, heartbeatAt, ...metadata] = text.split(" ");
    return {
      ...{ leaderId, termId, token: BigInt(token) },
      leadershipAcquiredAt: new Date(Number(acquiredAt)),
      lastHeartbeat: new Date(Number(heartbeatAt)),
      metadata: parseMetadata(metadata.join(" ")),
      expiresIn: Math.max(Number(timeout) || 0, 1),
    };
  });
}
