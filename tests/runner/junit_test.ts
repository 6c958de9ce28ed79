/** What the driver reads from the reports of three runners. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { countTests, isByClock, testCases } from "./junit.ts";

const REPORTS = {
  deno: `<testcase classname="./tests/x_test.ts" name="good" line="3">
        </testcase>
        <testcase classname="./tests/x_test.ts" name="bad" line="4">
            <failure message="Uncaught AssertionError: a &gt; b">AssertionError: a &gt; &apos;b&apos;
    at x.ts:4</failure>
        </testcase>
        <testcase classname="./tests/x_test.ts" name="left out"><skipped/></testcase>`,
  bun: `<testcase file="tests/x_test.ts" name="good" assertions="0" />
    <testcase file="tests/x_test.ts" name="bad" assertions="0">
      <failure type="AssertionError" message="a &gt; b">AssertionError: a &gt; &#39;b&#39;&#10;    at x.ts:4&#10;</failure>
    </testcase>
    <testcase file="tests/x_test.ts" name="left out"><skipped /></testcase>`,
  node: `<testcase name="good" file="/there/tests/x_test.ts"/>
	<testcase name="bad" file="/there/tests/x_test.ts" failure="a > b">
		<failure type="testCodeFailure" message="a > b">
AssertionError: a > &apos;b&apos;
    at x.ts:4
		</failure>
	</testcase>
	<testcase name="left out" file="/there/tests/x_test.ts"><skipped type="skipped" message="true"/></testcase>
	<testcase name="/tests/holds_none_test.ts"/>`,
};

const FILES = { deno: "./tests/x_test.ts", bun: "tests/x_test.ts", node: "/there/tests/x_test.ts" };

for (const runtime of ["deno", "bun", "node"] as const) {
  test(`testCases() reads names, files, outcomes and reasons of ${runtime}`, () => {
    const [cases, file] = [testCases(REPORTS[runtime]), FILES[runtime]];
    assert.deepEqual(cases, [
      { name: "good", file, outcome: "passed", failure: "" },
      { name: "bad", file, outcome: "failed", failure: "AssertionError: a > 'b'\n    at x.ts:4" },
      { name: "left out", file, outcome: "skipped", failure: "" },
    ]);
    assert.deepEqual(countTests(cases), { passed: 1, failed: 1, skipped: 1 });
  });
}

test("isByClock() tells a bound of time from anything else that is wrong", () => {
  const failedBy = (failure: string) => isByClock({ name: "a", file: "", outcome: "failed", failure });
  for (
    const late of [
      "AssertionError: the leader: not within 20000 ms",
      "AssertionError: waited in vain for the leader",
      "TimeoutError: Signal timed out.",
      "error: Test timed out after 180000ms",
      "it took 2041.5 ms",
      "Cannot acquire: the server was silent for 100 ms",
    ]
  ) assert.ok(failedBy(late), late);
  for (const wrong of ["AssertionError: two lead", "ENOTEMPTY: directory not empty", "1 !== 2"]) {
    assert.ok(!failedBy(wrong), wrong);
  }
});
