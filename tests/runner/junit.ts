/** Reads what really ran from JUnit reports: an exit code of 0 does not say that a test was there. */

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

/** One test of a report. */
export interface TestCase {
  /** Its name, as XML has it. */
  readonly name: string;
  /** Its file, as the runner names it; empty if it does not. */
  readonly file: string;
  /** How it ended. */
  readonly outcome: keyof Counts;
  /** What the runner says of its failure; empty if it did not fail. */
  readonly failure: string;
}

/** Counts the test cases of a report. */
export function countTests(cases: readonly TestCase[]): Counts {
  const counts = { ...NONE };
  for (const { outcome } of cases) counts[outcome]++;
  return counts;
}

/**
 * Lists the test cases of a report. A file that Node lists as a test, because it holds none, is none unless it failed.
 */
export function testCases(xml: string): TestCase[] {
  const pattern = /<testcase\b((?:"[^"]*"|[^>"])*?)(?:\/>|>([\s\S]*?)<\/testcase>)/g;
  return [...xml.matchAll(pattern)].flatMap(([, attributes = "", body = ""]) => {
    const [, name = ""] = /\bname="([^"]*)"/.exec(attributes) ?? [];
    const [, file = ""] = /\b(?:file|classname)="([^"]*_test\.ts)"/.exec(attributes) ?? [];
    const outcome = outcomeOf(body);
    const [, failure = ""] = /<(?:failure|error)\b(?:"[^"]*"|[^>"])*>([\s\S]*?)<\/(?:failure|error)>/.exec(body) ?? [];
    return name.endsWith("_test.ts") && outcome !== "failed"
      ? []
      : [{ name, file, outcome, failure: plain(failure).trim() }];
  });
}

/**
 * Returns whether a test failed by a bound of time. That may be due to the machine; what is wrong in any other way is
 * wrong.
 */
export function isByClock({ failure }: TestCase): boolean {
  const bounds = /waited in vain|time(d|-)? ?out|TimeoutError|(within|took) [\d.,]+ ?m?s\b|silent for [\d.,]+ ?ms/i;
  return bounds.test(failure);
}

/** Resolves the entities of a text in XML. */
function plain(text: string): string {
  const named: Record<string, string> = { amp: "&", apos: "'", gt: ">", lt: "<", quot: '"' };
  return text.replaceAll(
    /&(?:#(\d+)|(\w+));/g,
    (entity, code, name) => code ? String.fromCodePoint(Number(code)) : named[name] ?? entity,
  );
}

function outcomeOf(body: string): keyof Counts {
  if (/<skipped\b/.test(body)) return "skipped";
  return /<(failure|error)\b/.test(body) ? "failed" : "passed";
}
