/**
 * Calls that travel together: those that are made in one turn of the event loop go out as one statement, where the
 * backend decides each on its own.
 *
 * @module
 */

import process from "node:process";
import { setTimeout as pause } from "node:timers/promises";
import { abortable } from "../../src/call.ts";
import { whenAllAbort } from "./joined_renewals.ts";
import { ROW_LOCKED } from "./renewals.ts";

/** The way in which calls are sent. */
export interface JoinedManner<R, A> {
  /** The most calls in one statement: enough to make the round trip cheap, few enough to keep it short. */
  readonly most: number;
  /** The name that no two calls of one statement may share. */
  key(request: R): string;
  /**
   * True where a call by itself may wait for a row that is locked, on a connection that it keeps meanwhile, and where
   * those together do not, but leave it open.
   */
  readonly hasLocks: boolean;
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

/** The most calls that wait for a row at a time: a session that has locked many must not hold up all other calls. */
const MOST_WAITING = 1;
/**
 * The pauses after which what a statement has left open is asked for again, in milliseconds: a race is over with a
 * commit. No connection is kept meanwhile.
 */
const PAUSES_MS = [10, 40, 150, 300];

interface Call<R, A> {
  readonly request: R;
  readonly signal: AbortSignal;
  resolve(answer: A | Promise<A>): void;
  reject(error: unknown): void;
}

/**
 * Joins calls. What a statement of many leaves open, because a race was lost for example, is asked for again by itself,
 * so that each caller gets the answer that a call of its own would have got. Where that may wait for a row, all that is
 * open is asked for again together instead, a few times, and a call that is alone in its turn is only sent by itself
 * while no other one is.
 */
export class JoinedCalls<R extends object, A> {
  readonly #manner: JoinedManner<R, A>;
  #batches: Map<string, Call<R, A>>[] = [];
  /** The number of calls that are sent by themselves. */
  #waiting = 0;

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
    const { hasLocks } = this.#manner;
    if (calls.length === 1 && (!hasLocks || this.#waiting < MOST_WAITING)) return this.#sendAlone(calls);
    let open = await this.#sendTogether(calls);
    if (!hasLocks) return this.#sendAlone(open);
    for (const pauseMs of PAUSES_MS) {
      if (open.length === 0) return;
      await pause(pauseMs);
      open = await this.#sendTogether(open);
    }
    for (const call of open) call.reject(new Error(ROW_LOCKED));
  }

  /** Returns those that are not settled. Never rejects. */
  async #sendTogether(calls: readonly Call<R, A>[]): Promise<Call<R, A>[]> {
    // One caller that leaves must not end what the others wait for; the last one does.
    const { signal, forget } = whenAllAbort(calls.map(({ signal }) => signal));
    try {
      const due = () => calls.filter(({ signal }) => !signal.aborted).map(({ request }) => request);
      const answers = await this.#manner.together(due, signal);
      return calls.filter((call) => {
        const answer = answers.get(call.request);
        if (answer !== undefined) call.resolve(answer);
        return answer === undefined;
      });
    } catch (error) {
      if (this.#manner.spares(error)) this.#sendAlone(calls);
      else for (const call of calls) call.reject(error);
      return [];
    } finally {
      forget();
    }
  }

  #sendAlone(calls: readonly Call<R, A>[]): void {
    for (const { request, signal, resolve, reject } of calls) {
      if (signal.aborted) {
        reject(signal.reason);
        continue;
      }
      this.#waiting++;
      const answer = this.#manner.alone(request, signal).finally(() => this.#waiting--);
      resolve(abortable(answer, signal));
    }
  }
}
