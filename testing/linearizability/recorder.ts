/**
 * Records what clients asked of the lease register, when, and what they were answered.
 *
 * @module
 */

import { type Clock, systemClock } from "../../src/time/clock.ts";
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
} from "../../src/provider.ts";

/**
 * The outcome of a call: `granted` or `held` (acquire), `renewed` or `lost` (renew), `released` or `notHolder`
 * (release), `leader` or `nobody` (read). `unknown`: it was rejected, or not answered yet.
 */
export type RegisterAnswer =
  | "granted"
  | "held"
  | "renewed"
  | "lost"
  | "released"
  | "notHolder"
  | "leader"
  | "nobody"
  | "unknown";

/** One call to the lease register, and its answer. */
export interface RegisterOperation {
  /** The client that called. */
  readonly client: string;
  /** The group. */
  readonly electionGroup: string;
  /** The operation that was asked for. */
  readonly operation: "acquire" | "renew" | "release" | "read";
  /** The term in whose name; null for `read`. */
  readonly termId: string | null;
  /** For how long the lease was to be granted, in milliseconds; 0 for `release` and `read`. */
  readonly heartbeatTimeout: number;
  /** Read from the recorder's clock before the call, in milliseconds. */
  readonly invokedAt: number;
  /** Read after the answer; infinite for one that is unknown, since the call may be carried out at any later time. */
  readonly answeredAt: number;
  /** The answer. */
  readonly answer: RegisterAnswer;
  /** The term that was named: the one that was granted, or the holder; null where there is none. */
  readonly seen: { readonly termId: string; readonly token: bigint } | null;
}

type Question = Pick<RegisterOperation, "electionGroup" | "operation" | "termId" | "heartbeatTimeout">;
type Verdict = Pick<RegisterOperation, "answer" | "seen">;

/**
 * Records the calls to all providers that it wraps, stamped by one clock, for {@linkcode checkLinearizability}. All
 * clients must live in this process.
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { memoryProvider } from "@multilock/core/memory";
 * import { RegisterRecorder } from "@multilock/core/testing";
 *
 * const recorder = new RegisterRecorder();
 * const provider = recorder.wrap(memoryProvider({ name: "docs-recorder" }), "client 1");
 * await provider.read("group", { signal: AbortSignal.timeout(1_000) });
 * assert(recorder.operations[0]?.answer === "nobody");
 * ```
 */
export class RegisterRecorder {
  readonly #clock: Clock;
  readonly #operations: RegisterOperation[] = [];

  /** Makes a recorder that has seen nothing. `clock` stamps; only its monotonic side is read. */
  constructor(clock: Clock = systemClock) {
    this.#clock = clock;
  }

  /** The calls that were recorded until now, in the order of invocation. Calls that have no answer yet are unknown. */
  get operations(): readonly RegisterOperation[] {
    return [...this.#operations];
  }

  /** Returns `provider`, recorded in the name of `client`. Closing it closes `provider`. */
  wrap(provider: Provider, client: string): Provider {
    return new RecordedProvider(provider, (question, work, judge) => this.#record(client, question, work, judge));
  }

  async #record<T>(
    client: string,
    question: Question,
    work: () => Promise<T>,
    judge: (value: T) => Verdict,
  ): Promise<T> {
    const index = this.#operations.length;
    const invokedAt = this.#clock.monotonic();
    const asked = { client, ...question, invokedAt };
    this.#operations.push({ ...asked, answeredAt: Infinity, answer: "unknown", seen: null });
    const value = await work();
    this.#operations[index] = { ...asked, answeredAt: this.#clock.monotonic(), ...judge(value) };
    return value;
  }
}

class RecordedProvider implements Provider {
  readonly name: string;
  readonly capabilities: ProviderCapabilities;
  readonly watch?: NonNullable<Provider["watch"]>;
  readonly groups?: (options: CallOptions) => Promise<string[]>;
  readonly #inner: Provider;
  readonly #record: <T>(question: Question, work: () => Promise<T>, judge: (value: T) => Verdict) => Promise<T>;

  constructor(
    inner: Provider,
    record: <T>(question: Question, work: () => Promise<T>, judge: (value: T) => Verdict) => Promise<T>,
  ) {
    this.#inner = inner;
    this.#record = record;
    this.name = inner.name;
    this.capabilities = inner.capabilities;
    if (inner.watch !== undefined) this.watch = inner.watch.bind(inner);
    if (inner.groups !== undefined) this.groups = inner.groups.bind(inner);
  }

  acquire(request: AcquireRequest, options: CallOptions): Promise<Acquired | Held> {
    const { electionGroup, termId, heartbeatTimeout } = request;
    return this.#record(
      { electionGroup, operation: "acquire", termId, heartbeatTimeout },
      () => this.#inner.acquire(request, options),
      (value) =>
        value.acquired
          ? { answer: "granted", seen: termOf(value.lease) }
          : { answer: "held", seen: termOf(value.leader) },
    );
  }

  renew(lease: Lease, options: RenewOptions): Promise<"renewed" | "lost"> {
    const { electionGroup, termId, heartbeatTimeout } = lease;
    const question = { electionGroup, operation: "renew", termId, heartbeatTimeout } as const;
    return this.#record(question, () => this.#inner.renew(lease, options), (answer) => ({ answer, seen: null }));
  }

  release(
    lease: Pick<Lease, "electionGroup" | "termId">,
    options: CallOptions,
  ): Promise<"released" | "notHolder"> {
    const { electionGroup, termId } = lease;
    const question = { electionGroup, operation: "release", termId, heartbeatTimeout: 0 } as const;
    return this.#record(question, () => this.#inner.release(lease, options), (answer) => ({ answer, seen: null }));
  }

  read(electionGroup: string, options: CallOptions): Promise<LeaderInfo | null> {
    return this.#record(
      { electionGroup, operation: "read", termId: null, heartbeatTimeout: 0 },
      () => this.#inner.read(electionGroup, options),
      (leader) => ({ answer: leader === null ? "nobody" : "leader", seen: termOf(leader) }),
    );
  }

  healthCheck(options: CallOptions): Promise<void> {
    return this.#inner.healthCheck(options);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.#inner[Symbol.asyncDispose]();
  }
}

function termOf(term: { readonly termId: string; readonly token: bigint } | null): RegisterOperation["seen"] {
  return term === null ? null : { termId: term.termId, token: term.token };
}
