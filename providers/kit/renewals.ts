/**
 * Heartbeats that travel together: all that are asked for in one turn of the event loop go out as one statement.
 *
 * @module
 */

import process from "node:process";
import type { Lease, RenewOptions } from "../../src/provider.ts";
import { whenAllAbort } from "./joined_renewals.ts";

/** The lease of one term, to be renewed for one or more callers. */
export interface Renewal {
  /** The lease. */
  readonly lease: Lease;
  /** The new metadata as JSON, or null to keep what is there. */
  metadata: string | null;
  /** Grows with each metadata that is asked for. */
  ordinal: number;
  /** The callers that wait for the outcome. */
  readonly callers: Caller[];
}

interface Caller {
  /** True if it has brought metadata. */
  readonly hasMetadata: boolean;
  readonly signal: AbortSignal;
  resolve(outcome: "renewed" | "lost"): void;
  reject(error: unknown): void;
}

/**
 * The way in which renewals are sent.
 *
 * - `first`: the ordinary way. What another session has locked is passed over, and what has expired by the server's
 *   clock is not renewed, since that clock may have been stepped: both are unsure.
 * - `patient`: waits a moment for rows that others have locked, and renews what cannot have expired by what this
 *   process knows of the server's clock.
 * - `last`: as `patient`, but passes over rows that are still locked.
 */
export type Manner = "first" | "patient" | "last";

/**
 * Sends renewals and returns the outcome of each that `due` returned. `due` is called when they are about to be sent:
 * those whose callers have gone by then are not among them.
 */
export type SendRenewals = (
  due: () => readonly Renewal[],
  manner: Manner,
  signal: AbortSignal,
) => Promise<ReadonlyMap<Renewal, RenewalOutcome>>;

/** The outcome of a renewal. */
export type RenewalOutcome = "renewed" | "lost" | "unsure";

/** The meaning of an error of the server for the rows of a statement. */
export interface RowErrors {
  /** True if it is about the values of one row, or a conflict over one: the others may fare better alone. */
  isAboutRows(error: unknown): boolean;
  /** True if a row stayed locked for longer than the statement would wait. */
  isLocked(error: unknown): boolean;
}

/** The most leases in one statement: enough to make the round trip cheap, few enough to keep it short. */
export const MAX_BATCH = 1_000;

/** Said of what was asked for in vain, because another session has locked it. */
export const ROW_LOCKED = "another session has locked the row of the lease";

/** Collects renewals. */
export class Renewals {
  readonly #send: SendRenewals;
  readonly #errors: RowErrors;
  readonly #count: () => number;
  #waiting = new Map<string, Renewal>();

  /** Makes the collector. `count` numbers what is asked for. */
  constructor(send: SendRenewals, errors: RowErrors, count: () => number) {
    this.#send = send;
    this.#errors = errors;
    this.#count = count;
  }

  /** Renews `lease` with the next batch. */
  renew(lease: Lease, { signal, metadata }: RenewOptions): Promise<"renewed" | "lost"> {
    return new Promise((resolve, reject) => {
      const key = `${lease.electionGroup} ${lease.termId}`;
      // At the end of this turn: heartbeats that fall due together have all been asked for by then.
      if (this.#waiting.size === 0) process.nextTick(() => this.#flush());
      let renewal = this.#waiting.get(key);
      if (renewal === undefined) {
        renewal = { lease, metadata: null, ordinal: 0, callers: [] };
        this.#waiting.set(key, renewal);
      }
      if (metadata !== undefined) {
        renewal.metadata = JSON.stringify(metadata);
        renewal.ordinal = this.#count();
      }
      renewal.callers.push({ hasMetadata: metadata !== undefined, signal, resolve, reject });
    });
  }

  #flush(): void {
    const renewals = [...this.#waiting.values()];
    this.#waiting = new Map();
    for (let start = 0; start < renewals.length; start += MAX_BATCH) {
      void this.#sendBatch(renewals.slice(start, start + MAX_BATCH));
    }
  }

  /** Never rejects: what fails, fails for its callers. */
  async #sendBatch(batch: readonly Renewal[]): Promise<void> {
    // One caller that leaves must not end what the others wait for; the last one does.
    const { signal, forget } = whenAllAbort(batch.flatMap(({ callers }) => callers.map(({ signal }) => signal)));
    try {
      let unsure = await this.#sendTo(batch, "first", signal);
      if (unsure.length > 0) unsure = await this.#sendTo(unsure, "patient", signal);
      // Some row was not unlocked in time. The others must not suffer for it.
      if (unsure.length > 0) unsure = await this.#sendTo(unsure, "last", signal);
      reject(unsure, new Error(ROW_LOCKED));
    } finally {
      forget();
    }
  }

  /**
   * Sends, tells each caller, and returns the renewals that are unsure. If one row fails the statement, a constraint of
   * the user's for example, the halves are sent by themselves, down to that one: it fails alone.
   */
  async #sendTo(batch: readonly Renewal[], manner: Manner, signal: AbortSignal): Promise<Renewal[]> {
    const due = () => batch.filter((each) => each.callers.some(({ signal }) => !signal.aborted));
    try {
      const unsure: Renewal[] = [];
      for (const [renewal, outcome] of await this.#send(due, manner, signal)) {
        if (outcome === "unsure") unsure.push(renewal);
        else for (const caller of renewal.callers) caller.resolve(outcome);
      }
      return unsure;
    } catch (error) {
      if (this.#errors.isLocked(error)) return [...batch];
      if (this.#errors.isAboutRows(error) && batch.length > 1) {
        const middle = Math.ceil(batch.length / 2);
        const halves = [batch.slice(0, middle), batch.slice(middle)];
        return (await Promise.all(halves.map((half) => this.#sendTo(half, manner, signal)))).flat();
      }
      return await this.#sendWithoutMetadata(batch, error, manner, signal);
    }
  }

  /**
   * A row that the server refuses fails for those who brought its metadata. A heartbeat that went with them goes by
   * itself.
   */
  async #sendWithoutMetadata(
    batch: readonly Renewal[],
    error: unknown,
    manner: Manner,
    signal: AbortSignal,
  ): Promise<Renewal[]> {
    const plain = batch.flatMap(({ lease, metadata, callers }) => {
      const left = metadata === null || !this.#errors.isAboutRows(error)
        ? []
        : callers.filter(({ hasMetadata }) => !hasMetadata);
      return left.length > 0 ? [{ lease, metadata: null, ordinal: 0, callers: left }] : [];
    });
    // Renewals that are sent again are told by that; for them this comes too early.
    const again = new Set(plain.flatMap(({ callers }) => callers));
    for (const caller of batch.flatMap(({ callers }) => callers)) if (!again.has(caller)) caller.reject(error);
    if (plain.length > 0) {
      return await this.#sendTo(plain, manner, signal);
    }
    return [];
  }
}

function reject(renewals: readonly Renewal[], error: unknown): void {
  for (const { callers } of renewals) for (const caller of callers) caller.reject(error);
}
