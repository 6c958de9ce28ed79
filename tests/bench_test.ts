/** The summary of benchmarks; what they measure is nothing that a test could hold. */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Measurement } from "../bench/measurement.ts";
import { table } from "../bench/table.ts";

const line = { suite: "acquire", backend: "redis", unit: "us" };
const bare: Measurement = { ...line, what: "bare", runs: [100, 90, 400] };
const ours: Measurement = { ...line, what: "ours", runs: [150, 125, 110], beside: "bare" };

test("table() shows medians, spreads, and ratios within the run", () => {
  assert.deepEqual(rows(table([bare, ours])), [
    "suite backend what median spread ratio",
    "acquire redis bare 100 us 90 to 400",
    "acquire redis ours 125 us 110 to 150 1.25 x bare",
  ]);
});

test("table() compares with an earlier run line by line, when there is one, and says nothing of what is new", () => {
  const other: Measurement = { ...ours, backend: "valkey", runs: [1] };
  assert.deepEqual(rows(table([bare, ours], [{ ...ours, runs: [250] }, other])), [
    "suite backend what median spread ratio earlier change",
    "acquire redis bare 100 us 90 to 400",
    "acquire redis ours 125 us 110 to 150 1.25 x bare 250 0.50",
  ]);
});

function rows(text: string): string[] {
  return text.split("\n").map((row) => row.replaceAll(/ +/g, " "));
}
