/**
 * Hints on their way from a provider's connection to one who watches.
 *
 * @module
 */

import type { Hint, LeaderInfo } from "../../src/provider.ts";

/**
 * Leases shorter than this, in milliseconds, are worth telling of each renewal: those who wait would otherwise have to
 * ask more than twelve times a minute whether the lease still lives. A longer one they ask about no more often than
 * that by themselves.
 */
export const TELL_RENEWALS_BELOW_MS = 7_500;

/** Metadata beyond so many bytes are not sent to all who wait. They look instead, one after the other. */
export const MOST_TOLD_BYTES = 4_096;

/**
 * Keeps the latest hint for one who watches, for only that is of interest. The first is there from the beginning: it
 * says that the subscription is live.
 */
export class HintStream {
  #hint: Hint | null;
  #failure: { readonly reason: unknown } | null = null;
  #hasEnded = false;
  #resume = () => {};

  /** Begins with `first`, or with nothing. */
  constructor(first: Hint | null = {}) {
    this.#hint = first;
  }

  /**
   * Hands over `hint`, in place of one that has not been taken yet. A renewal takes nobody's place, and that a lease
   * was released for somebody is not forgotten as long as nobody has taken it.
   */
  push(hint: Hint = {}): void {
    if (this.#hint !== null && hint.renewed !== undefined) return;
    const { transferTo } = this.#hint ?? {};
    this.#hint = hint.leader === undefined && transferTo !== undefined ? { transferTo, ...hint } : hint;
    this.#resume();
  }

  /** Breaks the stream off: the reader rejects with `reason`, once it has taken the last hint. */
  fail(reason: unknown): void {
    this.#failure ??= { reason };
    this.#resume();
  }

  /** Ends the stream: the reader is told nothing more. */
  end(): void {
    this.#hasEnded = true;
    this.#resume();
  }

  /** Yields the hints. Ends without an error when `signal` aborts; rejects when the stream breaks. */
  async *read(signal: AbortSignal): AsyncGenerator<Hint, void> {
    const wake = () => this.#resume();
    signal.addEventListener("abort", wake);
    try {
      while (!signal.aborted && !this.#hasEnded) {
        const hint = this.#hint;
        this.#hint = null;
        if (hint !== null) yield hint;
        else if (this.#failure !== null) throw this.#failure.reason;
        else await new Promise<void>((resolve) => this.#resume = resolve);
      }
    } finally {
      signal.removeEventListener("abort", wake);
    }
  }
}

/** Reads `free N`, `free N PARTICIPANT` and `renewed TERM EPOCH_MS TIMEOUT_MS`; null for anything else. */
export function readMessage(text: string): Hint | null {
  const [kind, ...words] = text.split(" ");
  if (kind === "free") {
    const [count, transferTo] = [Number(words[0]), words[1] || undefined];
    const known = Number.isSafeInteger(count) && count > 0 ? { waiting: count } : {};
    return transferTo === undefined ? known : { ...known, transferTo };
  }
  if (kind !== "renewed") return null;
  const [termId = "", at, timeout] = words;
  const [atMs, expiresIn] = [Number(at), Number(timeout)];
  if (!(atMs > 0 && expiresIn > 0)) return {};
  return { renewed: { termId, expiresIn, lastHeartbeat: new Date(atMs) } };
}

/** The hint that `leader` leads, where that can be read; else a hint without more. */
export function leaderHint(read: () => LeaderInfo): Hint {
  try {
    const leader = read();
    return leader.termId !== "" && leader.token > 0n ? { leader } : {};
  } catch {
    return {};
  }
}
