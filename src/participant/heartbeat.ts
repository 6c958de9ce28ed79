/**
 * Keeps one term alive: renews its lease on time, and ends it when that fails for too long.
 *
 * @module
 */

import { backoff } from "../time/backoff.ts";
import { elapsedSince, instant } from "../time/clock.ts";
import type { ElectionConfig } from "../options.ts";
import type { QueuedTimer } from "../time/timer_queue.ts";
import type { BoundedProvider, Metadata } from "./bounded_provider.ts";
import type { LeaseTerm } from "./term.ts";

/** Events of a heartbeat, for its election. */
export interface HeartbeatEvents {
  /** The metadata that the record should hold. */
  metadata(): Metadata;
  /** A renewal failed with `error`, and will be tried again. */
  failed(error: unknown): void;
  /** A renewal succeeded, when the term had `leftMs` left. */
  succeeded(leftMs: number): void;
  /** The participant is not fit to lead any more. */
  unhealthy(): void;
  /** The term is over: the backend said so, or its deadline has passed. */
  over(reason: "lost" | "expired"): void;
}

/** Heartbeats are sent up to an eighth of the interval early, so that those of many elections fall due together. */
const SHARED_SLOTS = 8;
/** The part of the time left that may pass before a failed heartbeat is tried again. */
const RETRY_SHARE = 1 / 4;
/** The shortest wait before a failed heartbeat is tried again, in milliseconds. */
const SHORTEST_RETRY_MS = 10;

/**
 * The heartbeats of one term.
 *
 * A heartbeat on schedule carries no metadata, and what metadata there is to send goes beside it: what the record
 * cannot take, or a disk that is full, must not cost the term.
 */
export class Heartbeat {
  readonly #term: LeaseTerm;
  readonly #config: ElectionConfig;
  readonly #provider: BoundedProvider;
  readonly #events: HeartbeatEvents;
  readonly #next: QueuedTimer;
  readonly #deadline: QueuedTimer;
  #sentMetadata: Metadata;
  #sendingMetadata: Promise<void> | null = null;
  #failures = 0;
  #stopped = false;
  #hasSucceeded = false;

  /** Starts the heartbeats of `term`, whose record holds `metadata`. */
  constructor(
    term: LeaseTerm,
    metadata: Metadata,
    config: ElectionConfig,
    provider: BoundedProvider,
    events: HeartbeatEvents,
  ) {
    this.#term = term;
    this.#sentMetadata = metadata;
    this.#config = config;
    this.#provider = provider;
    this.#events = events;
    this.#next = provider.queue.timer(() => void this.#send());
    this.#deadline = provider.queue.timer(() => this.checkDeadline());
    this.#deadline.set(term.remaining);
    this.#scheduleNext(config.validFor - term.remaining);
    this.#catchUp();
  }

  /** True once any heartbeat of the term has succeeded. */
  get hasSucceeded(): boolean {
    return this.#hasSucceeded;
  }

  /** Sends no more. An answer that is still on its way is dropped. */
  stop(): void {
    this.#stopped = true;
    this.#next.clear();
    this.#deadline.clear();
  }

  /**
   * Brings the record's metadata up to date.
   *
   * @throws what the provider threw: the outcome is unknown, and it is tried again after the next heartbeat
   */
  async sendMetadata(): Promise<void> {
    // One that is on its way may have the metadata of before; its failure is its own callers' to hear.
    await this.#sendingMetadata?.catch(() => {});
    if (this.#stopped || this.#events.metadata() === this.#sentMetadata) return;
    await (this.#sendingMetadata ??= this.#sendMetadata().finally(() => this.#sendingMetadata = null));
  }

  /** Ends the term at its deadline, whatever else hangs. The timer may be early, or the deadline may have moved. */
  checkDeadline(): void {
    if (this.#stopped) return;
    const { remaining } = this.#term;
    if (remaining <= 0) this.#events.over("expired");
    else this.#deadline.set(remaining);
  }

  /** Sends a heartbeat on schedule. Never rejects. */
  async #send(): Promise<void> {
    if (this.#stopped) return;
    this.#checkHealth();
    const sent = instant(this.#config.clock);
    try {
      await this.#renew();
      if (this.#stopped) return;
      this.#failures = 0;
      this.#scheduleNext(elapsedSince(this.#config.clock, sent));
      this.#catchUp();
    } catch (error) {
      if (this.#stopped) return;
      this.#next.set(this.#retryDelay());
      this.#events.failed(error);
    }
  }

  /** Asks beside the renewal, not before it: a slow check must not eat the time that the lease has left. */
  #checkHealth(): void {
    if (this.#config.healthCheck === undefined) return;
    void this.#provider.isHealthy().then((healthy) => healthy || this.#stopped || this.#events.unhealthy());
  }

  async #sendMetadata(): Promise<void> {
    const metadata = this.#events.metadata();
    await this.#renew(metadata);
    this.#sentMetadata = metadata;
  }

  /** Sends metadata that has changed while it could not be sent. */
  #catchUp(): void {
    if (this.#events.metadata() === this.#sentMetadata || this.#sendingMetadata !== null) return;
    void this.sendMetadata().catch((error) => this.#stopped || this.#events.failed(error));
  }

  /**
   * Renews the lease, and moves the deadline if that succeeds. Unknown is neither success nor loss: the deadline
   * stands.
   *
   * @throws what the provider threw
   */
  async #renew(metadata?: Metadata): Promise<void> {
    const sent = instant(this.#config.clock);
    const { lease } = this.#term;
    const bound = Math.min(this.#config.requestTimeout, this.#term.remaining);
    const outcome = await this.#provider.renew(lease, bound, metadata);
    if (this.#stopped) return;
    if (outcome === "lost") return this.#events.over("lost");
    if (outcome !== "renewed") throw new TypeError(`Cannot renew "${lease.electionGroup}": got ${String(outcome)}`);
    // The answer came too late: the term was invalid for a moment, and must not come to life again.
    const left = this.#term.remaining;
    if (left <= 0) return this.#events.over("expired");
    this.#term.extend(sent);
    this.#hasSucceeded = true;
    this.#events.succeeded(left);
    this.checkDeadline();
  }

  #scheduleNext(elapsedMs: number): void {
    const interval = this.#config.heartbeatInterval;
    this.#next.set(interval - elapsedMs, interval / SHARED_SLOTS);
  }

  /**
   * The back-off never outlasts the term. It takes at most a part of the time left, so tries come closer together as
   * the deadline does, and a backend that is well again in time is found in time.
   */
  #retryDelay(): number {
    const share = Math.max(this.#term.remaining * RETRY_SHARE, SHORTEST_RETRY_MS);
    return Math.min(backoff(this.#failures++, this.#config), share);
  }
}
