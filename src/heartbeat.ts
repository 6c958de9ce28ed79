/**
 * Keeps one term alive: renews its lease on time, and ends it when that fails for too long.
 *
 * @module
 */

import { backoff } from "./backoff.ts";
import type { Backend, Metadata } from "./backend.ts";
import { elapsedSince, instant } from "./clock.ts";
import type { ElectionConfig } from "./options.ts";
import type { LeaseTerm } from "./term.ts";
import type { QueuedTimer } from "./timer_queue.ts";

/** What a heartbeat tells its election. */
export interface HeartbeatEvents {
  /** The metadata that the record should hold. */
  metadata(): Metadata;
  /** A renewal failed with `error`, and will be tried again. */
  failed(error: unknown): void;
  /** The participant is not fit to lead any more. */
  unhealthy(): void;
  /** The term is over: the backend said so, or its deadline has passed. */
  over(reason: "lost" | "expired"): void;
}

/** Heartbeats are sent up to an eighth of the interval early, so that those of many elections fall due together. */
const SHARED_SLOTS = 8;

/** The heartbeats of one term. */
export class Heartbeat {
  readonly #term: LeaseTerm;
  readonly #config: ElectionConfig;
  readonly #backend: Backend;
  readonly #events: HeartbeatEvents;
  readonly #next: QueuedTimer;
  readonly #deadline: QueuedTimer;
  #sentMetadata: Metadata;
  #failures = 0;
  #inFlight: Promise<void> | null = null;
  #stopped = false;

  /** Starts the heartbeats of `term`, whose record holds `metadata`. */
  constructor(
    term: LeaseTerm,
    metadata: Metadata,
    config: ElectionConfig,
    backend: Backend,
    events: HeartbeatEvents,
  ) {
    this.#term = term;
    this.#sentMetadata = metadata;
    this.#config = config;
    this.#backend = backend;
    this.#events = events;
    this.#next = backend.queue.timer(() => void this.beat().catch(() => {}));
    this.#deadline = backend.queue.timer(() => this.#checkDeadline());
    this.#deadline.set(term.remaining);
    this.#scheduleNext(config.validFor - term.remaining);
  }

  /** Sends no more. An answer that is still on its way is dropped. */
  stop(): void {
    this.#stopped = true;
    this.#next.clear();
    this.#deadline.clear();
  }

  /**
   * Sends a heartbeat now, or joins the one that is on its way.
   *
   * @throws what the provider threw: the outcome is unknown, and the heartbeat will be tried again
   */
  beat(): Promise<void> {
    return this.#inFlight ??= this.#beat().finally(() => this.#inFlight = null);
  }

  /** Sends a heartbeat that has the metadata of now. @throws as {@linkcode Heartbeat.beat} */
  async sendMetadata(): Promise<void> {
    await this.beat();
    // That may have been one which was on its way, with the metadata of before.
    if (this.#events.metadata() !== this.#sentMetadata) await this.beat();
  }

  async #beat(): Promise<void> {
    if (this.#stopped) return;
    this.#next.clear();
    if (this.#config.healthCheck !== undefined) {
      // Beside the renewal, not before it: a slow check must not eat the time that the lease has left.
      void this.#backend.isHealthy().then((healthy) => healthy || this.#stopped || this.#events.unhealthy());
    }
    const sent = instant(this.#config.clock);
    const metadata = this.#events.metadata();
    const { lease } = this.#term;
    const bound = Math.min(this.#config.requestTimeout, this.#term.remaining);
    try {
      const outcome = await this.#backend.renew(lease, bound, metadata === this.#sentMetadata ? undefined : metadata);
      if (this.#stopped) return;
      if (outcome === "lost") return this.#events.over("lost");
      if (outcome !== "renewed") throw new TypeError(`Cannot renew "${lease.electionGroup}": got ${String(outcome)}`);
      // The answer came too late: the term was invalid for a moment, and must not come to life again.
      if (!this.#term.isValid) return this.#events.over("expired");
      this.#term.extend(sent);
      this.#sentMetadata = metadata;
      this.#failures = 0;
      this.#checkDeadline();
      this.#scheduleNext(elapsedSince(this.#config.clock, sent));
    } catch (error) {
      if (this.#stopped) return;
      // Unknown is neither success nor loss: the deadline stands, and until then there is time to try again.
      this.#next.set(backoff(this.#failures++, this.#config));
      this.#events.failed(error);
      throw error;
    }
  }

  #scheduleNext(elapsedMs: number): void {
    const interval = this.#config.heartbeatInterval;
    this.#next.set(interval - elapsedMs, interval / SHARED_SLOTS);
  }

  /** Ends the term at its deadline, whatever else hangs. The timer may be early or the deadline may have moved. */
  #checkDeadline(): void {
    if (this.#stopped) return;
    const { remaining } = this.#term;
    if (remaining <= 0) this.#events.over("expired");
    else this.#deadline.set(remaining);
  }
}
