/**
 * Elections by way of a table in PostgreSQL: `postgres://user:password@host:5432/database`, or `postgresql:`, or a
 * connection string of Npgsql or libpq (`Host=db;Database=app`, `host=db dbname=app`).
 *
 * - **Token**: the `token` column of the group's row, which is never deleted; each take-over adds one, in the statement
 *   that takes the lease.
 * - **Clock**: the server's `clock_timestamp()` decides when a lease has expired. No participant's clock is ever
 *   written. A step of the server's clock is bounded by what the processes that ask have seen. Set forwards, it ends no
 *   lease early for those that had asked before, and the leader's next heartbeat renews; *a process that asks for the
 *   first time believes the clock*, and can lead beside the old leader until that one's next heartbeat or deadline. Set
 *   back, it keeps a dead leader in office no longer than one lease from when a waiting process has first seen its last
 *   heartbeat.
 * - **Not promised**: that a lease survives a failover to a standby that replicates asynchronously. It may not have
 *   heard of the last lease, nor of its token. Replicate synchronously (`synchronous_standby_names`) where that
 *   matters.
 * - **A heartbeat** costs one statement, whatever the number of leases that are due: up to 1,000 travel in one. It
 *   rewrites a row in place (HOT) and waits for the disk once. It goes over a connection that nothing else takes, and
 *   passes over a row that another session has locked; that one is asked for again by itself. A follower's look takes
 *   no lock and writes nothing.
 *
 * Every operation is one statement, one round trip and one transaction, and looks or releases of one turn of the event
 * loop share one. Only the first start adds to that: it creates the table, if it is not there and we may. What is left
 * open by a statement of many, because a row was locked or somebody else came first, is asked for again alone.
 *
 * Releases, winners and the renewals of leases below 7.5 s are told to the others by `NOTIFY`: hints, left out while
 * the server's queue of notifications is half full.
 *
 * Behind a pooler such as PgBouncer in transaction mode everything works without session state: statements are not
 * prepared by name, and instead of listening, followers poll. The provider notices by itself; where it cannot, because
 * the pooler pretends otherwise, say `?prepare=false&listen=false`.
 *
 * @module
 */

import { randomUUID } from "node:crypto";
import { callBackend, providerError } from "../src/call.ts";
import type { ProviderOperation } from "../src/errors.ts";
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
} from "../src/provider.ts";
import { registerProvider } from "../src/registry.ts";
import { CATALOG } from "./catalog.ts";
import { Renewals } from "./kit/renewals.ts";
import { Answers } from "./kit/answers.ts";
import { JoinedCalls } from "./kit/joined_calls.ts";
import { Connections } from "./postgres/connections.ts";
import { sendRenewals } from "./postgres/heartbeats.ts";
import { type Look, looks, type Release, releases } from "./postgres/leases.ts";
import { explain, LeaseTable } from "./postgres/lease_table.ts";
import { inspectServer } from "./postgres/inspection.ts";
import { CannotListenError, Listener } from "./postgres/listener.ts";
import { type PostgresOptions, type ResolvedOptions, resolveOptions } from "./postgres/options.ts";
import { isAboutRows, isLocked } from "./postgres/sql_state.ts";
import { buildStatements, type Statements } from "./postgres/statements.ts";

export type { PostgresClient, PostgresPool, PostgresQuery } from "./postgres/connections.ts";
export type { PostgresOptions } from "./postgres/options.ts";

/**
 * Opens a provider that keeps leases in a PostgreSQL table. It connects on first use.
 *
 * @throws {TypeError} if the URL is malformed, or an option or a setting of the URL is unknown or not what it takes
 * @throws {RangeError} if `schema` or `table` cannot be an identifier, a number is out of range, or the pool has one
 * connection only
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { postgresProvider } from "@multilock/core/postgres";
 *
 * await using provider = postgresProvider({ url: "postgres://app@db.example.com/app", schema: "locks" });
 * assert(provider.name === "postgres");
 * ```
 */
export function postgresProvider(options: PostgresOptions = {}): Provider {
  return new PostgresProvider(resolveOptions(options));
}

/**
 * The longest wait for a row that another session has locked, in milliseconds: waiting calls keep connections from
 * others.
 */
const LOCK_TIMEOUT_MS = 1_000;
class PostgresProvider implements Provider {
  readonly name = "postgres";
  /** Gone as soon as it is known that nothing would be heard. */
  watch?: NonNullable<Provider["watch"]>;
  readonly #connections: Connections;
  readonly #statements: Statements;
  readonly #table: LeaseTable;
  readonly #listener: Listener;
  readonly #renewals: Renewals;
  readonly #answers: Answers;
  readonly #looks: JoinedCalls<Look, Acquired | Held>;
  readonly #releases: JoinedCalls<Release, "released" | "notHolder">;
  /** The number of calls, which tells one that comes late from one that comes after a release. */
  #calls = 0;

  constructor({ connections: settings, schema, table, autoCreate, listen, statementTimeout, clock }: ResolvedOptions) {
    const connections = new Connections(settings);
    const statements = buildStatements(schema, table);
    this.#connections = connections;
    this.#statements = statements;
    this.#table = new LeaseTable(connections, statements, { autoCreate, createTimeout: statementTimeout });
    this.#listener = new Listener(connections, { channel: statements.channel, clock, openTimeout: statementTimeout });
    this.#answers = new Answers(clock);
    this.#renewals = new Renewals(
      sendRenewals(this.#table, statements, this.#answers),
      { isAboutRows, isLocked },
      () => ++this.#calls,
    );
    // The shorter of the two limits is the one that the server names.
    const lockTimeout = String(Math.min(Math.ceil(statementTimeout * 0.9), LOCK_TIMEOUT_MS));
    const asker = randomUUID();
    this.#looks = new JoinedCalls(looks(this.#table, statements, { asker, lockTimeout }));
    this.#releases = new JoinedCalls(releases(this.#table, statements, { asker, lockTimeout }));
    if (listen && connections.lanes.hints !== null) {
      this.watch = (electionGroup, { signal }) => this.#watch(electionGroup, signal);
    }
  }

  get capabilities(): ProviderCapabilities {
    return {
      watch: this.watch !== undefined,
      transfer: this.watch !== undefined,
      timeAuthority: "server",
      minTimeout: 100,
      durability: "A lease is on the server's disk before it is granted; failing over to a standby that replicates " +
        "asynchronously can forget the latest leases and tokens.",
    };
  }

  acquire(request: AcquireRequest, { signal }: CallOptions): Promise<Acquired | Held> {
    const { electionGroup, heartbeatTimeout } = request;
    this.#listener.serve(heartbeatTimeout);
    const call = ++this.#calls;
    return this.#call("acquire", electionGroup, signal, async () => {
      const answer = await this.#looks.ask({ request, call, answer: this.#answers.expect(electionGroup) }, signal);
      if (answer.acquired && !signal.aborted) this.#connections.keepFor(keyOf(request));
      return answer;
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
    { electionGroup, termId }: Pick<Lease, "electionGroup" | "termId">,
    { signal, transferTo = "" }: ReleaseCallOptions,
  ): Promise<"released" | "notHolder"> {
    const call = this.#calls;
    return this.#call("release", electionGroup, signal, () => {
      this.#connections.letGo(keyOf({ electionGroup, termId }));
      return this.#releases.ask({ electionGroup, termId, transferTo, call }, signal);
    });
  }

  read(electionGroup: string, { signal }: CallOptions): Promise<LeaderInfo | null> {
    return this.#call("read", electionGroup, signal, async () => {
      const answer = this.#answers.expect(electionGroup);
      const [row] = await this.#table.read(this.#statements.read, () => answer.values([electionGroup]), signal);
      const leader = row === undefined ? null : answer.leader(row);
      return leader !== null && leader.expiresIn !== 0 ? leader : null;
    });
  }

  groups({ signal }: CallOptions): Promise<string[]> {
    return this.#call("groups", this.#statements.title, signal, async () => {
      const rows = await this.#table.read(this.#statements.groups, () => [], signal);
      return rows.map(([electionGroup]) => String(electionGroup));
    });
  }

  healthCheck({ signal }: CallOptions): Promise<void> {
    return this.#call("healthCheck", this.#statements.title, signal, () => this.#table.check(signal));
  }

  inspect({ signal }: CallOptions): Promise<Inspection> {
    return this.#call("healthCheck", this.#statements.title, signal, () => inspectServer(this.#connections, signal));
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#listener.close();
    await this.#connections.close();
  }

  async *#watch(electionGroup: string, signal: AbortSignal): AsyncGenerator<Hint, void> {
    try {
      yield* this.#listener.watch(electionGroup, signal);
    } catch (error) {
      if (error instanceof CannotListenError) delete this.watch;
      throw providerError(this.name, "watch", electionGroup, explain(error, this.#statements));
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

function keyOf({ electionGroup, termId }: Pick<Lease, "electionGroup" | "termId">): string {
  return `${electionGroup} ${termId}`;
}

registerProvider({
  ...CATALOG.postgres,
  open: (url, { clock }) => postgresProvider({ url, clock }),
});
