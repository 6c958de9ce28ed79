/** The house's rules that no tool holds. */

import assert from "node:assert/strict";
import { readdirSync, readFileSync } from "node:fs";
import { test } from "node:test";

const root = new URL("../", import.meta.url);
const MAX_COLUMNS = 120;
/** Code that is published. Elsewhere titles of tests and texts that mutants replace may be longer; comments may not. */
const PUBLISHED = ["mod.ts", "cli.ts", ...["src", "providers", "cli", "testing", "fencing"].flatMap(filesIn)];
const OTHERS = ["tests", "bench", "examples"].flatMap(filesIn);

function filesIn(directory: string): string[] {
  return readdirSync(new URL(`${directory}/`, root), { withFileTypes: true }).flatMap((entry) => {
    const path = `${directory}/${entry.name}`;
    return entry.isDirectory() ? filesIn(path) : path.endsWith(".ts") ? [path] : [];
  });
}

function longLines(path: string): string[] {
  const lines = readFileSync(new URL(path, root), "utf8").split("\n");
  return lines.flatMap((line, index) => line.length > MAX_COLUMNS ? [`${path}:${index + 1}: ${line}`] : []);
}

test(`no line of what is published is longer than ${MAX_COLUMNS} columns`, () => {
  assert.deepEqual(PUBLISHED.flatMap(longLines), []);
});

test(`no comment is longer than ${MAX_COLUMNS} columns`, () => {
  const isComment = (line: string) => /^[^:]+:\d+: *(\/\*\*|\*|\/\/)/.test(line);
  assert.deepEqual(OTHERS.flatMap(longLines).filter(isComment), []);
});

test("doc comments of what is published begin with their subject", () => {
  const begin = /\/\*\*[\s*]+(?:What|Whether|Those|How|Who|Whoever|That)\b.*/g;
  const found = (path: string) => readFileSync(new URL(path, root), "utf8").match(begin) ?? [];
  assert.deepEqual(PUBLISHED.flatMap((path) => found(path).map((text) => `${path}: ${text}`)), []);
});
