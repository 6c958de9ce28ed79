/**
 * The conformance suite: what every provider must do, as cases that any test runner can run.
 *
 * @module
 */

import type { Provider } from "../src/provider.ts";

/** What the suite needs to know of a provider. */
export interface ConformanceTarget {
  /** The provider's name. */
  readonly name: string;
  /** Opens one more client on the one store. Called many times; the suite closes what it opened. */
  open(): Provider | Promise<Provider>;
  /** The `heartbeatTimeout` of the suite's leases, in milliseconds. @default the provider's `minTimeout`, but at least 1,000 */
  readonly heartbeatTimeout?: number;
  /** Faults that can be injected into the server behind the provider; without one, its cases are left out. */
  readonly faults?: ConformanceFaults;
}

/** What can be done to the server behind a provider. */
export interface ConformanceFaults {
  /** Ends the server abruptly. */
  kill?(): Promise<void>;
  /** Starts it again on the same address and data. */
  restart?(): Promise<void>;
  /** Makes it hang: connections stay open, nothing is answered. */
  freeze?(): Promise<void>;
  /** Ends the hang. */
  thaw?(): Promise<void>;
}

/** One case. It resolves if the provider conforms, and rejects with an `AssertionError` that says what it did instead. */
export interface ConformanceCase {
  /** What is checked, as a sentence. */
  readonly name: string;
  /** Checks it. */
  run(): Promise<void>;
}

/** Returns the cases that apply to `target`, in the order in which they should run. */
export function conformanceCases(target: ConformanceTarget): ConformanceCase[] {
  return [{
    name: "healthCheck() resolves",
    async run() {
      await using provider = await target.open();
      await provider.healthCheck({ signal: AbortSignal.timeout(5_000) });
    },
  }];
}
