/**
 * Renewals that are due together travel together: one transaction for all that are asked for in one turn of the event
 * loop.
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

/**
 * The time for which a transaction may be, in bytes. By default a server takes 1 MiB, but it may be told to take less
 * (`jute.maxbuffer`), and it closes the connection on more: under all leases of the session, and with each heartbeat
 * again.
 */
const MAX_TRANSACTION_BYTES = 8 * 1024;
const UTF8 = new TextEncoder();
/** The bytes that a renewal takes beside its path. */
const OVERHEAD_BYTES = 17;

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
    let [together, bytes]: [Renewal[], number] = [[], 0];
    for (const renewal of due) {
      const more = UTF8.encode(renewal.path).length + OVERHEAD_BYTES;
      if (bytes + more > MAX_TRANSACTION_BYTES) {
        void this.#renewTogether(together);
        [together, bytes] = [[], 0];
      }
      together.push(renewal);
      bytes += more;
    }
    void this.#renewTogether(together);
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
