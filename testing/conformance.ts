/**
 * The conformance suite: what every provider must do, as cases that any test runner can run.
 *
 * @module
 */

import { electionCases } from "./conformance/election_cases.ts";
import { expiryCases } from "./conformance/expiry_cases.ts";
import { faultCases } from "./conformance/fault_cases.ts";
import { lateCases } from "./conformance/late_cases.ts";
import { leaseCases } from "./conformance/lease_cases.ts";
import { lifecycleCases } from "./conformance/lifecycle_cases.ts";
import { overlapCases } from "./conformance/overlap_cases.ts";
import { readCases } from "./conformance/read_cases.ts";
import type { ConformanceCase, ConformanceTarget } from "./conformance/target.ts";
import { valueCases } from "./conformance/value_cases.ts";
import { walkCases } from "./conformance/walk_cases.ts";
import { watchCases } from "./conformance/watch_cases.ts";

export type { ConformanceCase, ConformanceDetour, ConformanceFaults, ConformanceTarget } from "./conformance/target.ts";

/**
 * Returns the cases that apply to `target`, in the order in which they should run, one after the other. They use groups
 * of their own, so that the store may hold others; only those that kill or freeze the server disturb them. They wait
 * for real leases to expire: half a minute in all where a lease may last one second.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { memoryProvider } from "@multilock/core/memory";
 * import { conformanceCases } from "@multilock/core/testing";
 *
 * const cases = conformanceCases({ name: "memory", open: () => memoryProvider({ name: "docs-conformance" }) });
 * assert(cases.length > 0); // register each with your test runner: test(each.name, each.run)
 * ```
 */
export function conformanceCases(target: ConformanceTarget): ConformanceCase[] {
  return CASES.flatMap((casesFor) => casesFor(target));
}

/** The cases that disturb the server come last. */
const CASES = [
  leaseCases,
  overlapCases,
  readCases,
  valueCases,
  watchCases,
  electionCases,
  lifecycleCases,
  walkCases,
  expiryCases,
  lateCases,
  faultCases,
];
