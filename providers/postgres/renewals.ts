/**
 * Heartbeats that travel together: all that are asked for in one turn of the event loop go out as one statement.
 *
 * @module
 */

import type { Lease, RenewOptions } from "../../src/provider.ts";

/** The lease of one term, to be renewed for one or more callers. */
export interface Renewal {
  /** The group. */
  readonly electionGroup: string;
  /** The term. */
  readonly termId: string;
  /** How long the lease shall live, in milliseconds. */
  readonly heartbeatTimeout: number;
  /** The new metadata as JSON, or null to keep what is there. */
  metadata: string | null;
  /** Those who wait for the outcome. */
  readonly callers: Caller[];
}

interface Caller {
  readonly signal: AbortSignal;
  resolve(outcome: "renewed" | "lost"): void;
  reject(error: unknown): void;
}

/**
 * Sends renewals and returns the outcome of each that `due` returned. `due` is called when they are about to be sent:
 * those whose callers have gone by then are not among them. `patient` waits a little for rows that others have locked.
 */
export type SendRenewals = (
  due: () => readonly Renewal[],
  patient: boolean,
  signal: AbortSignal,
) => Promise<ReadonlyMap<Renewal, RenewalOutcome>>;

/** What became of a renewal; `busy` is unknown, because somebody else had locked the row. */
export type RenewalOutcome = "renewed" | "lost" | "busy";

/** The most leases in one statement: enough to make the round trip cheap, few enough to keep it short. */
const MAX_BATCH = 1_000;

/** Collects renewals. */
export class Renewals {
  readonly #send: SendRenewals;
  #waiting = new Map<string, Renewal>();

  /** Makes the collector. */
  constructor(send: SendRenewals) {
    this.#send = send;
  }

  /** Renews `lease` with the next batch. */
  renew(lease: Lease, { signal, metadata }: RenewOptions): Promise<"renewed" | "lost"> {
    return new Promise((resolve, reject) => {
      const { electionGroup, termId, heartbeatTimeout } = lease;
      const key = `${electionGroup} ${termId}`;
      // After the timers and I/O of this turn: heartbeats that fall due together have all been asked for by then.
      if (this.#waiting.size === 0) setImmediate(() => this.#flush());
      let renewal = this.#waiting.get(key);
      if (renewal === undefined) {
        renewal = { electionGroup, termId, heartbeatTimeout, metadata: null, callers: [] };
        this.#waiting.set(key, renewal);
      }
      if (metadata !== undefined) renewal.metadata = JSON.stringify(metadata);
      renewal.callers.push({ signal, resolve, reject });
    });
  }

  #flush(): void {
    const renewals = [...this.#waiting.values()];
    this.#waiting = new Map();
    for (let start = 0; start < renewals.length; start += MAX_BATCH) {
      void this.#sendBatch(renewals.slice(start, start + MAX_BATCH));
    }
  }

  /** Never rejects: what fails, fails for each caller. */
  async #sendBatch(batch: readonly Renewal[]): Promise<void> {
    const callers = batch.flatMap((renewal) => renewal.callers);
    const controller = new AbortController();
    const signals = new Set(callers.map(({ signal }) => signal));
    let present = signals.size;
    // One caller that leaves must not end what the others wait for; the last one does.
    const onAbort = () => --present === 0 && controller.abort(new Error("nobody waits for the answer"));
    for (const signal of signals) {
      if (signal.aborted) onAbort();
      else signal.addEventListener("abort", onAbort, { once: true });
    }
    try {
      const busy = await this.#sendTo(batch, false, controller.signal);
      if (busy.length === 0) return;
      const stillBusy = await this.#sendTo(busy, true, controller.signal);
      const why = new Error("another session has locked the row of the lease");
      for (const { callers } of stillBusy) for (const caller of callers) caller.reject(why);
    } catch (error) {
      for (const caller of callers) caller.reject(error);
    } finally {
      for (const signal of signals) signal.removeEventListener("abort", onAbort);
    }
  }

  /** Sends, tells each caller, and returns the renewals that were busy. */
  async #sendTo(batch: readonly Renewal[], patient: boolean, signal: AbortSignal): Promise<Renewal[]> {
    const due = () => batch.filter((each) => each.callers.some(({ signal }) => !signal.aborted));
    const busy: Renewal[] = [];
    for (const [renewal, outcome] of await this.#send(due, patient, signal)) {
      if (outcome === "busy") busy.push(renewal);
      else for (const caller of renewal.callers) caller.resolve(outcome);
    }
    return busy;
  }
}
