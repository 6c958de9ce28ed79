/**
 * The description of a provider for the conformance suite, and the shape of its cases.
 *
 * @module
 */

import type { Clock } from "../../src/time/clock.ts";
import type { Provider } from "../../src/provider.ts";

/** The facts that the suite needs to know of a provider. */
export interface ConformanceTarget {
  /** The provider's name. */
  readonly name: string;
  /**
   * Opens one more client on the one store. Called many times; the suite closes what it opened. A `clock`, where one is
   * given, is the clock of that client: its wall clock may be hours off.
   */
  open(options?: { readonly clock?: Clock }): Provider | Promise<Provider>;
  /**
   * The `heartbeatTimeout` of leases that the suite lets expire, in milliseconds. @default the provider's `minTimeout`,
   * but at least 1,000
   */
  readonly heartbeatTimeout?: number;
  /**
   * The most metadata that the backend can keep, in bytes of JSON in UTF-8; more it must refuse with an error.
   * @default no limit
   */
  readonly maxMetadataBytes?: number;
  /** Where the random walks start. A failure names it. @default 1 */
  readonly seed?: number;
  /** Faults that can be injected into the server behind the provider; without one, its cases are left out. */
  readonly faults?: ConformanceFaults;
  /** A way to the server on which calls can be held back; without one, the cases about late calls are left out. */
  readonly detour?: ConformanceDetour;
}

/** A way to the store of {@linkcode ConformanceTarget.open}, such as a TCP proxy, on which calls can be held back. */
export interface ConformanceDetour {
  /** Opens a client that takes this way. */
  open(): Provider | Promise<Provider>;
  /**
   * From now on what clients send does not arrive, or, with `"end"`, the end of it does not: a server may begin then,
   * but not finish.
   */
  hold(part: "all" | "end"): Promise<void>;
  /** Lets new connections pass; those that there are stay held. */
  bypass(): Promise<void>;
  /** Delivers what was held back, also where its sender has hung up since. Data that is sent from now on passes. */
  deliver(): Promise<void>;
}

/** The faults that can be done to the server behind a provider. */
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

/**
 * One case. It resolves if the provider conforms, and rejects with an `AssertionError` that says what it did instead.
 */
export interface ConformanceCase {
  /** The claim that is checked, as a sentence. */
  readonly name: string;
  /** Checks it. */
  run(): Promise<void>;
}
