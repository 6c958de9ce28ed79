/**
 * The sessions of one provider: one for each session timeout in use, opened when needed, forgotten when ended.
 *
 * @module
 */

import { permanently } from "../../src/call.ts";
import type { Clock } from "../../src/time/clock.ts";
import { type Logger, tell } from "../../src/logger.ts";
import type { LatchNode } from "./latch_node.ts";
import { LatchSession } from "./latch_session.ts";
import type { ZooKeeperTarget } from "./target.ts";

/** The settings of sessions. */
export interface SessionsOptions {
  readonly target: ZooKeeperTarget;
  /** The one timeout of all sessions, in milliseconds; without it each lease gets one that fits. */
  readonly sessionTimeout: number | undefined;
  readonly clock: Clock;
  readonly logger: Logger | undefined;
  /** Called once for each session that has ended. */
  readonly onEnded: (session: LatchSession) => void;
}

/** The shortest lease, in milliseconds. */
export const MIN_LEASE_MS = 1_000;
/** For a session that holds no lease. */
const DEFAULT_TIMEOUT_MS = 15_000;

/**
 * Returns the session timeout that a lease needs, in milliseconds: a tenth more than its own, since the ensemble may
 * have heard from the session a little less lately than the server that it is attached to.
 */
export function sessionTimeoutFor(heartbeatTimeout: number): number {
  return heartbeatTimeout + Math.ceil(heartbeatTimeout / 10);
}

/** @throws {RangeError} if a session timeout is not a number of milliseconds, or too short for any lease */
export function checkSessionTimeout(sessionTimeout: number): void {
  const least = sessionTimeoutFor(MIN_LEASE_MS);
  if (Number.isInteger(sessionTimeout) && sessionTimeout >= least) return;
  throw new RangeError(
    `Cannot use sessionTimeout ${sessionTimeout}: it must be a whole number of milliseconds, at least ${least}`,
  );
}

/** Returns the longest lease that fits a session timeout. */
export function longestLeaseIn(sessionTimeout: number): number {
  return Math.floor(sessionTimeout * 10 / 11);
}

/** The sessions. */
export class Sessions {
  readonly #options: SessionsOptions;
  /** By the session timeout that was asked for. */
  readonly #open = new Map<number, LatchSession>();
  #isClosed = false;

  constructor(options: SessionsOptions) {
    const servers = shuffled(options.target.servers);
    this.#options = { ...options, target: { ...options.target, servers } };
  }

  /** Any session, connected. */
  async connected(): Promise<LatchSession> {
    const session = this.any();
    await session.client.connected();
    return session;
  }

  /** Any session; a new one if there is none. */
  any(): LatchSession {
    const [session] = this.#open.values();
    return session ?? this.for(DEFAULT_TIMEOUT_MS);
  }

  /** The session for leases of `heartbeatTimeout`. */
  for(heartbeatTimeout: number): LatchSession {
    if (this.#isClosed) throw new Error("it was closed");
    const { target, clock, logger, onEnded } = this.#options;
    const sessionTimeout = this.#options.sessionTimeout ?? sessionTimeoutFor(heartbeatTimeout);
    let session = this.#open.get(sessionTimeout);
    if (session !== undefined) return session;
    session = new LatchSession({
      ...target,
      sessionTimeout,
      clock,
      onEnded: (ended) => {
        // One that has ended, or never began, is not kept: the next call opens another.
        if (this.#open.get(sessionTimeout) === ended) this.#open.delete(sessionTimeout);
        onEnded(ended);
      },
      onSlower: (granted) =>
        tell(logger, "warn", "the ensemble notices a crash later than asked", { asked: sessionTimeout, granted }),
      onUnrecorded: ({ group: electionGroup, participantId }, error) =>
        tell(logger, "warn", "others do not see the metadata of the leader", { electionGroup, participantId, error }),
    });
    this.#open.set(sessionTimeout, session);
    return session;
  }

  /** The session and node of a term that is held here, or may be. One that was not renewed in time is not. */
  holding(electionGroup: string, termId: string): { session: LatchSession; node: LatchNode } | null {
    for (const session of this.#open.values()) {
      const node = session.terms.node(electionGroup, termId);
      if (node !== undefined) return { session, node };
    }
    return null;
  }

  /** Ends all sessions, and so everything in them. */
  async close(): Promise<void> {
    this.#isClosed = true;
    await Promise.all([...this.#open.values()].map((session) => session.close()));
  }
}

/** Throws unless the server grants `session` the time that a lease of `heartbeatTimeout` needs. */
export function checkTimeout({ client }: LatchSession, heartbeatTimeout: number): void {
  const needed = sessionTimeoutFor(heartbeatTimeout);
  if (client.sessionTimeout >= needed) return;
  const why = `heartbeatTimeout ${heartbeatTimeout} needs a session of ${needed} ms, and the server grants ` +
    `${client.sessionTimeout} ms: lower heartbeatTimeout, or raise maxSessionTimeout`;
  throw permanently(new Error(why));
}

/** Returns `items` in random order, so that the clients of an ensemble spread over its servers. */
function shuffled<T>(items: readonly T[]): T[] {
  return items.map((item) => ({ item, at: Math.random() })).sort((a, b) => a.at - b.at).map(({ item }) => item);
}
