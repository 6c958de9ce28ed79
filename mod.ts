/**
 * Leader election for Deno, Bun and Node: many instances of a service run, exactly one leads, and when it dies another
 * takes over. The lease lives in a backend that you already have.
 *
 * The promise: no two participants' `isLeader` is true at the same instant, whatever pauses and delays, as long as
 * their clocks run at rates that differ by no more than `clockRateError`; each term has a fencing token larger than all
 * before; `term.signal` aborts before anybody else can lead, also while the backend hangs.
 *
 * The limit: nothing stops work that ignores `term.signal`. A resource that refuses tokens lower than it has seen
 * is safe even then. And a backend that loses what it acknowledged (see each provider) can grant a lease twice.
 *
 * `memory:` and `file:` come with this module. Every other provider registers itself when its module is imported, for
 * example `import "@multilock/core/redis"`.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { elect } from "@multilock/core";
 *
 * await using election = await elect("memory:", { electionGroup: "nightly-report" });
 * await election.run(async (term) => {
 *   assert(term.isValid);
 *   await Promise.resolve(); // the work; it stops when term.signal aborts
 * });
 * ```
 *
 * @module
 */

import "./src/floor.ts";
import { CARDS, CATALOG } from "./providers/catalog.ts";
import "./providers/memory.ts";
import { announceProviders, registerProvider } from "./src/registry.ts";

announceProviders(CARDS);
// The modules of `file:` are loaded by its first target: what they need of node: takes Deno 30 ms.
registerProvider({
  ...CATALOG.file,
  async open(url, { clock, heldBy }) {
    const { fileProvider } = await import("./providers/file.ts");
    return fileProvider({ url, clock, heldBy });
  },
});

export { elect } from "./src/elect.ts";
export { exclusive, type ExclusiveOptions, type ExclusiveOutcome } from "./src/exclusive.ts";
export {
  type AttemptOutcome,
  type ChangesOptions,
  LeaderElection,
  type LeadershipStatus,
  type ReleaseOptions,
  type Role,
  type TransferOptions,
  type WaitOptions,
} from "./src/election.ts";
export type { RunOptions } from "./src/participant/work.ts";
export type { Term } from "./src/participant/term.ts";
export type { ElectionOptions } from "./src/options.ts";
export type {
  AcquireOutcome,
  DurationStats,
  ElectionStats,
  Measurement,
  RenewalOutcome,
} from "./src/telemetry/measurement.ts";
export type { LeadershipChange, LeadershipChangeType } from "./src/changes/change.ts";
export { LeadershipChanges } from "./src/changes/stream.ts";
export type { Duration } from "./src/time/duration.ts";
export type { Clock } from "./src/time/clock.ts";
export type { Logger } from "./src/logger.ts";
export {
  ConfigError,
  ElectionError,
  LeadershipLostError,
  type LostReason,
  ProviderError,
  type ProviderOperation,
} from "./src/errors.ts";
export {
  type OpenOptions,
  openProvider,
  type ProviderCard,
  type ProviderDefinition,
  providers,
  registerProvider,
} from "./src/registry.ts";
export type {
  Acquired,
  AcquireRequest,
  CallOptions,
  Finding,
  Held,
  Hint,
  Inspection,
  LeaderInfo,
  Lease,
  Provider,
  ProviderCapabilities,
  ReleaseCallOptions,
  Renewed,
  RenewOptions,
  TransferHint,
  WatchOptions,
} from "./src/provider.ts";
