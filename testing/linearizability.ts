/**
 * The check whether one lease explains the answers of a provider's lease register (acquire, renew, release, read) to
 * concurrent clients: a lease that did one thing after the other, each between a call and its answer.
 *
 * @module
 */

import type { RegisterRules } from "./linearizability/model.ts";
import type { RegisterOperation } from "./linearizability/recorder.ts";
import { relevant, search, type SearchResult } from "./linearizability/search.ts";

export type { RegisterRules } from "./linearizability/model.ts";
export { RegisterRecorder } from "./linearizability/recorder.ts";
export type { RegisterAnswer, RegisterOperation } from "./linearizability/recorder.ts";

/** The settings of a check. */
export interface LinearizabilityOptions extends Partial<RegisterRules> {
  /** See {@linkcode RegisterRules.expiry}. @default "final" */
  readonly expiry?: RegisterRules["expiry"];
  /** See {@linkcode RegisterRules.clockRateError}. @default 0.001 */
  readonly clockRateError?: number;
  /** See {@linkcode RegisterRules.resolutionMs}. @default 2 */
  readonly resolutionMs?: number;
  /** The number of states that may be visited for each group. @default 300_000 */
  readonly maxStates?: number;
}

/** The result of the check of a history. */
export interface LinearizabilityResult {
  /** The violations, at most one for each group. */
  readonly violations: readonly RegisterViolation[];
  /** The groups for which `maxStates` was not enough. */
  readonly undecided: readonly string[];
  /** The number of states that were visited, shrinking left out. */
  readonly states: number;
}

/** A history that no lease can have had. */
export interface RegisterViolation {
  /** The group. */
  readonly electionGroup: string;
  /** As few calls as still contradict each other, whatever the others did. */
  readonly operations: readonly RegisterOperation[];
  /** The calls as a table. */
  readonly table: string;
}

/**
 * Checks a history, each group for itself. It must begin before the first term of its groups.
 *
 * - One term at most has the lease. Others get it after a release, or after it can have expired: not earlier than
 *   `heartbeatTimeout` after the last acquire or renewal of the term was *sent*, less the tolerances.
 * - `renewed` and `released` are right only for the term that has the lease, `lost` and `notHolder` only when it has
 *   not.
 * - The token of a new term is larger than all before. A term that asks again while it has the lease keeps its token.
 * - `read`, and the leader in a refusal, tell who had the lease at some moment of the call. A refusal without a leader
 *   says that a race was lost, and so there must have been one.
 * - A call of unknown outcome was carried out at any time after it was sent, or never.
 *
 * Not looked at: names, metadata and times in the answers.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { memoryProvider } from "@multilock/core/memory";
 * import { checkLinearizability, RegisterRecorder } from "@multilock/core/testing";
 *
 * const recorder = new RegisterRecorder();
 * const provider = recorder.wrap(memoryProvider({ name: "docs-linearizability" }), "client 1");
 * await provider.read("group", { signal: AbortSignal.timeout(1_000) });
 * const { violations, undecided } = checkLinearizability(recorder.operations);
 * assert(violations.length === 0 && undecided.length === 0);
 * ```
 */
export function checkLinearizability(
  operations: readonly RegisterOperation[],
  options: LinearizabilityOptions = {},
): LinearizabilityResult {
  const { expiry = "final", clockRateError = 0.001, resolutionMs = 2, maxStates = 300_000 } = options;
  const rules = { expiry, clockRateError, resolutionMs };
  const violations: RegisterViolation[] = [];
  const undecided: string[] = [];
  let states = 0;
  const groups = Map.groupBy(operations, ({ electionGroup }) => electionGroup);
  for (const [electionGroup, history] of groups) {
    const find = (part: readonly RegisterOperation[]): SearchResult => search(part, rules, maxStates);
    const result = find(history);
    states += result.states;
    if (result.outcome === "undecided") undecided.push(electionGroup);
    if (result.outcome !== "none") continue;
    const smallest = shrinkHistory(history, (part) => find(part).outcome === "none");
    violations.push({ electionGroup, operations: smallest, table: formatTable(smallest) });
  }
  return { violations, undecided, states };
}

/**
 * Cuts a history that `contradicts` itself down. A call is never left out, for it may be what explains an answer; but
 * its answer is forgotten, and then it may or may not have been carried out. So what remains is wrong whatever the
 * others did.
 */
function shrinkHistory(
  history: readonly RegisterOperation[],
  contradicts: (part: readonly RegisterOperation[]) => boolean,
): RegisterOperation[] {
  let kept = firstContradiction(history, contradicts);
  for (let size = Math.ceil(kept.length / 2);; size = Math.ceil(size / 2)) {
    for (let from = 0; from < kept.length; from += size) {
      const weaker = kept.map((each, i) => i >= from && i < from + size ? forget(each) : each);
      if (contradicts(weaker)) kept = tidy(weaker);
    }
    if (size <= 1) break;
  }
  return tidy(kept);
}

/** The history up to the first answer that contradicts what came before: a prefix of a good history is good. */
function firstContradiction(
  history: readonly RegisterOperation[],
  contradicts: (part: readonly RegisterOperation[]) => boolean,
): RegisterOperation[] {
  const ends = history.map(({ answeredAt }) => answeredAt).filter(Number.isFinite).sort((a, b) => a - b);
  const until = (end: number) =>
    history.filter(({ invokedAt }) => invokedAt <= end)
      .map((each) => each.answeredAt <= end ? each : forget(each));
  let [low, high] = [0, ends.length - 1];
  while (low < high) {
    const middle = (low + high) >> 1;
    if (contradicts(until(ends[middle] ?? Infinity))) high = middle;
    else low = middle + 1;
  }
  return until(ends[low] ?? Infinity);
}

/** Like any call of unknown outcome, it may then be carried out at any later time. */
function forget(operation: RegisterOperation): RegisterOperation {
  return { ...operation, answer: "unknown", seen: null, answeredAt: Infinity };
}

/** Leaves out what explains nothing any more. */
function tidy(history: readonly RegisterOperation[]): RegisterOperation[] {
  const useful = new Set(relevant(history, history));
  // A refusal without a leader depends on every acquire beside it.
  const needsRace = history.some(({ answer, seen }) => answer === "held" && seen === null);
  return history.filter((each) =>
    each.answer !== "unknown" || useful.has(each) || (needsRace && each.operation === "acquire")
  );
}

function formatTable(operations: readonly RegisterOperation[]): string {
  const inOrder = [...operations].sort((a, b) => a.invokedAt - b.invokedAt);
  const start = inOrder[0]?.invokedAt ?? 0;
  const time = (at: number) => Number.isFinite(at) ? (at - start).toFixed(1) : "";
  const rows = inOrder.map((each) => [
    each.client,
    [each.operation, short(each.termId), each.heartbeatTimeout > 0 ? `for ${each.heartbeatTimeout} ms` : ""].join(" "),
    time(each.invokedAt),
    time(each.answeredAt),
    each.seen === null ? each.answer : `${each.answer} ${short(each.seen.termId)}, token ${each.seen.token}`,
  ]);
  const table = [["client", "operation", "from ms", "to ms", "answer"], ...rows];
  const widths = [0, 1, 2, 3].map((column) => Math.max(...table.map((row) => row[column]?.trim().length ?? 0)));
  return table.map(([client = "", operation = "", from = "", to = "", answer = ""]) =>
    [
      client.padEnd(widths[0] ?? 0),
      operation.trim().padEnd(widths[1] ?? 0),
      from.padStart(widths[2] ?? 0),
      to.padStart(widths[3] ?? 0),
      answer,
    ].join("  ")
  ).join("\n");
}

/** The beginning of a term's id, which tells it from the others. */
function short(termId: string | null): string {
  return termId === null ? "" : termId.slice(0, 8);
}
