/**
 * Work that runs while its participant leads.
 *
 * @module
 */

import type { Participant } from "./participant.ts";
import type { LeaseTerm, Term } from "./term.ts";

/** Options of `run`. */
export interface RunOptions {
  /** Ends the run: work drains, leadership is released, and `run` returns what `work` returned, or `undefined`. */
  readonly signal?: AbortSignal | undefined;
  /** Ends the run when `work` has returned within a valid term; otherwise it campaigns again. @default true */
  readonly once?: boolean | undefined;
}

/** The part of a participant that work needs. */
type Host = Pick<Participant, "release" | "keepWork" | "waitForTerm" | "stops" | "refusal" | "telemetry">;

/**
 * See `LeaderElection.run`. Each piece of work is told to the participant, so that the lease outlives it and no new
 * term begins before it has settled. `cooldownMs` follows a term that was released because its work was done.
 */
export async function runWhileLeading<T>(
  host: Host,
  cooldownMs: number,
  work: (term: Term) => Promise<T>,
  { signal, once = true }: RunOptions,
): Promise<T | undefined> {
  const { stops } = host;
  while (!signal?.aborted) {
    // S9: work may outlast the stop that told it to end, and find that somebody has started again.
    if (host.stops !== stops) throw host.refusal("run", "it was stopped");
    let term: LeaseTerm;
    try {
      term = await host.waitForTerm(signal);
    } catch (error) {
      if (signal?.aborted) return undefined;
      throw error;
    }
    // Between the election and this line the term may have ended, or the signal aborted: then no work begins.
    if (signal?.aborted) {
      await host.release(cooldownMs, term);
      return undefined;
    }
    if (term.ending || !term.isValid) continue;
    const result = await settle(host, cooldownMs, work, term, signal);
    if (result.interrupted === null) {
      await host.release(cooldownMs, term);
      if (!result.ok) throw result.error;
      if (once) return result.value;
    } else if (signal?.aborted || host.stops !== stops) {
      // Nothing will run it again, so what it returned all the same is the result.
      await host.release(cooldownMs, term);
      if (result.ok) return result.value;
      if (signal?.aborted) return undefined;
    }
  }
  return undefined;
}

type Settled<T> =
  & { /** Why the work had been told to stop before it settled; null if it had not. */ interrupted: string | null }
  & ({ ok: true; value: T } | { ok: false; error: unknown });

async function settle<T>(
  host: Host,
  cooldownMs: number,
  work: (term: Term) => Promise<T>,
  term: LeaseTerm,
  signal: AbortSignal | undefined,
): Promise<Settled<T>> {
  const { promise, resolve } = Promise.withResolvers<void>();
  host.keepWork(promise);
  const release = () => void host.release(cooldownMs, term);
  signal?.addEventListener("abort", release, { once: true });
  const why = () => term.reason ?? (term.isValid ? null : "expired");
  try {
    const value = await host.telemetry.within(() => work(term));
    return { ok: true, value, interrupted: why() };
  } catch (error) {
    return { ok: false, error, interrupted: why() };
  } finally {
    signal?.removeEventListener("abort", release);
    resolve();
  }
}
