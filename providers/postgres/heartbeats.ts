/**
 * Sends heartbeats to the server.
 *
 * @module
 */

import type { Renewal, RenewalOutcome, SendRenewals } from "../kit/renewals.ts";
import type { Answers } from "../kit/answers.ts";
import { TELL_RENEWALS_BELOW_MS } from "../kit/hint_stream.ts";
import type { LeaseTable } from "./lease_table.ts";
import type { Statements } from "./statements.ts";

/**
 * The time for which the second try of a heartbeat waits for a row that another session has locked: for a moment, or by
 * a person.
 */
const RENEWAL_LOCK_TIMEOUT = "200ms";
/** The time for which the first one does: it must not hold up the heartbeats of others. */
const NO_LOCK_TIMEOUT = "1ms";

/** Returns what sends renewals to `table`. */
export function sendRenewals(table: LeaseTable, statements: Statements, answers: Answers): SendRenewals {
  const { renew, renewLocked, renewOne } = statements;
  // The first try goes over the heartbeats' own connection, where nothing waits for a row; what does, waits among the
  // calls.
  return async (due, manner, signal) => {
    const first = manner === "first";
    const options = manner === "patient" ? { urgent: true } : { lane: "heartbeats" } as const;
    // Short leases are told of, and those who tell commit one after another: that wait is no reason to give up.
    const isAlone = (renewals: readonly Renewal[]) =>
      renewals.length === 1 && renewals.every(({ lease }) => lease.heartbeatTimeout >= TELL_RENEWALS_BELOW_MS);
    const alone = first && isAlone(due());
    let sent: readonly Renewal[] = [];
    let sentAt = 0;
    const values = () => {
      sent = due();
      sentAt = answers.monotonic();
      const bounds = sent.map(({ lease }) => first ? { earliest: null, latest: null } : answers.bounds(lease));
      return alone ? aloneValues(sent) : [
        sent.map(({ lease }) => lease.electionGroup),
        sent.map(({ lease }) => lease.termId),
        sent.map(({ lease }) => lease.heartbeatTimeout),
        sent.map(({ metadata }) => metadata),
        bounds.map(({ earliest }) => earliest),
        bounds.map(({ latest }) => latest),
        ...(manner === "patient" ? [RENEWAL_LOCK_TIMEOUT] : []),
      ];
    };
    const statement = alone ? renewOne : manner === "patient" ? renewLocked : renew;
    const rows = await table.write(statement, values, signal, options);
    // So that a second try knows of a step that has made the first one unsure.
    if (rows[0] !== undefined) answers.noteTime(rows[0][2], sentAt);
    const outcomes = new Map<Renewal, RenewalOutcome>(sent.map((renewal) => [renewal, "lost"]));
    for (const [ordinal, outcome] of rows) {
      const renewal = sent[Number(ordinal) - 1];
      if (renewal === undefined || outcomes.get(renewal) === "renewed") continue;
      // A row that was waited for, and that no step of the clock excuses, is not ours any more.
      const unsure = manner === "patient" ? "lost" : "unsure";
      outcomes.set(renewal, outcome === "renewed" ? "renewed" : unsure);
    }
    return outcomes;
  };
}

/** A single renewal, if its callers are still there. */
function aloneValues([renewal]: readonly Renewal[]): unknown[] {
  const { lease: { electionGroup = "", termId = "", heartbeatTimeout = 0 } = {}, metadata = null } = renewal ?? {};
  return [electionGroup, termId, heartbeatTimeout, metadata, NO_LOCK_TIMEOUT];
}
