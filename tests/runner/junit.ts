/** Counts what really ran, from JUnit reports: an exit code of 0 does not say that a test was there. */

/** How many tests ended how. */
export interface Counts {
  /** Tests that ran and passed. */
  readonly passed: number;
  /** Tests that ran and failed. */
  readonly failed: number;
  /** Tests that were left out. */
  readonly skipped: number;
}

/** No tests. */
export const NONE: Counts = { passed: 0, failed: 0, skipped: 0 };

/** Adds counts up. */
export function sum(counts: Iterable<Counts>): Counts {
  let { passed, failed, skipped } = NONE;
  for (const each of counts) {
    passed += each.passed;
    failed += each.failed;
    skipped += each.skipped;
  }
  return { passed, failed, skipped };
}

/** Counts the test cases of a report. A file that Node lists as a test, because it holds none, is none. */
export function countTests(xml: string): Counts {
  let { passed, failed, skipped } = NONE;
  for (
    const [, attributes = "", body = ""] of xml.matchAll(
      /<testcase\b((?:"[^"]*"|[^>"])*?)(?:\/>|>([\s\S]*?)<\/testcase>)/g,
    )
  ) {
    if (/\bname="[^"]*_test\.ts"/.test(attributes)) {
      if (/<(failure|error)\b/.test(body)) failed++;
    } else if (/<skipped\b/.test(body)) skipped++;
    else if (/<(failure|error)\b/.test(body)) failed++;
    else passed++;
  }
  return { passed, failed, skipped };
}
