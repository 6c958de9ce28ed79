/**
 * Elections by way of a table in MySQL 8 or later, or MariaDB 10.5 or later:
 * `mysql://user:password@host:3306/database`, or `mariadb:`.
 *
 * - **Token**: the `token` column of the group's row, which is never deleted; each take-over adds one, in the statement
 *   that takes the lease, or goes on from the server's time in microseconds, if that is more. So tokens grow also where
 *   the table was emptied, or a replica has lost the latest rows, as long as the clocks of the servers agree.
 * - **Clock**: the server's `UTC_TIMESTAMP(6)` decides when a lease has expired. No participant's clock is ever
 *   written. A step of the server's clock is bounded by what the processes that ask have seen. Set forwards, it ends no
 *   lease early for those that had asked before, and the leader's next heartbeat renews; *a process that asks for the
 *   first time believes the clock*, and can lead beside the old leader until that one's next heartbeat or deadline. Set
 *   back, it keeps a dead leader in office no longer than one lease from when a waiting process has first seen its last
 *   heartbeat. The clocks of several servers need not agree: an expiry counts at the server that wrote it, and
 *   elsewhere a lease is over when its row has stood still.
 * - **Not promised**: that a lease survives a failover to a replica, which replicates asynchronously and may not have
 *   heard of the last lease; nor a crash where `innodb_flush_log_at_trx_commit` is not 1. A Galera cluster has no such
 *   gap: a commit that conflicts with an earlier one of another node fails there, and is a lost race.
 * - **A heartbeat** costs one round trip, whatever the number of leases that are due: up to 1,000 travel in one. It
 *   goes over a connection that nothing else takes. A follower's look takes no lock and writes nothing.
 *
 * Every operation is one round trip of a few statements. Only the first start adds to that: it creates the table, if it
 * is not there and we may. There are no hints: followers look again when the lease can expire, and every
 * `electionInterval`.
 *
 * @module
 */

import { randomUUID } from "node:crypto";
import { callBackend } from "../src/call.ts";
import type { ProviderOperation } from "../src/errors.ts";
import type {
  Acquired,
  AcquireRequest,
  CallOptions,
  Held,
  Inspection,
  LeaderInfo,
  Lease,
  Provider,
  ProviderCapabilities,
  RenewOptions,
} from "../src/provider.ts";
import { registerProvider } from "../src/registry.ts";
import { CATALOG } from "./catalog.ts";
import { Answers } from "./kit/answers.ts";
import { Renewals } from "./kit/renewals.ts";
import type { Rows } from "./mysql/client.ts";
import { Connections } from "./mysql/connections.ts";
import { explain, isAboutRows, isBeaten, isLocked, NOT_WRITABLE } from "./mysql/failures.ts";
import { sendRenewals } from "./mysql/heartbeats.ts";
import { inspectServer } from "./mysql/inspection.ts";
import { fromHex, LeaseTable } from "./mysql/lease_table.ts";
import { type MysqlOptions, type ResolvedOptions, resolveOptions } from "./mysql/options.ts";
import { buildStatements, type Statements } from "./mysql/statements.ts";

export type { MysqlPool } from "./mysql/driver.ts";
export type { MysqlOptions } from "./mysql/options.ts";

/**
 * Opens a provider that keeps leases in a table of MySQL or MariaDB. It connects on first use.
 *
 * @throws {TypeError} if there is neither a `url` nor a `pool` or both, the URL is malformed, an option or a setting is
 *   unknown or not what it takes, or `pool` is not fit for leases
 * @throws {RangeError} if `schema` or `table` cannot be an identifier, a number is out of range, or the pool has one
 *   connection only
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { mysqlProvider } from "@multilock/core/mysql";
 *
 * await using provider = mysqlProvider({ url: "mysql://app@db.example.com/app", table: "locks" });
 * assert(provider.name === "mysql");
 * ```
 */
export function mysqlProvider(options: MysqlOptions): Provider {
  return new MysqlProvider(resolveOptions(options));
}

class MysqlProvider implements Provider {
  readonly name = "mysql";
  readonly capabilities: ProviderCapabilities = {
    watch: false,
    timeAuthority: "server",
    minTimeout: 100,
    durability:
      "A lease is on the server's disk before it is granted, if innodb_flush_log_at_trx_commit is 1; failing " +
      "over to a replica can forget the latest leases.",
  };
  readonly #connections: Connections;
  readonly #statements: Statements;
  readonly #table: LeaseTable;
  readonly #answers: Answers;
  readonly #renewals: Renewals;
  /** The asker, and the number of its calls, which tell a call that comes late from one that comes after it. */
  readonly #asker = randomUUID();
  #calls = 0;

  constructor({ connections, schema, table, autoCreate, statementTimeout, clock }: ResolvedOptions) {
    const statements = buildStatements(schema, table);
    this.#statements = statements;
    this.#connections = new Connections(connections);
    this.#table = new LeaseTable(this.#connections, statements, { autoCreate, createTimeout: statementTimeout * 2 });
    this.#answers = new Answers(clock);
    const send = sendRenewals(this.#table, statements, this.#answers, this.#asker);
    this.#renewals = new Renewals(send, { isAboutRows, isLocked }, () => ++this.#calls);
  }

  acquire(request: AcquireRequest, { signal }: CallOptions): Promise<Acquired | Held> {
    const { electionGroup, participantId, termId, heartbeatTimeout, metadata } = request;
    const calls = ++this.#calls;
    return this.#call("acquire", electionGroup, signal, async () => {
      const answer = this.#answers.expect(electionGroup);
      const statements = () =>
        this.#statements.acquire({
          ...{ group: electionGroup, term: termId, participant: participantId, timeoutMs: heartbeatTimeout },
          metadata: { json: JSON.stringify(metadata), source: this.#asker, ordinal: calls },
          ...{ call: randomUUID(), asker: this.#askerFor(termId), calls },
          evidence: answer.evidence(heartbeatTimeout),
        });
      const rows = await this.#unlessBeaten(this.#table.write(statements, signal));
      if (rows === null) return { acquired: false, leader: null };
      const [[granted, writable, ...record] = []] = rows;
      const leader = answer.leader(decoded(record));
      if (granted === "1" && leader !== null) {
        this.#connections.keepFor(keyOf(request));
        const { token, leadershipAcquiredAt: acquiredAt } = leader;
        return {
          acquired: true,
          lease: { electionGroup, participantId, termId, token, acquiredAt, heartbeatTimeout },
        };
      }
      if (writable !== "1") throw new Error(NOT_WRITABLE);
      return { acquired: false, leader: leader?.expiresIn === 0 ? null : leader };
    });
  }

  renew(lease: Lease, options: RenewOptions): Promise<"renewed" | "lost"> {
    return this.#call("renew", lease.electionGroup, options.signal, async () => {
      const outcome = await this.#renewals.renew(lease, options);
      if (outcome === "lost") this.#connections.letGo(keyOf(lease));
      return outcome;
    });
  }

  release(
    lease: Pick<Lease, "electionGroup" | "termId">,
    { signal }: CallOptions,
  ): Promise<"released" | "notHolder"> {
    const { electionGroup: group, termId: term } = lease;
    const calls = ++this.#calls;
    return this.#call("release", group, signal, async () => {
      this.#connections.letGo(keyOf(lease));
      const values = { group, term, call: randomUUID(), asker: this.#askerFor(term), calls };
      // Before the looks that wait: each of them would find the lease held.
      const rows = await this.#table.write(() => this.#statements.release(values), signal, { urgent: true });
      const [[released, writable] = []] = rows;
      if (writable === "0") throw new Error(NOT_WRITABLE);
      return released === "1" ? "released" : "notHolder";
    });
  }

  read(electionGroup: string, { signal }: CallOptions): Promise<LeaderInfo | null> {
    return this.#call("read", electionGroup, signal, async () => {
      const answer = this.#answers.expect(electionGroup);
      const statements = () => {
        answer.values([]);
        return this.#statements.read(electionGroup);
      };
      const [record] = await this.#table.read(statements, signal);
      const leader = record === undefined ? null : answer.leader(decoded(record));
      return leader !== null && leader.expiresIn !== 0 ? leader : null;
    });
  }

  groups({ signal }: CallOptions): Promise<string[]> {
    return this.#call("groups", this.#statements.title, signal, async () => {
      const rows = await this.#table.read(() => this.#statements.groups, signal);
      return rows.map(([electionGroup]) => fromHex(electionGroup));
    });
  }

  healthCheck({ signal }: CallOptions): Promise<void> {
    return this.#call("healthCheck", this.#statements.title, signal, () => this.#table.check(signal));
  }

  inspect({ signal }: CallOptions): Promise<Inspection> {
    const ask = (sql: string) => this.#connections.run(() => [sql], signal);
    return this.#call("healthCheck", this.#statements.title, signal, () => inspectServer(ask, this.#statements));
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.#connections.close();
  }

  #askerFor(termId: string): string {
    return `${this.#asker} ${termId}`;
  }

  /** A take-over that was undone, because another one won, has changed nothing. */
  async #unlessBeaten(answer: Promise<Rows>): Promise<Rows | null> {
    try {
      return await answer;
    } catch (error) {
      if (isBeaten(error)) return null;
      throw error;
    }
  }

  #call<T>(operation: ProviderOperation, thing: string, signal: AbortSignal, work: () => Promise<T>): Promise<T> {
    return callBackend(this.name, operation, thing, signal, async () => {
      try {
        return await work();
      } catch (error) {
        throw explain(error, this.#statements);
      }
    });
  }
}

/** Where a record has names and texts, in hexadecimal digits. */
const IN_HEX: readonly number[] = [1, 3, 4, 8];

/** A record as `Answers` reads it. A row whose lease was released is nobody's: it only tells the time. */
function decoded(record: readonly (string | null)[]): readonly (string | null)[] {
  const values = record.map((value, i) => IN_HEX.includes(i) ? fromHex(value) : value);
  return values[4] === "" ? [values[0] ?? null] : values;
}

function keyOf({ electionGroup, termId }: Pick<Lease, "electionGroup" | "termId">): string {
  return `${electionGroup} ${termId}`;
}

registerProvider({
  ...CATALOG.mysql,
  open: (url, { clock }) => mysqlProvider({ url, clock }),
});
