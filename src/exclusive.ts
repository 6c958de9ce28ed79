/**
 * The short way to run a job on one of many hosts.
 *
 * @module
 */

import { elect } from "./elect.ts";
import { runJob } from "./election.ts";
import type { LostReason } from "./errors.ts";
import { type ElectionOptions, resolveOptions } from "./options.ts";
import type { Term } from "./participant/term.ts";
import type { LeaderInfo, Provider } from "./provider.ts";
import { type Duration, parseDuration } from "./time/duration.ts";

/** Options of `exclusive`. */
export interface ExclusiveOptions extends ElectionOptions {
  /** The time to wait for leadership before giving up. With 0 it asks once. @default 0 */
  readonly wait?: Duration | undefined;
  /**
   * The time for which the lease is kept from the beginning of the term, also when the work is done earlier. Longer
   * than the clocks of the hosts differ, it keeps a host that comes late from running the same job again. @default 0
   */
  readonly atLeast?: Duration | undefined;
}

/**
 * The end of `exclusive`: `done`, with what the work returned; `held`, by somebody else, who is named if known; `lost`,
 * the term ended while the work ran, so that another may have begun the same.
 */
export type ExclusiveOutcome<T> =
  | { readonly outcome: "done"; readonly value: T }
  | { readonly outcome: "held"; readonly leader: LeaderInfo | null }
  | { readonly outcome: "lost"; readonly reason: LostReason };

/**
 * Runs `work` once on this host, if no other host runs it: enters the election, gives up if it does not lead within
 * `wait`, calls `work(term)` once, keeps the lease until `atLeast` has passed, however the work ended, and leaves.
 * Resolves when the lease has been released.
 *
 * Only one host at a time runs it; `atLeast` says how long it counts as run. `campaignDelay` has no effect where `wait`
 * is 0. A lease that is lost after the work has settled changes nothing: it is `done`.
 *
 * @param target a provider, or the URL of one, such as `"memory:"` or `"redis://localhost"`
 * @throws what `work` throws within a valid term
 * @throws {TypeError | RangeError | ConfigError} if an option is malformed, or no provider opens the URL
 * @throws {ProviderError} if the backend cannot be asked, and so nobody knows who leads
 * @throws the reason of `signal`, if it aborts before the work has begun; later that is `lost`, with `"stopped"`
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { exclusive } from "@multilock/core";
 *
 * const options = { electionGroup: "docs-exclusive", atLeast: "50ms" };
 * const report = () => exclusive("memory:", options, async (term) => await Promise.resolve(`report ${term.token}`));
 * const [first, second] = await Promise.all([report(), report()]);
 * assert.deepEqual([first.outcome, second.outcome].sort(), ["done", "held"]);
 * ```
 */
export async function exclusive<T>(
  target: string | URL | Provider,
  options: ExclusiveOptions,
  work: (term: Term) => Promise<T>,
): Promise<ExclusiveOutcome<T>> {
  if (typeof work !== "function") throw new TypeError("Cannot run work that is no function");
  const { wait = 0, atLeast = 0, ...own } = Object(options) as ExclusiveOptions;
  const [waitMs, atLeastMs] = [parseDuration(wait, "wait"), parseDuration(atLeast, "atLeast")];
  const { clock, signal } = resolveOptions(own);
  const began = clock.monotonic();
  const election = await elect(target, { ...own, autoStart: true });
  try {
    const { currentLeader } = election.status;
    // The look with which it began has told.
    if (waitMs === 0 && !election.isLeader && currentLeader !== null) return { outcome: "held", leader: currentLeader };
    const left = Math.max(0, waitMs - (clock.monotonic() - began));
    const run = await runJob(election, work, { waitMs: left, atLeastMs, signal });
    if (run.outcome !== "aborted") return run;
    throw signal?.reason;
  } finally {
    await election.stop();
  }
}
