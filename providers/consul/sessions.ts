/**
 * The sessions that hold a provider's locks. One serves all its elections; a second is made only for leases that are
 * too long for the first.
 *
 * @module
 */

import { abortable } from "../../src/call.ts";
import { type Clock, elapsedSince, type Instant, instant } from "../../src/time/clock.ts";
import { CLOCK_RATE_ERROR } from "../kit/lease_evidence.ts";
import { type ConsulClient, jsonOf } from "./http.ts";

/** Consul refuses sessions that live shorter, in milliseconds. */
const MIN_TTL = 10_000;
/** The longest time that a request about a session may take, in milliseconds. */
const PATIENCE_MS = 5_000;

interface Session {
  readonly id: string;
  readonly ttlMs: number;
  /** Read before the request was sent that created or last renewed it: the server counts from a later moment. */
  renewedAt: Instant;
  /** The renewal that is under way, shared by all who need it. */
  renewing: Promise<boolean> | null;
}

/**
 * Creates sessions, renews them and destroys them. No timer is needed: a session matters only while heartbeats of its
 * leases come, and the first heartbeat that finds it a quarter through renews it for all. Without leases it may expire.
 *
 * Requests about sessions are shared, and so end by a bound of their own, not by the signal of one who waits for them.
 */
export class Sessions {
  readonly #client: ConsulClient;
  readonly #clock: Clock;
  readonly #live = new Map<string, Session>();
  #creating: Promise<Session> | null = null;
  #closed = false;

  constructor(client: ConsulClient, clock: Clock) {
    this.#client = client;
    this.#clock = clock;
  }

  /** Returns the id of a session that outlives a lease which is granted or renewed now. */
  async forLease(heartbeatTimeout: number, signal: AbortSignal): Promise<string> {
    const ttlMs = Math.max(MIN_TTL, 2 * heartbeatTimeout);
    for (;;) {
      signal.throwIfAborted();
      const session = [...this.#live.values()].find((each) => each.ttlMs >= ttlMs);
      if (session === undefined) {
        this.#creating ??= this.#create(ttlMs).finally(() => this.#creating = null);
        await abortable(this.#creating, signal);
      } else if (await this.keep(session.id, heartbeatTimeout, signal)) {
        return session.id;
      }
    }
  }

  /**
   * Sees to it that the session outlives a lease which is granted or renewed now. Returns false if it is gone.
   *
   * The server keeps a session for at least its TTL from the last renewal it has seen. So if it was renewed less than
   * `ttl - heartbeatTimeout` ago, it cannot expire before the lease does, and whoever waits for the lock in Consul's
   * own way, such as `consul lock`, gets it no sooner. If it was renewed longer ago, it is renewed first.
   */
  async keep(id: string, heartbeatTimeout: number, signal: AbortSignal): Promise<boolean> {
    const session = this.#live.get(id);
    // Another provider's, which we are asked to hold on to: it is not ours to remember.
    if (session === undefined) return await this.#renew(id, signal);
    const age = elapsedSince(this.#clock, session.renewedAt);
    if (age < session.ttlMs / 4) return true;
    session.renewing ??= this.#renewShared(session).finally(() => session.renewing = null);
    if (age + heartbeatTimeout <= session.ttlMs * (1 - CLOCK_RATE_ERROR)) {
      // It fails for those who have to wait for it.
      session.renewing.catch(() => {});
      return true;
    }
    return await abortable(session.renewing, signal);
  }

  /** Forgets the sessions that the server does not have any more. Returns whether there were any. */
  async forgetGone(signal: AbortSignal): Promise<boolean> {
    const ids = [...this.#live.keys()];
    const isThere = await Promise.all(ids.map((id) => this.#renew(id, signal)));
    const gone = ids.filter((_, i) => !isThere[i]);
    for (const id of gone) this.#live.delete(id);
    return gone.length > 0;
  }

  /** Destroys the sessions, as well as that goes within `boundMs`: what cannot be reached expires by itself. */
  async close(boundMs: number): Promise<void> {
    this.#closed = true;
    const signal = AbortSignal.timeout(boundMs);
    // Its answer holds the id without which the session would be left behind.
    if (this.#creating !== null) await abortable(this.#creating, signal).catch(() => {});
    await Promise.allSettled([...this.#live.keys()].map((id) => this.#destroy(id, signal)));
    this.#live.clear();
  }

  async #create(ttlMs: number): Promise<Session> {
    if (this.#closed) throw new Error("the provider is closed");
    const renewedAt = instant(this.#clock);
    // - No health check: one that fails would free the lock at once, under a leader that may think it leads.
    // - No lock-delay: it would hold up every hand-off, and guards nothing here (see `Looks.isFree`).
    const body = `{"Name":"multilock","TTL":"${Math.ceil(ttlMs / 1000)}s","Behavior":"release","LockDelay":"0s",` +
      `"Checks":[],"NodeChecks":[]}`;
    const answer = await this.#client.request({
      method: "PUT",
      path: "session/create",
      body,
      signal: AbortSignal.timeout(PATIENCE_MS),
    });
    const { ID: id } = jsonOf<{ ID: string }>(answer.body);
    const session = { id, ttlMs, renewedAt, renewing: null };
    this.#live.set(id, session);
    return session;
  }

  async #renewShared(session: Session): Promise<boolean> {
    const sentAt = instant(this.#clock);
    const isThere = await this.#renew(session.id, AbortSignal.timeout(PATIENCE_MS));
    if (isThere) session.renewedAt = sentAt;
    else this.#live.delete(session.id);
    return isThere;
  }

  /** A session that has expired is a 404. */
  async #renew(id: string, signal: AbortSignal): Promise<boolean> {
    const { status } = await this.#client.request({ method: "PUT", path: `session/renew/${id}`, signal });
    return status !== 404;
  }

  async #destroy(id: string, signal: AbortSignal): Promise<void> {
    await this.#client.request({ method: "PUT", path: `session/destroy/${id}`, signal });
  }
}
