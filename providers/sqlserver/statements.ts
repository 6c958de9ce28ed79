/**
 * The T-SQL of the SQL Server provider: one batch for each operation, for SQL Server, Azure SQL and Babelfish alike.
 *
 * **Every statement commits by itself.** A batch opens no transaction, ends the mode in which statements open one, and
 * does nothing on a connection that is in one: a lease that is not committed is nobody's, and would block the group. So
 * nothing can stay open on a pooled connection, whatever ends the batch in the middle. The one `UPDATE` of a batch
 * tests and changes its row in a single atomic step, and its outcome can be read afterwards, because a term id is never
 * used by two terms.
 *
 * **The clock is read once, first.** `SYSUTCDATETIME()` stands still within a statement, also while that waits for a
 * lock or a scheduler (on Babelfish, where it is PostgreSQL's `statement_timestamp()`, in the whole batch), and
 * statements of one term can overtake each other. `@now` is read before the batch waits for anything: after the request
 * was sent, from which the caller counts, and before anything is written. What a batch writes with it is never more
 * than its caller relies on. It may come late, though, when a later call of its term has written a later expiry: the
 * later of the two stays, and so does the later heartbeat. Metadata that comes after newer of the same provider is
 * dropped: `@written` counts them. An answer says that the row holds at least what *this* call asked for, whoever wrote
 * it. A take-over with an old `@now` finds fewer leases expired, never more.
 *
 * **Locks and versions.** No step depends on a lock hint, which Babelfish ignores, nor on what an earlier statement of
 * the batch has read. The `UPDATE` finds its row by the whole primary key, and its conditions hold for the version that
 * it changes:
 *
 * - Under locking `READ COMMITTED` it reads under an update lock, and under `READ_COMMITTED_SNAPSHOT` it still does,
 *   since only readers get versions; the `SELECT` after it, a statement of its own, gets one that has its write.
 * - With optimized locking it qualifies the latest committed version without a lock, locks, and qualifies again if the
 *   row has changed meanwhile. Babelfish does the same by way of PostgreSQL.
 * - Under `SNAPSHOT` a row that has changed since fails the statement (3960): an error, of which nothing was written.
 * - Deadlocks (1205) take a second lock. A statement has one row, and the batch keeps no lock from one to the next, so
 *   that it takes somebody else's transaction over many rows. The victim's statement is undone and its batch ends: an
 *   error, so that the outcome is unknown to the caller, who asks again by the same term id. It is no lost race.
 * - Escalation to a lock on the table needs some 5,000 locks in a statement. `groups` reads many rows and keeps no
 *   lock.
 *
 * **Other servers.** A readable secondary or a demoted primary refuses writes (3906), and the provider leaves its
 * connections to it. A primary whose clock differs, after a failover, looks like a step of the clock, as below. What a
 * replica that commits asynchronously has not heard of is lost with its token; that is not promised.
 *
 * **Steps of the clock.** A take-over by the time asks for more than an expiry: that the time is no later than the
 * observer foresees (`@latest`), and no earlier (`@earliest`): below that it was set back, and what has ended the
 * lease may be a step forwards since. One by a standstill needs no time: the row must still have the version that the
 * observer has seen for a whole lease (`@stale`). `version` is a random id that comes with each call that writes
 * (`@call`): a time may come twice when a clock is set back, and a counter where a failover or a backup has brought
 * back an older row. Whichever of a renewal and a take-over comes second finds another version or another term, and
 * fails.
 *
 * @module
 */

import { inspectionSql } from "./inspection.ts";

/** The batches of one table. */
export interface Statements {
  /** The table as T-SQL names it: quoted, with its schema. */
  readonly table: string;
  /** The table as people name it. */
  readonly title: string;
  /**
   * `@group @term @participant @timeout @stale @earliest @latest @call` and what goes with metadata. The group's row,
   * and whether this term was granted it.
   */
  readonly acquire: string;
  /** `@group @term @timeout @call`. One row, with the server's time, if the term holds the lease that long, or none. */
  readonly renew: string;
  /**
   * The same with `@metadata`, the provider that writes it (`@source`), and its count of what it has written
   * (`@written`).
   */
  readonly renewMetadata: string;
  /** `@group @term @call`. One row if this call released the lease, or none. */
  readonly release: string;
  /** `@group`. The group's row, whether anybody holds the lease or not, or none. */
  readonly read: string;
  /** One row for each group. */
  readonly groups: string;
  /** Fails unless all that elections need is allowed. Changes nothing. */
  readonly check: string;
  /** One row: the version, rights and settings. */
  readonly inspect: string;
  /** Creates the table if it is not there. */
  readonly createTable: string;
  /** One row: whether the schema exists. */
  readonly findSchema: string;
  /** Creates the schema. Must be a batch of its own. */
  readonly createSchema: string;
}

/** The number of the error that says that the connection is in a transaction. */
export const IN_TRANSACTION = 51_000;

const MAX_IDENTIFIER_LENGTH = 128;

/**
 * Returns `identifier` quoted for T-SQL. `what` is what the error calls it.
 *
 * @throws {RangeError} if it is empty, longer than 128 characters, or holds a NUL character
 */
export function quoteIdentifier(what: string, identifier: string): string {
  const { length } = identifier;
  if (length < 1 || length > MAX_IDENTIFIER_LENGTH || identifier.includes("\0")) {
    throw new RangeError(
      `Cannot use ${what} "${identifier}": it must have 1 to ${MAX_IDENTIFIER_LENGTH} characters and no NUL, ` +
        `has ${length}`,
    );
  }
  return `[${identifier.replaceAll("]", "]]")}]`;
}

function quoteText(text: string): string {
  return `N'${text.replaceAll("'", "''")}'`;
}

/** In order: what opens transactions ends, what is in one is refused, and the clock is read. */
const BEGIN = `SET IMPLICIT_TRANSACTIONS OFF;
IF @@TRANCOUNT > 0 THROW ${IN_TRANSACTION}, N'the connection is in a transaction', 1;
DECLARE @now DATETIME2 = SYSUTCDATETIME();
`;
const COLUMNS = "election_group, token, term_id, participant_id, acquired_at, heartbeat_at, expires_at, lease_ms, " +
  "version, metadata, written_by, written, released_by";
/** The request of a call that began at `@now`. */
const UNTIL = "DATEADD(millisecond, @timeout, @now)";

/** True if the provider that sends this has written metadata that its user gave it later. */
const OUTDATED = "written_by = @source AND written > @written";

/** Milliseconds since 1970, as a number: a date would depend on how the driver is set up. */
function epochMs(time: string): string {
  return `DATEDIFF_BIG(millisecond, CAST(N'1970-01-01T00:00:00' AS DATETIME2), ${time})`;
}

function metadataUnless(isOutdated: string): string {
  return ["metadata", "written_by", "written"].map((column) =>
    `${column} = CASE WHEN ${isOutdated} THEN ${column} ELSE @${column.replace("written_by", "source")} END`
  ).join(",\n  ");
}

function larger(column: string, value: string): string {
  return `CASE WHEN ${column} > ${value} THEN ${column} ELSE ${value} END`;
}

/**
 * Builds the batches for `table` in `schema`.
 *
 * @throws {RangeError} if a name cannot be an identifier
 */
export function buildStatements(schema: string, table: string): Statements {
  const quotedSchema = quoteIdentifier("schema", schema);
  const name = `${quotedSchema}.${quoteIdentifier("table", table)}`;
  return {
    table: name,
    title: `${schema}.${table}`,
    acquire: BEGIN + acquireSql(name),
    renew: BEGIN + renewSql(name, ""),
    renewMetadata: BEGIN + renewSql(name, `,\n  ${metadataUnless(OUTDATED)}`),
    release: BEGIN + releaseSql(name),
    read: BEGIN + rowSql(name, ""),
    groups: `${BEGIN}SELECT election_group FROM ${name}`,
    check: `${BEGIN}INSERT INTO ${name} (${COLUMNS}) SELECT ${COLUMNS} FROM ${name} WHERE 1 = 0;
UPDATE ${name} SET token = token WHERE 1 = 0`,
    inspect: inspectionSql(quoteText(name)),
    createTable: createTableSql(name),
    findSchema: `SELECT SCHEMA_ID(${quoteText(schema)}) AS id`,
    createSchema: `CREATE SCHEMA ${quotedSchema}`,
  };
}

/**
 * The group's row. What remains of the lease is counted at the end of the batch, and the clock as it was at its
 * beginning.
 */
function rowSql(table: string, more: string): string {
  return `SELECT participant_id, term_id, token, version, lease_ms, metadata${more}, ${epochMs("@now")} AS server_now,
  ${epochMs("acquired_at")} AS acquired_at, ${epochMs("heartbeat_at")} AS heartbeat_at,
  DATEDIFF_BIG(millisecond, SYSUTCDATETIME(), expires_at) AS expires_in
FROM ${table} WHERE election_group = @group`;
}

/**
 * Takes the lease, or tells who holds it.
 *
 * 1. While another term holds the lease, nothing is written and no write lock taken.
 * 2. A group's first row is inserted as one that nobody holds. Two that do so at once collide on the key (2627, or 2601
 *    where the key is a unique index); the other row is as good as ours.
 * 3. The `UPDATE` takes the row over if it is free *then*: it tests and changes the newest version in one step, so that
 *    of two takers one wins, and a renewal that came in between is seen. A term that holds the lease renews it.
 * 4. The last `SELECT` says who holds the lease. If this term holds as much as it asked for, that can only be by step
 *    3, now or in another call of it.
 */
function acquireSql(table: string): string {
  const free = `term_id = N'' OR term_id = @term OR version = @stale OR ` +
    `(expires_at <= @now AND ${epochMs("@now")} >= @earliest AND ${epochMs("@now")} <= @latest)`;
  const again = "term_id = @term AND expires_at > @now";
  const kept = (column: string, value: string) => `CASE WHEN ${again} THEN ${column} ELSE ${value} END`;
  const later = (column: string, value: string) =>
    `CASE WHEN ${again} AND ${column} > ${value} THEN ${column} ELSE ${value} END`;
  return `IF NOT EXISTS (SELECT 1 FROM ${table} WHERE election_group = @group AND NOT (${free}))
BEGIN
  BEGIN TRY
    IF NOT EXISTS (SELECT 1 FROM ${table} WHERE election_group = @group)
      INSERT INTO ${table} (${COLUMNS})
      VALUES (@group, 0, N'', N'', @now, @now, @now, 0, N'', N'{}', N'', 0, N'');
  END TRY
  BEGIN CATCH
    IF ERROR_NUMBER() NOT IN (2601, 2627) THROW;
  END CATCH;
  UPDATE ${table} SET
    token = ${kept("token", "token + 1")},
    acquired_at = ${kept("acquired_at", "@now")},
    heartbeat_at = ${later("heartbeat_at", "@now")},
    expires_at = ${later("expires_at", UNTIL)},
    lease_ms = ${later("lease_ms", "@timeout")},
    version = @call,
    term_id = @term,
    participant_id = @participant,
    ${metadataUnless(`${again} AND ${OUTDATED}`)}
  WHERE election_group = @group AND (${free});
END;
${rowSql(table, `,\n  CASE WHEN term_id = @term AND expires_at >= ${UNTIL} THEN 1 ELSE 0 END AS granted`)}`;
}

/**
 * Renews the lease if the term holds it, and tells whether it does. What the `UPDATE` did not renew had expired by
 * then, or belonged to another term, and both stay so; hence the `SELECT` finds the lease only if it was renewed, by
 * this call or by one of the same term that asked for no less.
 */
function renewSql(table: string, metadata: string): string {
  const time = epochMs("@now");
  return `UPDATE ${table} SET
  heartbeat_at = ${larger("heartbeat_at", "@now")},
  expires_at = ${larger("expires_at", UNTIL)},
  lease_ms = ${larger("lease_ms", "@timeout")},
  version = @call${metadata}
WHERE election_group = @group AND term_id = @term AND expires_at > @now;
SELECT 1 AS held, ${time} AS server_now
FROM ${table} WHERE election_group = @group AND term_id = @term AND expires_at >= ${UNTIL}`;
}

/**
 * Empties the lease if the row is the term's, expired or not: the clock may have been stepped, and nobody took over.
 * The row stays, for its token, and keeps the id of the call that emptied it.
 */
function releaseSql(table: string): string {
  return `UPDATE ${table} SET term_id = N'', version = @call, released_by = @call
WHERE election_group = @group AND term_id = @term;
SELECT 1 AS released FROM ${table} WHERE election_group = @group AND released_by = @call`;
}

/** Names are compared by their code points; a database may else take `Jobs` and `jobs` for the same group. */
function createTableSql(table: string): string {
  const exists = `OBJECT_ID(${quoteText(table)})`;
  const name = (length: number) => `NVARCHAR(${length}) COLLATE Latin1_General_BIN2 NOT NULL`;
  return `BEGIN TRY
  IF ${exists} IS NULL
    CREATE TABLE ${table} (
      election_group ${name(255)} PRIMARY KEY,
      token BIGINT NOT NULL,
      term_id ${name(255)},
      participant_id ${name(255)},
      acquired_at DATETIME2 NOT NULL,
      heartbeat_at DATETIME2 NOT NULL,
      expires_at DATETIME2 NOT NULL,
      lease_ms INT NOT NULL,
      version ${name(64)},
      metadata NVARCHAR(MAX) NOT NULL,
      written_by ${name(64)},
      written BIGINT NOT NULL,
      released_by ${name(64)}
    );
END TRY
BEGIN CATCH
  IF ${exists} IS NULL THROW;
END CATCH`;
}
