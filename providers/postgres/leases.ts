/**
 * Takes leases and gives them back: one by a statement of its own, many by one statement that decides each by itself.
 *
 * @module
 */

import type { Acquired, AcquireRequest, Held } from "../../src/provider.ts";
import type { Answer } from "../kit/answers.ts";
import type { JoinedManner } from "../kit/joined_calls.ts";
import { MAX_BATCH } from "../kit/renewals.ts";
import type { LeaseTable } from "./lease_table.ts";
import { isAboutRows, isLocked } from "./sql_state.ts";
import type { Statements } from "./statements.ts";

/** A lease that is asked for. */
export interface Look {
  readonly request: AcquireRequest;
  /** The number of the call. */
  readonly call: number;
  readonly answer: Answer;
}

/** A term that is to be over. */
export interface Release {
  readonly electionGroup: string;
  readonly termId: string;
  readonly transferTo: string;
  /** The number of the last call before it. */
  readonly call: number;
}

/** The provider that asks, and the time for which its calls wait for a locked row. */
interface Asker {
  readonly asker: string;
  readonly lockTimeout: string;
}

const spares = (error: unknown) => isAboutRows(error) || isLocked(error);

/** Returns how leases are asked for. */
export function looks(
  table: LeaseTable,
  { acquire, acquireMany }: Statements,
  { asker, lockTimeout }: Asker,
): JoinedManner<Look, Acquired | Held> {
  return {
    most: MAX_BATCH,
    hasLocks: true,
    key: ({ request }) => request.electionGroup,
    async alone(look, signal) {
      const { request: { electionGroup, termId, participantId, heartbeatTimeout, metadata }, answer, call } = look;
      const [row] = await table.write(acquire, () => {
        const { stale, earliest, latest } = answer.evidence(heartbeatTimeout);
        return [
          ...[electionGroup, termId, participantId, heartbeatTimeout, JSON.stringify(metadata), lockTimeout],
          ...[stale, [earliest, latest], `${asker} ${termId}`, call],
        ];
      }, signal);
      // The lease was free when the statement began, and taken before it came to it: too late to say by whom.
      return row === undefined ? { acquired: false, leader: null } : outcomeOf(look, row);
    },
    async together(due, signal) {
      let sent: readonly Look[] = [];
      const values = () => {
        sent = due();
        const requests = sent.map(({ request }) => request);
        const evidence = sent.map(({ request, answer }) => answer.evidence(request.heartbeatTimeout));
        return [
          requests.map(({ electionGroup }) => electionGroup),
          requests.map(({ termId }) => termId),
          requests.map(({ participantId }) => participantId),
          requests.map(({ heartbeatTimeout }) => heartbeatTimeout),
          requests.map(({ metadata }) => JSON.stringify(metadata)),
          evidence.map(({ stale }) => stale),
          evidence.map(({ earliest }) => earliest),
          evidence.map(({ latest }) => latest),
          sent.map(({ call }) => call),
          ...[asker, lockTimeout],
        ];
      };
      const rows = await table.write(acquireMany, values, signal);
      return answersOf(rows, sent, outcomeOf);
    },
    spares,
  };
}

/** Returns how leases are given back: before the looks that wait, each of which would find the lease held. */
export function releases(
  table: LeaseTable,
  { release, releaseMany }: Statements,
  { asker, lockTimeout }: Asker,
): JoinedManner<Release, "released" | "notHolder"> {
  return {
    most: MAX_BATCH,
    hasLocks: true,
    key: ({ electionGroup, termId }) => `${electionGroup} ${termId}`,
    async alone({ electionGroup, termId, transferTo, call }, signal) {
      const values = () => [electionGroup, termId, lockTimeout, `${asker} ${termId}`, call, transferTo];
      const rows = await table.write(release, values, signal, { urgent: true });
      return rows.length > 0 ? "released" : "notHolder";
    },
    async together(due, signal) {
      let sent: readonly Release[] = [];
      const values = () => {
        sent = due();
        return [
          sent.map(({ electionGroup }) => electionGroup),
          sent.map(({ termId }) => termId),
          sent.map(({ call }) => call),
          sent.map(({ transferTo }) => transferTo),
          asker,
        ];
      };
      const rows = await table.write(releaseMany, values, signal, { urgent: true });
      return answersOf(rows, sent, (_, [outcome]) => outcome === "released" ? outcome : "notHolder");
    },
    spares,
  };
}

/** Returns the answer of each of those that were sent that has a row. */
function answersOf<R, A>(
  rows: readonly string[][],
  sent: readonly R[],
  answerOf: (request: R, row: readonly string[]) => A,
): Map<R, A> {
  const answers = new Map<R, A>();
  for (const [ordinal, ...row] of rows) {
    const request = sent[Number(ordinal) - 1];
    if (request !== undefined) answers.set(request, answerOf(request, row));
  }
  return answers;
}

function outcomeOf({ request, answer }: Look, [outcome, ...record]: readonly string[]): Acquired | Held {
  const leader = answer.leader(record);
  if (outcome !== "won" || leader === null) return { acquired: false, leader };
  const { electionGroup, participantId, termId, heartbeatTimeout } = request;
  const { token, leadershipAcquiredAt: acquiredAt } = leader;
  return { acquired: true, lease: { electionGroup, participantId, termId, token, acquiredAt, heartbeatTimeout } };
}
