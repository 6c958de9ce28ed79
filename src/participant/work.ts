/**
 * Work that runs while its participant leads.
 *
 * @module
 */

import type { LostReason } from "../errors.ts";
import type { ElectionConfig } from "../options.ts";
import type { LeaderInfo } from "../provider.ts";
import { type Clock, sleep } from "../time/clock.ts";
import type { Duration } from "../time/duration.ts";
import type { Participant } from "./participant.ts";
import type { LeaseTerm, Term } from "./term.ts";

/** Options of `run`. */
export interface RunOptions {
  /** Ends the run: work drains, leadership is released, and `run` returns what `work` returned, or `undefined`. */
  readonly signal?: AbortSignal | undefined;
  /** Ends the run when `work` has returned within a valid term; otherwise it campaigns again. @default true */
  readonly once?: boolean | undefined;
  /**
   * The time to wait for leadership, each time, before `run` gives up and returns `undefined`; with 0 it asks once.
   * @default for ever
   */
  readonly wait?: Duration | undefined;
  /**
   * The time for which the lease is kept from the beginning of the term, also when `work` is done earlier: nobody else
   * runs the same job in that time. @default 0
   */
  readonly atLeast?: Duration | undefined;
}

/** The options of a run, in milliseconds. */
export interface RunSettings {
  readonly signal?: AbortSignal | undefined;
  /** False if it goes on when work has returned. */
  readonly once: boolean;
  /** True if a loss ends it, too. */
  readonly endsWithLoss: boolean;
  /** `Infinity` for ever. */
  readonly waitMs: number;
  readonly atLeastMs: number;
  /** From when `atLeastMs` counts, on the monotonic clock; null if it does not count. @default the term's beginning */
  readonly beganAt?: (() => number | null) | undefined;
}

/** The outcome of a run. */
export type RunOutcome<T> =
  | { readonly outcome: "done"; readonly value: T }
  | { readonly outcome: "held"; readonly leader: LeaderInfo | null }
  | { readonly outcome: "lost"; readonly reason: LostReason }
  | { readonly outcome: "aborted" };

/** The part of a participant that work needs. */
export type Host = Pick<
  Participant,
  "release" | "keepWork" | "termToRunIn" | "stops" | "refusal" | "telemetry" | "term" | "try" | "leader" | "waiters"
>;

/**
 * See `LeaderElection.run`. Each piece of work is told to the participant, so that the lease outlives it and no new
 * term begins before it has settled. A term that was released because its work was done is followed by a cool-down.
 *
 * @throws what `work` threw within a valid term
 */
export async function runWhileLeading<T>(
  host: Host,
  { clock, electionInterval: cooldownMs }: Pick<ElectionConfig, "clock" | "electionInterval">,
  work: (term: Term) => Promise<T>,
  settings: RunSettings,
): Promise<RunOutcome<T>> {
  const { signal, once, endsWithLoss } = settings;
  const { stops } = host;
  while (!signal?.aborted) {
    // S9: work may outlast the stop that told it to end, and find that somebody has started again.
    if (host.stops !== stops) throw host.refusal("run", "it was stopped");
    const won = await leadWithin(host, clock, settings);
    if (won === null) return { outcome: "aborted" };
    if ("leader" in won) return { outcome: "held", leader: won.leader };
    const { term } = won;
    // Between the election and this line the term may have ended, or the signal aborted: then no work begins.
    if (signal?.aborted) {
      await host.release(cooldownMs, term);
      return { outcome: "aborted" };
    }
    if (term.ending || !term.isValid) continue;
    const begunAt = clock.monotonic();
    const result = await settle(host, work, term, cooldownMs, signal, () => stay(clock, term, begunAt, settings));
    if (result.interrupted === null) {
      await host.release(cooldownMs, term);
      if (!result.ok) throw result.error;
      if (once) return { outcome: "done", value: result.value };
    } else if (endsWithLoss) {
      await host.release(cooldownMs, term);
      return { outcome: "lost", reason: result.interrupted };
    } else if (signal?.aborted || host.stops !== stops) {
      // Nothing will run it again, so what it returned all the same is the result.
      await host.release(cooldownMs, term);
      if (result.ok) return { outcome: "done", value: result.value };
      if (signal?.aborted) return { outcome: "aborted" };
    }
  }
  return { outcome: "aborted" };
}

/** Waits for a term, or until it is time to give up; null when the signal has aborted. */
async function leadWithin(
  host: Host,
  clock: Clock,
  { waitMs, signal }: RunSettings,
): Promise<{ readonly term: LeaseTerm } | { readonly leader: LeaderInfo | null } | null> {
  const over = new AbortController();
  let cancel = () => {};
  try {
    if (waitMs === 0) return host.term ? { term: host.term } : await host.waiters.race(host.try(), signal);
    if (waitMs === Infinity) return { term: await host.termToRunIn(signal) };
    cancel = clock.setTimer(() => over.abort(), waitMs);
    return { term: await host.termToRunIn(AbortSignal.any([over.signal, ...signal ? [signal] : []])) };
  } catch (error) {
    if (signal?.aborted) return null;
    if (!over.signal.aborted) throw error;
    // A term that began in the very turn in which the time was over is a term.
    return host.term ? { term: host.term } : { leader: host.leader };
  } finally {
    cancel();
  }
}

type Settled<T> =
  & {
    /** Why the work had been told to stop before it settled; null if it had not. */
    interrupted: LostReason | null;
  }
  & ({ ok: true; value: T } | { ok: false; error: unknown });

/** Runs `work`, then keeps the lease for as long as `stays` says. */
async function settle<T>(
  host: Host,
  work: (term: Term) => Promise<T>,
  term: LeaseTerm,
  cooldownMs: number,
  signal: AbortSignal | undefined,
  stays: () => Promise<void>,
): Promise<Settled<T>> {
  const { promise, resolve } = Promise.withResolvers<void>();
  host.keepWork(promise);
  const release = () => void host.release(cooldownMs, term);
  signal?.addEventListener("abort", release, { once: true });
  const why = () => term.reason ?? (term.isValid ? null : "expired");
  let settled: Settled<T>;
  try {
    const value = await host.telemetry.within(() => work(term));
    settled = { ok: true, value, interrupted: why() };
  } catch (error) {
    settled = { ok: false, error, interrupted: why() };
  }
  await stays();
  signal?.removeEventListener("abort", release);
  resolve();
  return settled;
}

/**
 * Keeps the lease, with its heartbeats, until `atLeastMs` has passed, or the term ends. The timer is monotonic: no step
 * of the wall clock shortens it.
 */
async function stay(
  clock: Clock,
  term: LeaseTerm,
  begunAt: number,
  { atLeastMs, beganAt = () => begunAt }: RunSettings,
): Promise<void> {
  const since = beganAt();
  const left = since === null ? 0 : since + atLeastMs - clock.monotonic();
  if (left > 0) await sleep(clock, left, term.signal).catch(() => {});
}
