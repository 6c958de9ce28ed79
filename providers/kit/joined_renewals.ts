/**
 * Any number of renewals of one lease at the same time, one call to the backend after the other.
 *
 * @module
 */

import { abortable } from "../../src/call.ts";
import type { RenewOptions } from "../../src/provider.ts";

type Outcome = "renewed" | "lost";
type Metadata = RenewOptions["metadata"];

/** One call to the backend, which renews. */
type Renew = (options: RenewOptions) => Promise<Outcome>;

/**
 * The time for which callers wait for a call that is under way, in milliseconds: one that hangs must not hold up the
 * next.
 */
const STALL_MS = 1_000;

interface Member {
  readonly signal: AbortSignal;
  readonly metadata: Metadata;
}

/** The callers that wait for the same call to the backend, which has not been made yet. */
interface Round {
  readonly members: Member[];
  readonly outcome: Promise<Outcome>;
  resolve(outcome: Promise<Outcome>): void;
}

/** A term with calls under way. */
interface Busy {
  running: number;
  round: Round | null;
  /** Ends the waiting of the round behind a call that hangs. */
  stalled: ReturnType<typeof setTimeout> | undefined;
}

/**
 * Joins renewals of a lease. While a call to the backend is under way, those who come wait, and then share one call
 * with the metadata of the last of them that brought some. Conditional writes of one lease would else conflict with
 * each other.
 *
 * Nobody joins a call that was sent before it asked: its lease would count from an earlier moment than it believes. A
 * caller that gives up before its round begins is left out of it, and so is its metadata.
 */
export class JoinedRenewals {
  /** By term. */
  readonly #busy = new Map<string, Busy>();

  /** Renews the lease of a term by `renew`, at once or with the next call. */
  run(termId: string, { signal, metadata }: RenewOptions, renew: Renew): Promise<Outcome> {
    const busy = this.#busy.get(termId);
    if (busy === undefined) {
      const first: Busy = { running: 0, round: null, stalled: undefined };
      this.#busy.set(termId, first);
      return this.#start(termId, first, { signal, metadata }, renew);
    }
    if (busy.round === null) {
      busy.round = newRound();
      busy.stalled = setTimeout(() => this.#goOn(termId, busy, renew), STALL_MS);
    }
    busy.round.members.push({ signal, metadata });
    return abortable(busy.round.outcome, signal);
  }

  async #start(termId: string, busy: Busy, { signal, metadata }: Member, renew: Renew): Promise<Outcome> {
    busy.running++;
    try {
      return await renew({ signal, metadata });
    } finally {
      busy.running--;
      this.#goOn(termId, busy, renew);
    }
  }

  /** Begins the round that has waited, with those who have not given up. */
  #goOn(termId: string, busy: Busy, renew: Renew): void {
    clearTimeout(busy.stalled);
    const { round } = busy;
    busy.round = null;
    const members = round?.members.filter(({ signal }) => !signal.aborted) ?? [];
    if (round !== null && members.length > 0) {
      const together = whenAllAbort(members.map(({ signal }) => signal));
      const metadata = members.findLast((member) => member.metadata !== undefined)?.metadata;
      const started = this.#start(termId, busy, { signal: together.signal, metadata }, renew);
      round.resolve(started.finally(together.forget));
    } else if (busy.running === 0) {
      this.#busy.delete(termId);
    }
  }
}

function newRound(): Round {
  const { promise, resolve } = Promise.withResolvers<Outcome>();
  // Each member looks at it by itself; if all have gone, nobody does.
  promise.catch(() => {});
  return { members: [], outcome: promise, resolve };
}

/** Returns a signal that aborts when the last of `signals` has, and how to stop listening to them. */
export function whenAllAbort(signals: readonly AbortSignal[]): { signal: AbortSignal; forget: () => void } {
  const [first] = signals;
  if (first !== undefined && signals.length === 1) return { signal: first, forget() {} };
  const controller = new AbortController();
  const onAbort = () => {
    if (signals.every(({ aborted }) => aborted)) controller.abort(signals.at(-1)?.reason);
  };
  for (const signal of signals) signal.addEventListener("abort", onAbort, { once: true });
  onAbort();
  return {
    signal: controller.signal,
    forget: () => signals.forEach((signal) => signal.removeEventListener("abort", onAbort)),
  };
}
