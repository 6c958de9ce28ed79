/** What the driver reads from the reports of three runners. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { countTests, testCases } from "./junit.ts";

const REPORTS = {
  deno: `<testcase name="good" line="3">
        </testcase>
        <testcase name="bad" line="4">
            <failure message="Uncaught AssertionError: a &gt; b">AssertionError: a &gt; &apos;b&apos;
    at x.ts:4</failure>
        </testcase>
        <testcase name="left out"><skipped/></testcase>`,
  bun: `<testcase name="good" assertions="0" />
    <testcase name="bad" assertions="0">
      <failure type="AssertionError" message="a &gt; b">AssertionError: a &gt; &#39;b&#39;&#10;    at x.ts:4&#10;</failure>
    </testcase>
    <testcase name="left out"><skipped /></testcase>`,
  node: `<testcase name="good" file="x.ts"/>
	<testcase name="bad" failure="a > b">
		<failure type="testCodeFailure" message="a > b">
AssertionError: a > &apos;b&apos;
    at x.ts:4
		</failure>
	</testcase>
	<testcase name="left out"><skipped type="skipped" message="true"/></testcase>
	<testcase name="/tests/holds_none_test.ts"/>`,
};

for (const [runtime, xml] of Object.entries(REPORTS)) {
  test(`testCases() reads names, outcomes and reasons of ${runtime}`, () => {
    const cases = testCases(xml);
    assert.deepEqual(cases, [
      { name: "good", outcome: "passed", failure: "" },
      { name: "bad", outcome: "failed", failure: "AssertionError: a > 'b'\n    at x.ts:4" },
      { name: "left out", outcome: "skipped", failure: "" },
    ]);
    assert.deepEqual(countTests(cases), { passed: 1, failed: 1, skipped: 1 });
  });
}
