/**
 * The requests of one connection: those that are not written yet, and those that are not answered.
 *
 * @module
 */

import type { JuteReader } from "./jute.ts";
import { numberRequest, type Operation, ZooKeeperError } from "./protocol.ts";

/** A request. */
export interface Call {
  readonly operation: Operation<unknown>;
  readonly frame: Uint8Array;
  readonly resolve: (value: unknown) => void;
  readonly reject: (reason: unknown) => void;
  /** Called when the watch fires that the operation leaves. */
  readonly onEvent: (() => void) | undefined;
  /** When it was written, by the monotonic clock; negative before. */
  writtenAt: number;
}

/** Numbers requests, and finds them again by the numbers of their replies. */
export class Calls {
  #xid = 0;
  #unwritten: Call[] = [];
  readonly #unanswered = new Map<number, Call>();

  /** The number that is not written yet. */
  get unwritten(): number {
    return this.#unwritten.length;
  }

  /** Takes a request in. */
  add(request: Omit<Call, "writtenAt">): Call {
    const call = { ...request, writtenAt: -1 };
    this.#unwritten.push(call);
    return call;
  }

  /** Takes a request back. False if it was written: then the server may carry it out. */
  remove(call: Call): boolean {
    const index = this.#unwritten.indexOf(call);
    if (index >= 0) this.#unwritten.splice(index, 1);
    return index >= 0;
  }

  /** Returns all that are not written yet, as they are from now on: written. */
  write(now: number): { readonly calls: readonly Call[]; readonly frames: Uint8Array[] } {
    const calls = this.#unwritten;
    this.#unwritten = [];
    const frames = calls.map((call) => {
      const xid = this.nextXid();
      call.writtenAt = now;
      this.#unanswered.set(xid, call);
      return numberRequest(call.frame, xid);
    });
    return { calls, frames };
  }

  /**
   * Returns the number of a new request. Replies are told by it, so it stays positive; negative ones have their own
   * meanings.
   */
  nextXid(): number {
    return this.#xid = this.#xid % 0x7fffffff + 1;
  }

  /**
   * Returns the request of a reply, which it then has.
   *
   * @throws {Error} if there is none
   */
  answered(xid: number): Call {
    const call = this.#unanswered.get(xid);
    if (call === undefined) throw new Error(`a reply to request ${xid}, which was not made`);
    this.#unanswered.delete(xid);
    return call;
  }

  /** Rejects all requests. */
  failAll(error: Error): void {
    const calls = [...this.#unanswered.values(), ...this.#unwritten];
    this.#unanswered.clear();
    this.#unwritten = [];
    for (const call of calls) call.reject(error);
  }
}

/**
 * Settles a request with what its reply holds.
 *
 * @throws what cannot be read as a reply
 */
export function answer(call: Call, reader: JuteReader): void {
  let value: unknown;
  try {
    value = call.operation.read(reader);
  } catch (error) {
    call.reject(error);
    // A transaction's refusal comes in the body of its reply. Anything else that cannot be read is no reply.
    if (!(error instanceof ZooKeeperError)) throw error;
    return;
  }
  call.resolve(value);
}
