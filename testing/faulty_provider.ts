/**
 * A provider that fails the way backends and networks do.
 *
 * @module
 */

import type { Clock } from "../src/time/clock.ts";
import { sleep } from "../src/time/clock.ts";
import { ProviderError } from "../src/errors.ts";
import type {
  Acquired,
  AcquireRequest,
  CallOptions,
  Held,
  LeaderInfo,
  Lease,
  Provider,
  ProviderCapabilities,
  RenewOptions,
} from "../src/provider.ts";

/** The operations that can be made to fail. */
export type FaultyOperation = "acquire" | "renew" | "release" | "read" | "healthCheck";

/** The faults of calls of an operation. */
export interface Fault {
  /** The call never settles, and ignores its signal: a hung client. Nothing reaches the backend. */
  readonly hang?: boolean;
  /** The call is refused before it reaches the backend. */
  readonly fail?: boolean;
  /** The backend carries the call out, but the answer is lost: the call rejects. */
  readonly loseAnswer?: boolean;
  /** Milliseconds until the call reaches the backend, also after its signal has aborted: a late write. */
  readonly delayRequestMs?: number;
  /** Milliseconds until the answer comes back. */
  readonly delayAnswerMs?: number;
}

/**
 * Wraps a provider, and makes its operations go wrong on demand. It does not close what it wraps.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { memoryProvider } from "@multilock/core/memory";
 * import { FaultyProvider } from "@multilock/core/testing";
 *
 * const provider = new FaultyProvider(memoryProvider({ name: "docs-faulty" }));
 * provider.faults.read = { fail: true };
 * const outcome = await provider.read("group", { signal: AbortSignal.timeout(100) }).catch(() => "failed");
 * assert(outcome === "failed");
 * ```
 */
export class FaultyProvider implements Provider {
  /** The fault of each operation at the moment. An operation that is missing goes well. */
  readonly faults: Partial<Record<FaultyOperation, Fault>> = {};
  /** The operations that were called, in order. */
  readonly calls: FaultyOperation[] = [];
  readonly name: string;
  readonly capabilities: ProviderCapabilities;
  /** See {@linkcode Provider.watch}; missing where the wrapped provider has none. */
  readonly watch?: NonNullable<Provider["watch"]>;
  readonly #inner: Provider;
  readonly #clock: Clock | undefined;

  /** Wraps `inner`. Delays run on `clock`, which only they need. */
  constructor(inner: Provider, clock?: Clock) {
    this.#inner = inner;
    this.#clock = clock;
    this.name = inner.name;
    this.capabilities = inner.capabilities;
    if (inner.watch !== undefined) this.watch = inner.watch.bind(inner);
  }

  acquire(request: AcquireRequest, options: CallOptions): Promise<Acquired | Held> {
    return this.#call("acquire", options, (o) => this.#inner.acquire(request, o));
  }

  renew(lease: Lease, options: RenewOptions): Promise<"renewed" | "lost"> {
    return this.#call("renew", options, (o) => this.#inner.renew(lease, { ...options, ...o }));
  }

  release(
    lease: Pick<Lease, "electionGroup" | "termId">,
    options: CallOptions,
  ): Promise<"released" | "notHolder"> {
    return this.#call("release", options, (o) => this.#inner.release(lease, o));
  }

  read(electionGroup: string, options: CallOptions): Promise<LeaderInfo | null> {
    return this.#call("read", options, (o) => this.#inner.read(electionGroup, o));
  }

  healthCheck(options: CallOptions): Promise<void> {
    return this.#call("healthCheck", options, (o) => this.#inner.healthCheck(o));
  }

  /** Does nothing: whoever opened the wrapped provider closes it. */
  [Symbol.asyncDispose](): Promise<void> {
    return Promise.resolve();
  }

  async #call<T>(
    operation: FaultyOperation,
    options: CallOptions,
    work: (options: CallOptions) => Promise<T>,
  ): Promise<T> {
    this.calls.push(operation);
    const { hang, fail, loseAnswer, delayRequestMs, delayAnswerMs } = this.faults[operation] ?? {};
    if (hang) return await new Promise<never>(() => {});
    if (fail) throw new ProviderError(this.name, operation, `Cannot ${operation}: connection refused`);
    await this.#delay(delayRequestMs);
    // A request that is on its way arrives, whatever its sender does meanwhile.
    const answer = await work(delayRequestMs === undefined ? options : { signal: NEVER });
    await this.#delay(delayAnswerMs);
    if (loseAnswer) throw new ProviderError(this.name, operation, `Cannot ${operation}: the answer was lost`);
    return answer;
  }

  async #delay(ms: number | undefined): Promise<void> {
    if (ms === undefined) return;
    if (this.#clock === undefined) throw new TypeError("Cannot delay a call: the faulty provider has no clock");
    await sleep(this.#clock, ms);
  }
}

const NEVER = new AbortController().signal;
