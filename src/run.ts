/**
 * Work that runs while its participant leads.
 *
 * @module
 */

import type { LeaderElection } from "./election.ts";
import type { Term } from "./term.ts";

/** What `run` takes beside the work. */
export interface RunOptions {
  /** Ends the run: work drains, leadership is released, and `run` returns what `work` returned, or `undefined`. */
  readonly signal?: AbortSignal | undefined;
  /** Whether to end when `work` has returned within a valid term; otherwise it campaigns again. @default true */
  readonly once?: boolean | undefined;
}

/**
 * See {@linkcode LeaderElection.run}. `keep` is told of each piece of work by a promise that resolves when it has settled,
 * so that the lease outlives it and no new term begins before.
 */
export async function runWhileLeading<T>(
  election: LeaderElection,
  keep: (settled: Promise<void>) => void,
  work: (term: Term) => Promise<T>,
  { signal, once = true }: RunOptions,
): Promise<T | undefined> {
  for (;;) {
    let term: Term;
    try {
      term = await election.waitForLeadership({ signal });
    } catch (error) {
      if (signal?.aborted) return undefined;
      throw error;
    }
    // Between the election and this line the term may have ended; then wait for the next.
    if (term.signal.aborted || !term.isValid) continue;
    const result = await settle(election, keep, work, term, signal);
    if (result.interrupted === null) {
      await election.releaseLeadership();
      if (!result.ok) throw result.error;
      if (once) return result.value;
    } else if (signal?.aborted || result.interrupted === "stopped") {
      // Nothing will run it again, so what it returned all the same is the result.
      if (result.ok) return result.value;
      if (signal?.aborted) return undefined;
    }
  }
}

type Settled<T> =
  & { /** Why the work had been told to stop before it settled; null if it had not. */ interrupted: string | null }
  & ({ ok: true; value: T } | { ok: false; error: unknown });

async function settle<T>(
  election: LeaderElection,
  keep: (settled: Promise<void>) => void,
  work: (term: Term) => Promise<T>,
  term: Term,
  signal: AbortSignal | undefined,
): Promise<Settled<T>> {
  const { promise, resolve } = Promise.withResolvers<void>();
  keep(promise);
  const release = () => void election.releaseLeadership();
  signal?.addEventListener("abort", release, { once: true });
  const why = () => term.signal.aborted ? String(term.signal.reason?.reason) : term.isValid ? null : "expired";
  try {
    const value = await work(term);
    return { ok: true, value, interrupted: why() };
  } catch (error) {
    return { ok: false, error, interrupted: why() };
  } finally {
    signal?.removeEventListener("abort", release);
    resolve();
  }
}
