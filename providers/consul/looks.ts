/**
 * The looks of a provider at each group, and since when each stands: the ground on which it decides that a lease is
 * over.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { permanently } from "../../src/call.ts";
import type { Clock } from "../../src/time/clock.ts";
import type { LeaderInfo, Lease } from "../../src/provider.ts";
import { type Since, StandingRecords } from "../kit/standing_records.ts";
import { type ConsulAnswer, jsonOf } from "./http.ts";
import { isLock } from "./operations.ts";
import { decodeRecord, type TermRecord } from "./record.ts";

/** A state of a key. */
interface KeyState {
  /** The index of the last write to the key; 0 where there is no such key. */
  readonly index: number;
  /** The session that has locked it, or "". */
  readonly session: string;
  /** The record in it; null where there is none, or one that is not ours. */
  readonly record: TermRecord | null;
}

/** A key as it was last seen. */
export type Look = KeyState & Since;

/**
 * Remembers the last look at each group. Only a hint what to try: each write is conditional on the index that was seen.
 */
export class Looks {
  readonly #looks: StandingRecords<KeyState>;

  constructor(clock: Clock) {
    this.#looks = new StandingRecords(clock, isSame);
  }

  /** Returns the last look at a group. */
  get(electionGroup: string): Look | undefined {
    return this.#looks.get(electionGroup);
  }

  /** Remembers what Consul answered about the key of a group. */
  see(electionGroup: string, { status, body }: ConsulAnswer): Look {
    // Consul has no words for a key that is not there.
    if (status === 404 && body.trim() !== "") jsonOf(body);
    if (status === 404) return this.remember(electionGroup, 0, "", null);
    const [entry] = jsonOf<[ConsulEntry]>(body);
    if (!isLock(entry.Flags)) {
      throw permanently(new Error(`the key "${entry.Key}" holds something that is no lock`));
    }
    const record = decodeRecord(Buffer.from(entry.Value ?? "", "base64"));
    return this.remember(electionGroup, entry.ModifyIndex, entry.Session ?? "", record);
  }

  /** Remembers a state of the key. */
  remember(electionGroup: string, index: number, session: string, record: TermRecord | null): Look {
    return this.#looks.see(electionGroup, { index, session, record });
  }

  /**
   * Returns true if another term may begin. Nobody may be leading when
   * - there is no record, or it was given back, which empties it;
   * - or the record has stood still for the whole lease of its holder, as seen here (see `StandingRecords`). A
   *   heartbeat changes the index, and the write that takes over is conditional on it.
   *
   * An unlocked key is not enough: Consul unlocks it when the session ends, which an operator or a leaving agent can
   * bring about while the holder, who has not heard of it, still leads. The lock itself of a record of ours is only for
   * those who go by it, such as `consul lock`. A locked key without our record is theirs, and left to its session.
   */
  isFree(look: Look): boolean {
    return this.hasStoodStill(look) || (look.session === "" && look.record === null);
  }

  /** Returns true once the lease of the record is over. */
  hasStoodStill(look: Look): boolean {
    return look.record !== null && this.#expiresIn(look, look.record) <= 0;
  }

  /** Returns true while the term has the lease. */
  isHeldBy(look: Look, termId: string): boolean {
    return look.record?.termId === termId && look.session !== "" && !this.hasStoodStill(look);
  }

  /** Describes the holder. */
  describe(look: Look): LeaderInfo | null {
    const { record, session } = look;
    if (record === null && session === "") return null;
    return {
      // A stranger, `consul lock` for example, leaves nothing but its session.
      leaderId: record?.participantId ?? `consul-session-${session}`,
      termId: record?.termId ?? session,
      token: tokenOf(look),
      leadershipAcquiredAt: record?.acquiredAt ?? new Date(look.sinceWall),
      lastHeartbeat: record?.renewedAt ?? null,
      metadata: record?.metadata ?? {},
      expiresIn: record === null ? null : Math.max(this.#expiresIn(look, record), 0),
    };
  }

  #expiresIn(look: Look, record: TermRecord): number {
    return this.#looks.expiresIn(look, record.heartbeatTimeout);
  }
}

/**
 * Returns true if nothing was written between two states. The index alone does not say that: where a snapshot was
 * restored, the same index comes again with another write. A key that is not there has no index, and may have been
 * there in between.
 */
function isSame(a: KeyState, b: KeyState): boolean {
  return a.index === b.index && a.index !== 0 && a.session === b.session && a.record?.termId === b.record?.termId &&
    a.record?.beat === b.record?.beat;
}

/** An entry as Consul answers it. */
interface ConsulEntry {
  readonly Key: string;
  readonly ModifyIndex: number;
  readonly Session?: string;
  readonly Value: string | null;
  readonly Flags: number;
}

/** Returns the token. The write that acquired could not name its own index; every later one names it. */
export function tokenOf({ record, index }: Look): bigint {
  return record?.token ?? BigInt(index);
}

/** Returns the lease of a record that was seen in `look`. */
export function leaseOf(electionGroup: string, look: Look, record: TermRecord): Lease {
  const { participantId, termId, acquiredAt, heartbeatTimeout } = record;
  return { electionGroup, participantId, termId, token: tokenOf(look), acquiredAt, heartbeatTimeout };
}
