/**
 * The short way into an election.
 *
 * @module
 */

import { LeaderElection } from "./election.ts";
import { type ElectionOptions, resolveOptions } from "./options.ts";
import type { Logger } from "./logger.ts";
import { OwnedProvider } from "./participant/owned_provider.ts";
import type { Provider } from "./provider.ts";
import { openProvider } from "./registry.ts";
import type { Clock } from "./time/clock.ts";

/**
 * Enters an election, and starts to campaign unless `autoStart` is false.
 *
 * Given a URL, the election owns the provider that it opens: `stop` closes it. Given a provider, the caller keeps it.
 * Resolves when the first look has come to an end, so `isLeader` tells at once whether nobody else led; a backend that
 * is down is no error, it is looked for until it is found. A first look that fails for good (`ProviderError.permanent`)
 * is one.
 *
 * @param target a provider, or the URL of one, such as `"memory:"` or `"redis://localhost"`
 * @throws {TypeError} if no registered provider opens the URL, or an option is malformed
 * @throws {RangeError} if an option is out of range for the provider
 * @throws {ConfigError} if the timing would not be safe
 * @throws {ProviderError} if the first look fails for good: wrong password, missing driver, unknown database
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { elect } from "@multilock/core";
 *
 * await using election = await elect("memory:", { electionGroup: "docs-elect" });
 * const result = await election.run(async (term) => {
 *   await Promise.resolve(); // the work of the leader, which stops when term.signal aborts
 *   return term.token;
 * });
 * assert(result === 1n);
 * ```
 */
export async function elect(target: string | URL | Provider, options: ElectionOptions): Promise<LeaderElection> {
  const { signal, clock, logger, participantId, metadata } = resolveOptions(options);
  signal?.throwIfAborted();
  // Copied before anything is awaited: who called may use the objects again, for another group or another place.
  const own: ElectionOptions = { ...options, participantId, metadata };
  const isUrl = typeof target === "string" || target instanceof URL;
  const provider = isUrl ? await openOwned(String(target), clock, logger) : target;
  let election: LeaderElection | undefined;
  try {
    signal?.throwIfAborted();
    election = new LeaderElection(provider, own);
    if (own.autoStart ?? true) await election.start();
    signal?.throwIfAborted();
    return election;
  } catch (error) {
    // An election that is not handed out could be stopped by nobody else, nor its provider closed.
    await election?.stop();
    if (provider instanceof OwnedProvider) await provider[Symbol.asyncDispose]();
    throw error;
  }
}

async function openOwned(url: string, clock: Clock, logger: Logger | null): Promise<OwnedProvider> {
  const open = () => openProvider(url, { clock, logger: logger ?? undefined });
  return new OwnedProvider(await open(), open);
}
