/**
 * The search for an order of calls that explains their answers: that of Wing and Gong, with the states that were
 * visited remembered, as Lowe does.
 *
 * @module
 */

import { NEVER_HELD, type RegisterRules, type RegisterState, successors } from "./model.ts";
import type { RegisterOperation } from "./recorder.ts";

/** The result of a search: an order, that there is none, or neither before it had visited as many states as it may. */
export interface SearchResult {
  readonly outcome: "found" | "none" | "undecided";
  readonly states: number;
}

/** One call, prepared. */
interface Entry {
  readonly operation: RegisterOperation;
  /** True if another acquire was under way at the same time. */
  readonly raced: boolean;
}

/** One call of unknown outcome. */
interface Loose {
  readonly operation: RegisterOperation;
  /** The last answered call that needs its term to have the lease. */
  readonly neededBy: number;
}

/** The progress of the search. */
interface Node {
  readonly state: RegisterState;
  /** The first answered call whose turn has not come. All before it have had theirs. */
  readonly first: number;
  /** The calls after it that have had theirs. */
  readonly beyond: readonly number[];
  /** The calls of unknown outcome that were carried out. */
  readonly used: readonly number[];
}

/**
 * Searches for an order of `operations`, all of one group, that the model allows. Visits at most `maxStates` states.
 */
export function search(
  operations: readonly RegisterOperation[],
  rules: RegisterRules,
  maxStates: number,
): SearchResult {
  const { answered, unknown } = prepare(operations);
  const visited = new Set<string>();
  const stack: Node[] = [advance({ state: NEVER_HELD, first: -1, beyond: [], used: [] }, [])];
  for (let node = stack.pop(); node !== undefined; node = stack.pop()) {
    if (node.first >= answered.length) return { outcome: "found", states: visited.size };
    const key = keyOf(node, unknown);
    if (visited.has(key)) continue;
    if (visited.size >= maxStates) return { outcome: "undecided", states: visited.size };
    visited.add(key);
    stack.push(...expand(node, answered, unknown, rules));
  }
  return { outcome: "none", states: visited.size };
}

function prepare(operations: readonly RegisterOperation[]): { answered: Entry[]; unknown: Loose[] } {
  const inOrder = [...operations].sort((a, b) => a.invokedAt - b.invokedAt);
  const acquires = inOrder.filter(({ operation }) => operation === "acquire");
  const answered = inOrder.filter(({ answer }) => answer !== "unknown").map((operation) => ({
    operation,
    raced: acquires.some((other) =>
      other !== operation && other.invokedAt <= operation.answeredAt && operation.invokedAt <= other.answeredAt
    ),
  }));
  const unknown = relevant(operations, inOrder).map((operation) => ({
    operation,
    neededBy: answered.findLastIndex((each) => holderIn(each.operation) === operation.termId),
  }));
  return { answered, unknown };
}

/**
 * Returns those of `candidates` whose outcome is unknown, and that could explain an answer in `operations`: only that
 * of a term of which some answer says that it had the lease. A grant that nobody ever saw explains nothing: others are
 * refused in its name only by name, or because they raced.
 */
export function relevant(
  operations: readonly RegisterOperation[],
  candidates: readonly RegisterOperation[],
): RegisterOperation[] {
  const holders = new Set(operations.map(holderIn).filter((holder) => holder !== null));
  return candidates.filter(({ answer, operation, termId }) =>
    answer === "unknown" && (operation === "acquire" || operation === "release") &&
    termId !== null && holders.has(termId)
  );
}

/** The term that has the lease, if the answer of the call is right. */
function holderIn({ answer, termId, seen }: RegisterOperation): string | null {
  return answer === "renewed" || answer === "released" ? termId : seen?.termId ?? null;
}

/** The nodes that may follow, the most promising last. */
function expand(node: Node, answered: readonly Entry[], unknown: readonly Loose[], rules: RegisterRules): Node[] {
  const { state, beyond, used } = node;
  const candidates: number[] = [];
  // Every turn must come before the first answer that is still due; calls that were sent later have to wait.
  let due = Infinity;
  for (let i = node.first; i < answered.length; i++) {
    const entry = answered[i];
    if (entry === undefined || entry.operation.invokedAt > due) break;
    if (beyond.includes(i)) continue;
    due = Math.min(due, entry.operation.answeredAt);
    candidates.push(i);
  }
  // An unknown grant is put off until an answer may need it. Whatever comes before that is right without it, too.
  const needed = new Set(candidates.map((i) => answered[i]).map((entry) => entry && holderIn(entry.operation)));
  const next: Node[] = [];
  for (const [i, { operation }] of unknown.entries()) {
    if (operation.invokedAt > due) break;
    if (used.includes(i) || (operation.operation === "acquire" && !needed.has(operation.termId))) continue;
    for (const after of successors(state, operation, true, rules)) {
      if (after.now <= due) next.push({ ...node, state: after, used: [...used, i].sort((a, b) => a - b) });
    }
  }
  for (const i of candidates.reverse()) {
    const entry = answered[i];
    if (entry === undefined) continue;
    for (const after of successors(state, entry.operation, entry.raced, rules)) {
      // A call that is right now, and changes nothing, might as well have its turn now: no other order can do better.
      if (after === state) return [advance({ ...node, state: after }, [i])];
      if (after.now <= due) next.push(advance({ ...node, state: after }, [i]));
    }
  }
  return next;
}

/** Counts `turns` as done. */
function advance(node: Node, turns: readonly number[]): Node {
  const done = [...node.beyond, ...turns].sort((a, b) => a - b);
  let first = Math.max(node.first, 0);
  while (done[0] === first) {
    done.shift();
    first++;
  }
  return { ...node, first, beyond: done };
}

/**
 * Returns the key that tells a node from others. Which calls of a term were carried out makes no difference when its
 * time is over.
 */
function keyOf({ state, first, beyond, used }: Node, unknown: readonly Loose[]): string {
  const open = used.filter((i) =>
    (unknown[i]?.neededBy ?? 0) >= first || unknown[i]?.operation.termId === state.termId
  );
  const { now, termId, token, lastToken, life, renewedAt, timeoutMs } = state;
  return [first, beyond, open, now, termId, token, lastToken, life, renewedAt, timeoutMs].join("|");
}
