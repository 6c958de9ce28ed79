/**
 * A provider that hands every call on: the base of those that add something to another one.
 *
 * @module
 */

import type {
  Acquired,
  AcquireRequest,
  CallOptions,
  Held,
  Hint,
  Inspection,
  LeaderInfo,
  Lease,
  Provider,
  ProviderCapabilities,
  ReleaseCallOptions,
  RenewOptions,
  WatchOptions,
} from "./provider.ts";

/** Hands every call to {@linkcode ForwardingProvider.target}. */
export class ForwardingProvider implements Provider {
  /** The provider that the calls go to. */
  protected target: Provider;

  /** Forwards to `target`. */
  constructor(target: Provider) {
    this.target = target;
  }

  /** The name of the target. */
  get name(): string {
    return this.target.name;
  }

  /** The capabilities of the target. */
  get capabilities(): ProviderCapabilities {
    return this.target.capabilities;
  }

  /** See {@linkcode Provider.acquire}. */
  acquire(request: AcquireRequest, options: CallOptions): Promise<Acquired | Held> {
    return this.target.acquire(request, options);
  }

  /** See {@linkcode Provider.renew}. */
  renew(lease: Lease, options: RenewOptions): Promise<"renewed" | "lost"> {
    return this.target.renew(lease, options);
  }

  /** See {@linkcode Provider.release}. */
  release(
    lease: Pick<Lease, "electionGroup" | "termId">,
    options: ReleaseCallOptions,
  ): Promise<"released" | "notHolder"> {
    return this.target.release(lease, options);
  }

  /** See {@linkcode Provider.read}. */
  read(electionGroup: string, options: CallOptions): Promise<LeaderInfo | null> {
    return this.target.read(electionGroup, options);
  }

  /** See {@linkcode Provider.watch}. Without hints, where the target has none, it waits for its end. */
  async *watch(electionGroup: string, options: WatchOptions): AsyncIterable<Hint | void> {
    const { signal } = options;
    if (this.target.watch !== undefined) return yield* this.target.watch(electionGroup, options);
    if (signal.aborted) return;
    await new Promise<void>((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
  }

  /** See {@linkcode Provider.healthCheck}. */
  healthCheck(options: CallOptions): Promise<void> {
    return this.target.healthCheck(options);
  }

  /** See {@linkcode Provider.inspect}. A target that cannot has nothing to tell. */
  inspect(options: CallOptions): Promise<Inspection> {
    return this.target.inspect?.(options) ?? Promise.resolve({ version: null, findings: [] });
  }

  /** Closes the target. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.target[Symbol.asyncDispose]();
  }
}
