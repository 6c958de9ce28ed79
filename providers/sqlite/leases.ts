/**
 * The leases in the table, as one process sees them. Every operation is synchronous, with one statement that writes.
 *
 * @module
 */

import { parseMetadata } from "../../src/call.ts";
import type { Acquired, AcquireRequest, Held, LeaderInfo } from "../../src/provider.ts";
import type { Clock } from "../../src/time/clock.ts";
import type { Holder, Processes } from "../kit/host_process.ts";
import { CLOCK_RATE_ERROR } from "../kit/lease_evidence.ts";
import type { Connection } from "./database.ts";

/** The entry of the metadata of a released lease that names who is to lead next. No key of anybody else's is empty. */
const TRANSFER_TO = "";
/** The number of times that an `acquire` may find that somebody was faster, before it gives up. */
const MAX_LOOKS = 10;

/** The row of a group. */
interface Row {
  readonly token: bigint;
  /** Changes with every write. */
  readonly version: bigint;
  /** Null when the lease was released. */
  readonly termId: string | null;
  readonly leaderId: string;
  readonly acquiredAt: bigint;
  readonly heartbeatAt: bigint;
  readonly heartbeatTimeout: bigint;
  readonly metadata: string;
  /** The processes that act for the term, as JSON; empty where nobody is known, or somebody else has acted for it. */
  readonly holders: string;
}

/** The outcome of a look. */
interface Sight {
  /** Null where the group has none. */
  readonly row: Row | null;
  /** Since when it stands still: read *after* the answer came, so the last write was earlier. */
  readonly since: number;
  /** A mark that changes with every write to the file, read before the row. */
  readonly epoch: string;
}

const LOOK = `SELECT token, version, term_id AS termId, leader_id AS leaderId, acquired_at AS acquiredAt,
  heartbeat_at AS heartbeatAt, heartbeat_timeout AS heartbeatTimeout, metadata, holders
  FROM elections WHERE election_group = ?`;
const GRANT = `UPDATE elections SET token = ?, version = version + 1, term_id = ?, leader_id = ?, acquired_at = ?,
  heartbeat_at = ?, heartbeat_timeout = ?, metadata = ?, holders = ? WHERE election_group = ? AND version = ?`;
const FIRST = `INSERT INTO elections (token, version, term_id, leader_id, acquired_at, heartbeat_at, heartbeat_timeout,
  metadata, holders, election_group) VALUES (?, 1, ?, ?, ?, ?, ?, ?, ?, ?) ON CONFLICT DO NOTHING`;
// A renewal that waited for a lock must not move the heartbeat back.
const RENEW = `UPDATE elections SET version = version + 1, heartbeat_at = max(heartbeat_at, ?),
  heartbeat_timeout = coalesce(?, heartbeat_timeout), metadata = coalesce(?, metadata),
  holders = CASE holders WHEN ? THEN holders ELSE '' END
  WHERE election_group = ? AND term_id = ?`;
const RELEASE = `UPDATE elections SET version = version + 1, term_id = NULL, metadata = ?
  WHERE election_group = ? AND term_id = ?`;

/**
 * The steps and the looks of one process.
 *
 * Why a take-over is safe: a renewal changes the version, so the last one was committed before the version was first
 * seen; the holder counts its time from before that. A whole lease later, on the observer's monotonic clock and with a
 * margin for its rate, the holder's time is over. The grant is conditional on the version, so a renewal in between
 * makes it fail; and a renewal is conditional on the term, so that it fails after the grant.
 *
 * A dead holder's lease need not stand still. The row names all processes that act for the term; one that is not among
 * them and renews it, or asks for it again, wipes the names with the same statement, and then only time decides. So
 * where the names stand, nobody else has ever written for the term, and when all of them have ended, nobody leads under
 * it: a process that has ended runs no code, and is never taken for another. Death is judged before the row is read for
 * the grant; that is no gap, since the dead stay dead, and the grant is conditional on the version, which changes with
 * whoever wipes the names.
 */
export class Leases {
  readonly #clock: Clock;
  readonly #processes: Processes;
  /** The last term that was granted from here in each group, and the names that its row got. */
  readonly #own = new Map<string, { readonly termId: string; readonly holders: string }>();
  /** The names in the row of each group of which all are dead. */
  readonly #dead = new Map<string, string>();
  /**
   * The largest token of each group that was ever seen: those who live through the loss of the file go on from there.
   */
  readonly #tokens = new Map<string, bigint>();
  readonly #sights = new Map<string, Sight>();
  /** The file that was looked at. A standstill in another one says nothing. */
  #file = "";
  #writes = 0;

  /** Makes one that has seen nothing. */
  constructor(clock: Clock, processes: Processes) {
    this.#clock = clock;
    this.#processes = processes;
  }

  /** Finds out which holders of the leases that were seen have died. The other calls go by that. */
  async bury(electionGroups: readonly string[]): Promise<void> {
    const looks = new Map<string, Promise<boolean>>();
    await Promise.all(electionGroups.map(async (electionGroup) => {
      const { termId = null, holders = "" } = this.#sights.get(electionGroup)?.row ?? {};
      if (termId === null || holders === "" || this.#dead.get(electionGroup) === holders) return;
      // One process may lead thousands of groups.
      const look = looks.get(holders) ?? this.#areDead(holders);
      looks.set(holders, look);
      if (await look) this.#dead.set(electionGroup, holders);
    }));
  }

  async #areDead(holders: string): Promise<boolean> {
    const known = parseHolders(holders);
    for (const each of known) if (!(await this.#processes.isDead(each))) return false;
    return known.length > 0;
  }

  /** See {@linkcode Provider.acquire}. */
  acquire(connection: Connection, request: AcquireRequest, holders: string): Acquired | Held {
    const { electionGroup, participantId, termId, heartbeatTimeout } = request;
    const metadata = JSON.stringify(request.metadata);
    for (let looks = 0; looks < MAX_LOOKS; looks++) {
      const asOf = this.#clock.monotonic();
      const sight = this.#look(connection, electionGroup);
      const { row } = sight;
      const now = Math.trunc(this.#clock.wall());
      if (row?.termId === termId) {
        const isRenewed = this.#renew(connection, electionGroup, termId, now, heartbeatTimeout, metadata);
        if (isRenewed) return acquired(request, row.token, Number(row.acquiredAt));
        continue;
      }
      if (row !== null && !this.#isFree(electionGroup, row, sight.since, asOf)) {
        return { acquired: false, leader: this.#describe(row, sight.since) };
      }
      const token = (this.#tokens.get(electionGroup) ?? 0n) + 1n;
      const values = [token, termId, participantId, now, now, heartbeatTimeout, metadata, holders, electionGroup];
      this.#writes++;
      const changed = row === null
        ? connection.writeThrough(FIRST, ...values)
        : connection.writeThrough(GRANT, ...values, row.version);
      if (changed === 0) continue;
      this.#tokens.set(electionGroup, token);
      this.#own.set(electionGroup, { termId, holders });
      return acquired(request, token, now);
    }
    throw new Error("others were faster, again and again");
  }

  /** See {@linkcode Provider.renew}. */
  renew(
    connection: Connection,
    electionGroup: string,
    termId: string,
    metadata: Readonly<Record<string, string>> | undefined,
  ): "renewed" | "lost" {
    const json = metadata === undefined ? null : JSON.stringify(metadata);
    const now = Math.trunc(this.#clock.wall());
    return this.#renew(connection, electionGroup, termId, now, null, json) ? "renewed" : "lost";
  }

  /** See {@linkcode Provider.release}. */
  release(
    connection: Connection,
    electionGroup: string,
    termId: string,
    transferTo: string,
  ): "released" | "notHolder" {
    const metadata = JSON.stringify(transferTo === "" ? {} : { [TRANSFER_TO]: transferTo });
    return this.#write(connection, RELEASE, metadata, electionGroup, termId) ? "released" : "notHolder";
  }

  /** See {@linkcode Provider.read}. */
  read(connection: Connection, electionGroup: string): LeaderInfo | null {
    const asOf = this.#clock.monotonic();
    const { row, since } = this.#look(connection, electionGroup);
    return row === null || this.#isFree(electionGroup, row, since, asOf) ? null : this.#describe(row, since);
  }

  /** See {@linkcode Provider.groups}. */
  groups(connection: Connection): string[] {
    const rows = connection.rows("SELECT election_group AS name FROM elections") as { name: string }[];
    return rows.map(({ name }) => name);
  }

  /**
   * Returns a text for each group that changes with its term, and when its lease becomes free. The third word, if there
   * is one, is the participant that it was released for.
   */
  states(connection: Connection, electionGroups: readonly string[]): string[] {
    const asOf = this.#clock.monotonic();
    const [version] = connection.rows("PRAGMA data_version") as { data_version: bigint }[];
    const epoch = `${version?.data_version} ${this.#writes}`;
    return electionGroups.map((electionGroup) => {
      const seen = this.#file === connection.id ? this.#sights.get(electionGroup) : undefined;
      const { row, since } = seen?.epoch === epoch ? seen : this.#look(connection, electionGroup, epoch);
      if (row === null) return "";
      const transferTo = row.termId === null ? parseMetadata(row.metadata)[TRANSFER_TO] ?? "" : "";
      return `${row.token} ${this.#isFree(electionGroup, row, since, asOf)} ${transferTo}`.trimEnd();
    });
  }

  #look(connection: Connection, electionGroup: string, epoch = ""): Sight {
    if (connection.id !== this.#file) this.#sights.clear();
    this.#file = connection.id;
    const [row = null] = connection.rows(LOOK, electionGroup) as Row[];
    const earlier = this.#sights.get(electionGroup);
    const isSame = row !== null && earlier?.row?.version === row.version && earlier.row.termId === row.termId;
    const sight = { row, since: isSame ? earlier.since : this.#clock.monotonic(), epoch };
    this.#sights.set(electionGroup, sight);
    const highest = this.#tokens.get(electionGroup) ?? 0n;
    this.#tokens.set(electionGroup, row !== null && row.token > highest ? row.token : highest);
    return sight;
  }

  #renew(
    connection: Connection,
    electionGroup: string,
    termId: string,
    now: number,
    heartbeatTimeout: number | null,
    metadata: string | null,
  ): boolean {
    const own = this.#own.get(electionGroup);
    const holders = own?.termId === termId ? own.holders : "";
    return this.#write(connection, RENEW, now, heartbeatTimeout, metadata, holders, electionGroup, termId);
  }

  /** Returns whether the lease of `row` was released, is of the dead, or had stood still at the moment `asOf`. */
  #isFree(electionGroup: string, row: Row, since: number, asOf: number): boolean {
    if (row.holders !== "" && this.#dead.get(electionGroup) === row.holders) return true;
    return row.termId === null || asOf - since >= lasts(row);
  }

  #write(connection: Connection, sql: string, ...values: (string | number | null)[]): boolean {
    this.#writes++;
    return connection.write(sql, ...values) === 1;
  }

  #describe(row: Row, since: number): LeaderInfo {
    return {
      leaderId: row.leaderId,
      termId: row.termId ?? "",
      token: row.token,
      leadershipAcquiredAt: new Date(Number(row.acquiredAt)),
      lastHeartbeat: new Date(Number(row.heartbeatAt)),
      metadata: parseMetadata(row.metadata),
      expiresIn: Math.max(1, since + lasts(row) - this.#clock.monotonic()),
    };
  }
}

/** Nobody is known of a row that somebody has edited: then only a standstill decides. */
function parseHolders(text: string): readonly Holder[] {
  try {
    const holders: unknown = JSON.parse(text);
    return Array.isArray(holders) ? holders : [];
  } catch {
    return [];
  }
}

function lasts(row: Row): number {
  return Number(row.heartbeatTimeout) * (1 + CLOCK_RATE_ERROR);
}

function acquired(request: AcquireRequest, token: bigint, acquiredAt: number): Acquired {
  const { electionGroup, participantId, termId, heartbeatTimeout } = request;
  return {
    acquired: true,
    lease: { electionGroup, participantId, termId, token, acquiredAt: new Date(acquiredAt), heartbeatTimeout },
  };
}
