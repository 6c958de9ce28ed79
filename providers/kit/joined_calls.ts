/**
 * Calls that travel together: those that are made in one turn of the event loop go out as one statement, where the
 * backend decides each on its own.
 *
 * @module
 */

import process from "node:process";
import { abortable } from "../../src/call.ts";
import { whenAllAbort } from "./joined_renewals.ts";

/** The way in which calls are sent. */
export interface JoinedManner<R, A> {
  /** The most calls in one statement: enough to make the round trip cheap, few enough to keep it short. */
  readonly most: number;
  /** The name that no two calls of one statement may share. */
  key(request: R): string;
  /** Sends one call by itself. */
  alone(request: R, signal: AbortSignal): Promise<A>;
  /**
   * Sends several, none of which shares its key, and returns the answer of each that is settled. `due` is called when
   * they are about to be sent, and returns those whose callers are still there.
   */
  together(due: () => readonly R[], signal: AbortSignal): Promise<ReadonlyMap<R, A>>;
  /** True for an error of one row, which the others may be spared. */
  spares(error: unknown): boolean;
}

interface Call<R, A> {
  readonly request: R;
  readonly signal: AbortSignal;
  resolve(answer: A | Promise<A>): void;
  reject(error: unknown): void;
}

/**
 * Joins calls. What a statement of many leaves open, because a row is locked or a race was lost, is asked for again by
 * itself, so that each caller gets the answer that a call of its own would have got.
 */
export class JoinedCalls<R extends object, A> {
  readonly #manner: JoinedManner<R, A>;
  #batches: Map<string, Call<R, A>>[] = [];

  /** Makes the collector. */
  constructor(manner: JoinedManner<R, A>) {
    this.#manner = manner;
  }

  /** Makes a call. */
  ask(request: R, signal: AbortSignal): Promise<A> {
    return new Promise((resolve, reject) => {
      // At the end of this turn: calls that are due together have all been made by then.
      if (this.#batches.length === 0) process.nextTick(() => this.#flush());
      const key = this.#manner.key(request);
      let batch = this.#batches.find((batch) => batch.size < this.#manner.most && !batch.has(key));
      if (batch === undefined) this.#batches.push(batch = new Map());
      batch.set(key, { request, signal, resolve, reject });
    });
  }

  #flush(): void {
    const batches = this.#batches;
    this.#batches = [];
    for (const batch of batches) void this.#send([...batch.values()]);
  }

  /** Never rejects: what fails, fails for its callers. */
  async #send(calls: readonly Call<R, A>[]): Promise<void> {
    if (calls.length === 1) return this.#sendAlone(calls);
    // One caller that leaves must not end what the others wait for; the last one does.
    const { signal, forget } = whenAllAbort(calls.map(({ signal }) => signal));
    try {
      const due = () => calls.filter(({ signal }) => !signal.aborted).map(({ request }) => request);
      const answers = await this.#manner.together(due, signal);
      const open: Call<R, A>[] = [];
      for (const call of calls) {
        const answer = answers.get(call.request);
        if (answer === undefined) open.push(call);
        else call.resolve(answer);
      }
      this.#sendAlone(open);
    } catch (error) {
      if (this.#manner.spares(error)) this.#sendAlone(calls);
      else for (const call of calls) call.reject(error);
    } finally {
      forget();
    }
  }

  #sendAlone(calls: readonly Call<R, A>[]): void {
    for (const { request, signal, resolve, reject } of calls) {
      if (signal.aborted) reject(signal.reason);
      else resolve(abortable(this.#manner.alone(request, signal), signal));
    }
  }
}
