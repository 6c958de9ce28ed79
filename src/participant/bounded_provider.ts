/**
 * The provider of one election, and the calls to it: each within a bound, and none that can hang.
 *
 * @module
 */

import { backoff } from "../time/backoff.ts";
import { callBackend, providerError } from "../call.ts";
import { elapsedSince, instant } from "../time/clock.ts";
import { ProviderError, type ProviderOperation } from "../errors.ts";
import type { Log } from "../logger.ts";
import type { ElectionConfig } from "../options.ts";
import type { Acquired, Held, Hint, LeaderInfo, Lease, Provider } from "../provider.ts";
import type { Telemetry } from "../telemetry/telemetry.ts";
import { TimerQueue } from "../time/timer_queue.ts";
import { OwnedProvider } from "./owned_provider.ts";

/** Metadata as the core keeps it: frozen, so that the same object is the same metadata. */
export type Metadata = Readonly<Record<string, string>>;

/** Takes note of something that failed. */
type OnError = (message: string, error: unknown) => void;

/** The provider of one election; each call to it ends in time. */
export class BoundedProvider {
  /** All timers of the election. */
  readonly queue: TimerQueue;
  readonly #config: ElectionConfig;
  readonly #onError: OnError;
  readonly #telemetry: Telemetry;
  readonly #log: Log;
  readonly #provider: Provider;
  /** The calls under way that {@linkcode BoundedProvider.cancel} ends; null where there are none. */
  #cancellable: Set<AbortController> | null = null;

  /**
   * Asks `provider` on behalf of the election of `config`. `onError` is told of failures that nobody else hears of,
   * `log` of every call where that is wanted.
   */
  constructor(provider: Provider, config: ElectionConfig, onError: OnError, telemetry: Telemetry, log: Log) {
    this.queue = TimerQueue.of(config.clock);
    this.#provider = provider;
    this.#config = config;
    this.#onError = onError;
    this.#telemetry = telemetry;
    this.#log = log;
  }

  /**
   * Opens the provider if this election owns it and has closed it, within `requestTimeout`.
   *
   * @throws what opening it threw, or the reason of `signal`
   */
  async connect(signal: AbortSignal): Promise<void> {
    const provider = this.#provider;
    if (!(provider instanceof OwnedProvider) || provider.isOpen) return;
    await this.#call("open", this.#config.requestTimeout, (bound) => provider.connect(bound), signal);
  }

  /** Ends every renewal, read and check that is under way: nobody waits for them any more. */
  cancel(): void {
    for (const controller of this.#cancellable ?? []) controller.abort(CANCELLED);
  }

  /** Closes the provider if it is owned, and waits for that no longer than `requestTimeout`. Never rejects. */
  async disconnect(): Promise<void> {
    if (!(this.#provider instanceof OwnedProvider)) return;
    const closed = new AbortController();
    const bound = this.queue.pause(this.#config.requestTimeout, closed.signal);
    const closing = this.#provider[Symbol.asyncDispose]();
    await Promise.race([closing, bound]).catch((error) => this.#onError("closing the provider failed", error));
    closed.abort();
  }

  /** Asks for the lease for the term `termId`, within `lockTimeout`. */
  acquire(termId: string, metadata: Metadata): Promise<Acquired | Held> {
    const { electionGroup, participantId, heartbeatTimeout, lockTimeout } = this.#config;
    const request = { electionGroup, participantId, termId, heartbeatTimeout, metadata };
    return this.#call("acquire", lockTimeout, (signal) => this.#provider.acquire(request, { signal }));
  }

  /** Renews `lease`, within `boundMs`. */
  renew(lease: Lease, boundMs: number, metadata?: Metadata): Promise<"renewed" | "lost"> {
    const renew = (signal: AbortSignal) => this.#provider.renew(lease, { signal, metadata });
    return this.#call("renew", boundMs, renew, "cancellable");
  }

  /**
   * Releases a term, as well as can be within `requestTimeout`. Never rejects. Returns whether the backend has
   * answered: if not, it may keep the lease until it expires. Followers are told that it is for `transferTo`, if given.
   */
  async release(termId: string, transferTo?: string): Promise<boolean> {
    const { electionGroup, requestTimeout, maxRetryAttempts, clock } = this.#config;
    const start = instant(clock);
    const release = (signal: AbortSignal) =>
      this.#provider.release({ electionGroup, termId }, transferTo === undefined ? { signal } : { signal, transferTo });
    for (let failures = 0;; failures++) {
      try {
        await this.#call("release", requestTimeout - elapsedSince(clock, start), release);
        return true;
      } catch (error) {
        this.#onError("a release failed", error);
        const delay = backoff(failures, this.#config);
        const isFinal = failures >= maxRetryAttempts || (error instanceof ProviderError && error.permanent);
        if (isFinal || elapsedSince(clock, start) + delay >= requestTimeout) return false;
        await this.queue.pause(delay, NEVER);
      }
    }
  }

  /** Reads who leads, within `requestTimeout`. */
  read(signal?: AbortSignal): Promise<LeaderInfo | null> {
    const { electionGroup, requestTimeout } = this.#config;
    return this.#call("read", requestTimeout, (signal) => this.#provider.read(electionGroup, { signal }), signal);
  }

  /** The provider itself: participants that have the same one can share what they see. */
  get target(): Provider {
    return this.#provider;
  }

  /** The provider's hints, where it has any. */
  watch(signal: AbortSignal): AsyncIterable<Hint | void> | undefined {
    const { electionGroup, participantId, observer } = this.#config;
    return this.#provider.watch?.(electionGroup, { signal, participantId: observer ? undefined : participantId });
  }

  /**
   * Asks the `healthCheck` callback, if there is one, within `requestTimeout` and while `outer` lasts. No clear yes is
   * a no. Never rejects.
   */
  async isHealthy(outer: AbortSignal | "cancellable" = "cancellable"): Promise<boolean> {
    const { healthCheck, requestTimeout } = this.#config;
    if (healthCheck === undefined) return true;
    try {
      const check = async (signal: AbortSignal) => await healthCheck({ signal });
      return await this.#call("healthCheck", requestTimeout, check, outer) === true;
    } catch (error) {
      const isWanted = outer === "cancellable" ? error !== CANCELLED : !outer.aborted;
      if (isWanted) this.#onError("the health check failed", error);
      return false;
    }
  }

  /** Logs a call that is under way, with its outcome and how long it took. */
  async #told<T>(operation: ProviderOperation, call: Promise<T>): Promise<T> {
    const { clock } = this.#config;
    const start = clock.monotonic();
    const tell = (outcome: string, more = {}) => {
      const durationMs = Math.round((clock.monotonic() - start) * 100) / 100;
      this.#log("debug", "a call has ended", { operation, outcome, durationMs, ...more });
    };
    try {
      const answer = await call;
      tell(outcomeOf(answer));
      return answer;
    } catch (error) {
      tell("failed", { error });
      throw error;
    }
  }

  /**
   * Waits for `work`, but no longer than `boundMs` and than `outer` lasts, or until {@linkcode BoundedProvider.cancel},
   * also if it ignores its signal.
   */
  async #call<T>(
    operation: ProviderOperation,
    boundMs: number,
    work: (signal: AbortSignal) => Promise<T>,
    end?: AbortSignal | "cancellable",
  ): Promise<T> {
    const outer = end === "cancellable" ? undefined : end;
    outer?.throwIfAborted();
    const { electionGroup } = this.#config;
    const { name } = this.#provider;
    const controller = new AbortController();
    const timer = this.queue.timer(() => {
      controller.abort(providerError(name, operation, electionGroup, `no answer within ${Math.round(boundMs)} ms`));
    });
    const onAbort = () => controller.abort(outer?.reason);
    timer.set(boundMs);
    outer?.addEventListener("abort", onAbort, { once: true });
    if (end === "cancellable") (this.#cancellable ??= new Set()).add(controller);
    // The check is the application's own, and no call to the backend.
    const call = operation === "healthCheck" ? null : this.#telemetry.begin(operation);
    try {
      const asked = callBackend(name, operation, electionGroup, controller.signal, () => work(controller.signal));
      const answer = await (this.#config.detailed ? this.#told(operation, asked) : asked);
      if (call !== null) this.#telemetry.answered(call, answer);
      return answer;
    } catch (error) {
      if (call !== null && (outer?.aborted || error === CANCELLED)) this.#telemetry.abandoned(call);
      else if (call !== null) this.#telemetry.failed(call, error);
      throw error;
    } finally {
      timer.clear();
      outer?.removeEventListener("abort", onAbort);
      if (end === "cancellable" && this.#cancellable?.delete(controller) && this.#cancellable.size === 0) {
        this.#cancellable = null;
      }
    }
  }
}

/** Returns what came of a call, in a word. */
function outcomeOf(answer: unknown): string {
  if (typeof answer === "string") return answer;
  if (typeof answer === "boolean") return answer ? "healthy" : "unhealthy";
  if (answer === null) return "nobody leads";
  if (typeof answer !== "object") return "done";
  if ("acquired" in answer) return answer.acquired ? "acquired" : "held";
  return "leaderId" in answer ? `${answer.leaderId} leads` : "done";
}

/** The reason of calls that {@linkcode BoundedProvider.cancel} has ended. */
const CANCELLED = new DOMException("nobody waits for the answer", "AbortError");

/** For a pause that nothing cuts short. */
const NEVER = new AbortController().signal;
