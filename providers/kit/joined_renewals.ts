/**
 * Any number of renewals of one lease at the same time, one call to the backend after the other.
 *
 * @module
 */

import { abortable } from "../../src/call.ts";
import type { RenewOptions } from "../../src/provider.ts";

type Outcome = "renewed" | "lost";
type Metadata = RenewOptions["metadata"];

/** What one call to the backend is asked for. */
type Renew = (options: RenewOptions) => Promise<Outcome>;

interface Member {
  readonly signal: AbortSignal;
  readonly metadata: Metadata;
}

/** Those who wait for the same call to the backend, which has not been made yet. */
interface Round {
  readonly members: Member[];
  readonly outcome: Promise<Outcome>;
  resolve(outcome: Promise<Outcome>): void;
}

/**
 * Joins renewals of a lease. While a call to the backend is under way, those who come wait, and then share one call with the
 * metadata of the last of them that brought some. Conditional writes of one lease would else conflict with each other.
 *
 * Nobody joins a call that was sent before it asked: its lease would count from an earlier moment than it believes. Whoever
 * gives up before its round begins is left out of it, and so is its metadata.
 */
export class JoinedRenewals {
  /** By term; null where nobody waits behind the call that is under way. */
  readonly #busy = new Map<string, Round | null>();

  /** Renews the lease of a term by `renew`, at once or with the next call. */
  run(termId: string, { signal, metadata }: RenewOptions, renew: Renew): Promise<Outcome> {
    const waiting = this.#busy.get(termId);
    if (waiting === undefined) {
      this.#busy.set(termId, null);
      return this.#start(termId, { signal, metadata }, renew);
    }
    const round = waiting ?? newRound();
    this.#busy.set(termId, round);
    round.members.push({ signal, metadata });
    return abortable(round.outcome, signal);
  }

  async #start(termId: string, { signal, metadata }: Member, renew: Renew): Promise<Outcome> {
    try {
      return await renew({ signal, ...(metadata !== undefined && { metadata }) });
    } finally {
      this.#goOn(termId, renew);
    }
  }

  /** Begins the round that has waited, with those who have not given up. */
  #goOn(termId: string, renew: Renew): void {
    const round = this.#busy.get(termId);
    const members = round?.members.filter(({ signal }) => !signal.aborted) ?? [];
    if (round === null || round === undefined || members.length === 0) {
      this.#busy.delete(termId);
      return;
    }
    this.#busy.set(termId, null);
    const together = whenAllAbort(members.map(({ signal }) => signal));
    const metadata = members.findLast((member) => member.metadata !== undefined)?.metadata;
    round.resolve(this.#start(termId, { signal: together.signal, metadata }, renew).finally(together.forget));
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
