/** Results for people: a table of medians, ratios and spreads. */

import { type Measurement, median, ratioOf } from "./measurement.ts";

/** Returns the table. Its ratios compare within this run, and with `earlier` where that is given. */
export function table(measurements: readonly Measurement[], earlier?: readonly Measurement[]): string {
  const head = ["suite", "backend", "what", "median", "spread", "ratio", ...(earlier ? ["earlier", "change"] : [])];
  const rows = measurements.map((each) => {
    const ratio = ratioOf(each, measurements);
    const known = earlier?.find(({ suite, backend, what }) =>
      suite === each.suite && backend === each.backend && what === each.what
    );
    const cells = [
      ...[each.suite, each.backend, each.what, `${format(median(each.runs))} ${each.unit}`],
      each.runs.length < 2 ? "" : `${format(Math.min(...each.runs))} to ${format(Math.max(...each.runs))}`,
      ratio === null ? "" : `${ratio.toFixed(2)} x ${each.beside}`,
    ];
    if (earlier === undefined) return cells;
    const before = known === undefined ? null : median(known.runs);
    return [...cells, before === null ? "" : format(before), before ? (median(each.runs) / before).toFixed(2) : ""];
  });
  const all = [head, ...rows];
  const widths = head.map((_, column) => Math.max(...all.map((row) => row[column]?.length ?? 0)));
  return all.map((row) => row.map((cell, column) => cell.padEnd(widths[column] ?? 0)).join("  ").trimEnd()).join("\n");
}

/** Returns three digits of `value`, or the whole of it where that is more. */
export function format(value: number): string {
  if (!Number.isFinite(value)) return "-";
  return value >= 100 ? String(Math.round(value)) : String(Number(value.toPrecision(3)));
}
