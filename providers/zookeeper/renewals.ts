/**
 * Renewals that are due together travel together: one transaction for all that are asked for in one turn of the event loop.
 *
 * @module
 */

import type { ZooKeeperClient } from "./client.ts";
import { check, ErrorCode, isError, multi } from "./protocol.ts";

interface Renewal {
  readonly path: string;
  readonly signal: AbortSignal;
  readonly resolve: (renewed: boolean) => void;
  readonly reject: (reason: unknown) => void;
}

/** A transaction stays far below the server's 1 MiB. */
const MAX_RENEWALS_PER_TRANSACTION = 1_000;

/** The renewals of one session. */
export class Renewals {
  readonly #client: ZooKeeperClient;
  #due: Renewal[] = [];

  constructor(client: ZooKeeperClient) {
    this.#client = client;
  }

  /** Resolves when a quorum has agreed that the node at `path` exists; to false when it does not. */
  renew(path: string, signal: AbortSignal): Promise<boolean> {
    return new Promise((resolve, reject) => {
      if (this.#due.push({ path, signal, resolve, reject }) === 1) queueMicrotask(() => this.#send());
    });
  }

  #send(): void {
    const due = this.#due.filter(({ signal, reject }) => !signal.aborted || reject(signal.reason));
    this.#due = [];
    for (let at = 0; at < due.length; at += MAX_RENEWALS_PER_TRANSACTION) {
      void this.#renewTogether(due.slice(at, at + MAX_RENEWALS_PER_TRANSACTION));
    }
  }

  /** Never rejects. */
  async #renewTogether(due: readonly Renewal[]): Promise<void> {
    const [first] = due;
    if (first === undefined) return;
    if (due.length === 1) return await this.#renewOne(first);
    // Given up when all have given up; until then the answer is still of use to one of them.
    const abandoned = new AbortController();
    let waiting = due.length;
    const onAbort = () => --waiting === 0 && abandoned.abort(first.signal.reason);
    for (const { signal } of due) signal.addEventListener("abort", onAbort, { once: true });
    try {
      await this.#client.call(multi(due.map(({ path }) => check(path))), abandoned.signal);
      for (const { resolve } of due) resolve(true);
    } catch (error) {
      // One node that is gone fails them all, so each is asked for by itself.
      if (isError(error, ErrorCode.noNode)) { for (const each of due) void this.#renewOne(each); }
      else for (const { reject } of due) reject(error);
    } finally {
      for (const { signal } of due) signal.removeEventListener("abort", onAbort);
    }
  }

  /** Never rejects. */
  async #renewOne({ path, signal, resolve, reject }: Renewal): Promise<void> {
    try {
      await this.#client.call(multi([check(path)]), signal);
      resolve(true);
    } catch (error) {
      if (isError(error, ErrorCode.noNode)) resolve(false);
      else reject(error);
    }
  }
}
