/**
 * The sessions of a provider: leases of etcd, one for all its elections of a time to live, to which their keys are
 * bound. When one is not kept alive, its keys are deleted.
 *
 * @module
 */

import { abortable, permanently } from "../../src/call.ts";
import { type Clock, elapsedSince, type Instant, instant } from "../../src/time/clock.ts";
import { type Logger, tell } from "../../src/logger.ts";
import type { EtcdClient } from "./client.ts";
import { isLeaseGone } from "./errors.ts";
import { Heartbeats } from "./heartbeats.ts";
import { found, get, type LeaseAnswer, put, type TxnAnswer } from "./requests.ts";

/** The longest time until one is granted, in milliseconds. */
const PATIENCE_MS = 5_000;

/** A lease of etcd. */
export class Session {
  /** In decimal digits, as the gateway has it. */
  readonly id: string;
  readonly ttlMs: number;
  /** The key that has to be as it is known for an acquire of this session to succeed. */
  readonly fence: string;
  readonly heartbeats: Heartbeats;
  /** The revision that last wrote the fence; 0 while there is none. */
  fenceRevision = "0";
  /** Before the last keepalive that etcd answered was sent. */
  keptAt: Instant;
  /** Before the last keepalive was sent, by the monotonic clock. */
  askedAt: number;
  /** False once somebody has said that it is gone: no term begins in it any more. */
  isUsable = true;

  constructor(given: { id: string; ttlMs: number; fence: string; heartbeats: Heartbeats; keptAt: Instant }) {
    this.id = given.id;
    this.ttlMs = given.ttlMs;
    this.fence = given.fence;
    this.heartbeats = given.heartbeats;
    this.keptAt = given.keptAt;
    this.askedAt = given.keptAt.monotonic;
  }
}

/** The settings to open sessions. */
export interface SessionsOptions {
  readonly client: EtcdClient;
  readonly clock: Clock;
  readonly logger: Logger | undefined;
  /** Names the fence of a session. */
  readonly fenceOf: (sessionId: string) => string;
}

/** The sessions, each granted when it is needed. */
export class Sessions {
  readonly #options: SessionsOptions;
  /** By time to live, in seconds. */
  readonly #live = new Map<number, Session>();
  readonly #granting = new Map<number, Promise<Session>>();

  constructor(options: SessionsOptions) {
    this.#options = options;
  }

  /**
   * Returns the session for leases of `heartbeatTimeout`. Whoever uses it has to keep it alive in the same call. Its
   * time to live is in whole seconds, and never less than the lease: the term of a holder, who counts from before its
   * request was sent and less of it, is over before etcd can delete its key.
   */
  async for(heartbeatTimeout: number, signal: AbortSignal): Promise<Session> {
    const ttlSeconds = Math.ceil(heartbeatTimeout / 1000);
    const session = this.#live.get(ttlSeconds);
    // One that nobody has kept alive for so long is gone, or as good as that.
    const isLive = session !== undefined && session.isUsable &&
      elapsedSince(this.#options.clock, session.keptAt) < session.ttlMs;
    if (isLive) return session;
    let granting = this.#granting.get(ttlSeconds);
    if (granting === undefined) {
      granting = this.#grant(ttlSeconds).finally(() => this.#granting.delete(ttlSeconds));
      this.#granting.set(ttlSeconds, granting);
    }
    return await abortable(granting, signal);
  }

  /**
   * Ends the sessions that no term needs, as well as that goes. Those that a term may rely on are left to expire: its
   * holder, who has not released it, may still lead.
   */
  async close(isNeeded: (session: Session) => boolean, signal: AbortSignal): Promise<void> {
    await abortable(Promise.allSettled(this.#granting.values()), signal).catch(() => {});
    const sessions = [...this.#live.values()].filter((session) => session.isUsable && !isNeeded(session));
    this.#live.clear();
    const { client } = this.#options;
    await Promise.allSettled(sessions.map(({ id }) => client.send("lease/revoke", { ID: id }, signal)));
  }

  async #grant(ttlSeconds: number): Promise<Session> {
    const { client, clock, logger, fenceOf } = this.#options;
    const keptAt = instant(clock);
    const { ID: id, TTL } = await client.send<LeaseAnswer>(
      "lease/grant",
      { TTL: String(ttlSeconds) },
      AbortSignal.timeout(PATIENCE_MS),
    );
    if (id === undefined) throw new Error("etcd granted no lease");
    const granted = Number(TTL);
    if (!(granted >= ttlSeconds)) throw permanently(new Error(`etcd grants ${TTL} s where ${ttlSeconds} s are needed`));
    if (granted > ttlSeconds) {
      tell(logger, "warn", "etcd notices a crash later than asked", {
        asked: ttlSeconds * 1000,
        granted: granted * 1000,
      });
    }
    const ttlMs = granted * 1000;
    const session = new Session({ id, ttlMs, fence: fenceOf(id), heartbeats: new Heartbeats(client, id), keptAt });
    this.#live.set(ttlSeconds, session);
    return session;
  }
}

/**
 * Sees to it that no acquire of this session that was sent before can succeed any more, should it still be on its way:
 * each is conditional on the fence, which is written here. Returns the revision at which `key` was created, if it is
 * there: one of those acquires came first.
 */
export async function raiseFence(
  client: EtcdClient,
  session: Session,
  key: string,
  signal: AbortSignal,
): Promise<bigint | null> {
  try {
    const txn = { success: [put(session.fence, "", session.id), get(key, true)] };
    const answer = await client.send<TxnAnswer>("kv/txn", txn, signal);
    session.fenceRevision = answer.header.revision ?? "0";
    const kv = found(answer, 1);
    return kv === undefined ? null : BigInt(kv.create_revision);
  } catch (error) {
    // With the session all its keys are gone, and none can be bound to it.
    if (!isLeaseGone(error)) throw error;
    session.isUsable = false;
    return null;
  }
}
