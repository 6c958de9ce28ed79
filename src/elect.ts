/**
 * The short way into an election.
 *
 * @module
 */

import { LeaderElection, ownProvider } from "./election.ts";
import { type ElectionOptions, resolveOptions } from "./options.ts";
import type { Provider } from "./provider.ts";
import { openProvider } from "./registry.ts";

/**
 * Enters an election, and starts to campaign unless `autoStart` is false.
 *
 * Given a URL, the election owns the provider that it opens: `stop` closes it. Given a provider, the caller keeps it.
 * Resolves when the first look has come to an end, so `isLeader` tells at once whether nobody else led; a backend that is
 * down is no error, it is looked for until it is found.
 *
 * @param target a provider, or the URL of one, such as `"memory:"` or `"redis://localhost"`
 * @throws {TypeError} if no registered provider opens the URL, or an option is malformed
 * @throws {RangeError} if an option is out of range for the provider
 * @throws {ConfigError} if the timing would not be safe
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
  resolveOptions(options).signal?.throwIfAborted();
  const election = typeof target === "string" || target instanceof URL
    ? await electOwner(target, options)
    : new LeaderElection(target, options);
  if (options.autoStart ?? true) await election.start();
  return election;
}

async function electOwner(url: string | URL, options: ElectionOptions): Promise<LeaderElection> {
  const { clock, logger } = options;
  const open = () => openProvider(url, { ...(clock && { clock }), ...(logger && { logger }) });
  const provider = await open();
  try {
    const election = new LeaderElection(provider, options);
    ownProvider(election, open);
    return election;
  } catch (error) {
    await provider[Symbol.asyncDispose]();
    throw error;
  }
}
