/**
 * Sends heartbeats to the server.
 *
 * @module
 */

import type { Answers } from "../kit/answers.ts";
import type { LaneOptions } from "../kit/laned_connections.ts";
import type { Renewal, RenewalOutcome, SendRenewals } from "../kit/renewals.ts";
import { isLocked, LOCKED, NOT_WRITABLE } from "./failures.ts";
import { fromHex, type LeaseTable } from "./lease_table.ts";
import type { RenewValues, Statements } from "./statements.ts";

/**
 * Returns what sends renewals to `table`; `source` is the provider that writes their metadata.
 *
 * First all that are due go together, over the heartbeats' own connection. MySQL passes over no locked row: one holds
 * up all of them, for a second. So those that are unsure then go each by itself, among the calls.
 */
export function sendRenewals(
  table: LeaseTable,
  statements: Statements,
  answers: Answers,
  source: string,
): SendRenewals {
  async function send(
    due: () => readonly Renewal[],
    isFirst: boolean,
    signal: AbortSignal,
    options: LaneOptions,
  ): Promise<Map<Renewal, RenewalOutcome>> {
    let sent: readonly Renewal[] = [];
    let sentAt = 0;
    const rows = await table.write(
      () => {
        sent = due();
        sentAt = answers.monotonic();
        return statements.renew(sent.map((renewal) => valuesOf(renewal, isFirst)), crypto.randomUUID());
      },
      signal,
      options,
    );
    const [, , , now, writable] = rows[0] ?? [];
    if (writable !== undefined && writable !== "1") throw new Error(NOT_WRITABLE);
    // So that a second try knows of a step that has made the first one unsure.
    if (now !== undefined) answers.noteTime(now, sentAt);
    const left = new Map(rows.map(([group, term, ms]) => [`${fromHex(group)} ${fromHex(term)}`, Number(ms)]));
    return new Map(sent.map((renewal) => {
      const { electionGroup, termId, heartbeatTimeout } = renewal.lease;
      const leftMs = left.get(`${electionGroup} ${termId}`);
      // A lease that has not become as long as it was asked to be was not renewed: it had expired, by a clock that may
      // have been stepped.
      if (leftMs !== undefined && leftMs >= heartbeatTimeout) return [renewal, "renewed"];
      return [renewal, leftMs !== undefined && isFirst ? "unsure" : "lost"];
    }));
  }

  function valuesOf({ lease, metadata, ordinal }: Renewal, isFirst: boolean): RenewValues {
    return {
      group: lease.electionGroup,
      term: lease.termId,
      timeoutMs: lease.heartbeatTimeout,
      metadata: metadata === null ? null : { json: metadata, source, ordinal },
      ...(isFirst ? { earliest: null, latest: null } : answers.bounds(lease)),
    };
  }

  async function sendAlone(renewal: Renewal, due: () => readonly Renewal[], signal: AbortSignal) {
    try {
      const outcomes = await send(() => due().filter((each) => each === renewal), false, signal, { urgent: true });
      return [...outcomes];
    } catch (error) {
      if (isLocked(error)) return [[renewal, "unsure"]] as const;
      throw error;
    }
  }

  return async (due, manner, signal) => {
    if (manner === "first") return await send(due, true, signal, { lane: "heartbeats" });
    // Still locked after it was waited for: there is no other way to ask.
    if (manner === "last") throw new Error(LOCKED);
    return new Map((await Promise.all(due().map((renewal) => sendAlone(renewal, due, signal)))).flat());
  };
}
