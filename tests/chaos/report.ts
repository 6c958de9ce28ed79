/** A chaos run as a row of a Markdown table. */

import type { ChaosResult } from "./chaos.ts";

/** The head of the table. */
export const HEAD: string = [
  "| backend | faults | terms | overlaps | token regressions | longest leaderless | its bound | items done | lost | twice | refused | took |",
  "|---|---|---|---|---|---|---|---|---|---|---|---|",
].join("\n");

/** One row. */
export function rowOf(result: ChaosResult): string {
  const { backend, faults, terms, overlaps, regressions, leaderlessMs, boundMs, done, lost, doneTwice, fenced } =
    result;
  const inSeconds = (ms: number) => `${(ms / 1_000).toFixed(1)} s`;
  const cells = [
    backend,
    faults,
    terms,
    overlaps.size,
    regressions.length,
    inSeconds(leaderlessMs),
    inSeconds(boundMs),
  ];
  return `| ${[...cells, done, lost, doneTwice, fenced, inSeconds(result.seconds * 1_000)].join(" | ")} |`;
}
