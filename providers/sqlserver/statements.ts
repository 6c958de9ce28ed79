/**
 * The T-SQL of the SQL Server provider: one batch for each operation, for SQL Server, Azure SQL and Babelfish alike.
 *
 * Every statement commits by itself, and no batch opens a transaction. So nothing can stay open on a pooled connection,
 * whatever ends the batch in the middle. It takes none: the one `UPDATE` of a batch tests and changes its row in a single
 * atomic step, and its outcome can be read afterwards, because a term id is never used by two terms. Nor does anything
 * depend on lock hints, which Babelfish accepts and ignores.
 *
 * Every time is the server's `SYSUTCDATETIME()`. Within one statement it may stand still while the statement waits for a
 * lock. That only makes a lease shorter, because its end is counted from the time that stands still.
 *
 * @module
 */

/** The batches of one table. */
export interface Statements {
  /** The table as T-SQL names it: quoted, with its schema. */
  readonly table: string;
  /** The table as people name it. */
  readonly title: string;
  /** `@group @term @participant @timeout @metadata`. The row of whoever holds the lease now, or none. */
  readonly acquire: string;
  /** `@group @term @timeout`. One row if the term holds the lease now, or none. */
  readonly renew: string;
  /** The same with `@metadata`. */
  readonly renewMetadata: string;
  /** `@group @term @call`. One row if this call released the lease, or none. */
  readonly release: string;
  /** `@group`. The row of whoever holds the lease now, or none. */
  readonly read: string;
  /** One row for each group. */
  readonly groups: string;
  /** Fails unless all that elections need is allowed. Changes nothing. */
  readonly check: string;
  /** Creates the table if it is not there. */
  readonly createTable: string;
  /** One row: whether the schema exists. */
  readonly findSchema: string;
  /** Creates the schema. Must be a batch of its own. */
  readonly createSchema: string;
}

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
      `Cannot use ${what} "${identifier}": it must have 1 to ${MAX_IDENTIFIER_LENGTH} characters and no NUL, has ${length}`,
    );
  }
  return `[${identifier.replaceAll("]", "]]")}]`;
}

function quoteText(text: string): string {
  return `N'${text.replaceAll("'", "''")}'`;
}

const NOW = "SYSUTCDATETIME()";
const HELD = `term_id <> N'' AND expires_at > ${NOW}`;
const MINE = `election_group = @group AND term_id = @term AND expires_at > ${NOW}`;
const COLUMNS =
  "election_group, token, term_id, participant_id, acquired_at, heartbeat_at, expires_at, metadata, released_by";

/** Milliseconds since 1970, as a number: a date would depend on how the driver is set up. */
const epochMs = (column: string) =>
  `DATEDIFF_BIG(millisecond, CAST(N'1970-01-01T00:00:00' AS DATETIME2), ${column}) AS ${column}`;

/**
 * Builds the batches for `table` in `schema`.
 *
 * @throws {RangeError} if a name cannot be an identifier
 */
export function buildStatements(schema: string, table: string): Statements {
  const quotedSchema = quoteIdentifier("schema", schema);
  const name = `${quotedSchema}.${quoteIdentifier("table", table)}`;
  const leader = `SELECT participant_id, term_id, token, ${epochMs("acquired_at")}, ${epochMs("heartbeat_at")},
  metadata, DATEDIFF_BIG(millisecond, ${NOW}, expires_at) AS expires_in
FROM ${name} WHERE election_group = @group AND ${HELD}`;
  return {
    table: name,
    title: `${schema}.${table}`,
    acquire: acquireSql(name, leader),
    renew: renewSql(name, ""),
    renewMetadata: renewSql(name, ", metadata = @metadata"),
    release: releaseSql(name),
    read: leader,
    groups: `SELECT election_group FROM ${name}`,
    check: `INSERT INTO ${name} (${COLUMNS}) SELECT ${COLUMNS} FROM ${name} WHERE 1 = 0;
UPDATE ${name} SET token = token WHERE 1 = 0`,
    createTable: createTableSql(name),
    findSchema: `SELECT SCHEMA_ID(${quoteText(schema)}) AS id`,
    createSchema: `CREATE SCHEMA ${quotedSchema}`,
  };
}

/**
 * Takes the lease, or tells who holds it.
 *
 * 1. While another term holds the lease, nothing is written and no write lock taken.
 * 2. A group's first row is inserted as one that nobody holds. Two that do so at once collide on the key (2627); the other
 *    row is as good as ours.
 * 3. The `UPDATE` takes the row over if it is free *then*: it tests and changes the newest version in one step, so that of
 *    two takers one wins, and a renewal that came in between is seen. A term that holds the lease renews it.
 * 4. The last `SELECT` says who holds the lease. If it is this term, it can only be by step 3, now or in an earlier call.
 */
function acquireSql(table: string, leader: string): string {
  const again = `term_id = @term AND expires_at > ${NOW}`;
  return `IF NOT EXISTS (SELECT 1 FROM ${table} WHERE election_group = @group AND term_id <> @term AND ${HELD})
BEGIN
  BEGIN TRY
    IF NOT EXISTS (SELECT 1 FROM ${table} WHERE election_group = @group)
      INSERT INTO ${table} (${COLUMNS})
      VALUES (@group, 0, N'', N'', ${NOW}, ${NOW}, ${NOW}, N'{}', N'');
  END TRY
  BEGIN CATCH
    IF ERROR_NUMBER() <> 2627 THROW;
  END CATCH;
  UPDATE ${table} SET
    token = CASE WHEN ${again} THEN token ELSE token + 1 END,
    acquired_at = CASE WHEN ${again} THEN acquired_at ELSE ${NOW} END,
    term_id = @term,
    participant_id = @participant,
    heartbeat_at = ${NOW},
    expires_at = DATEADD(millisecond, @timeout, ${NOW}),
    metadata = @metadata
  WHERE election_group = @group AND (term_id = N'' OR term_id = @term OR expires_at <= ${NOW});
END;
${leader}`;
}

/**
 * Renews the lease if the term holds it, and tells whether it does. What the `UPDATE` did not renew had expired by then, or
 * belonged to another term, and both stay so; hence the `SELECT` finds the lease only if it was renewed.
 */
function renewSql(table: string, metadata: string): string {
  return `UPDATE ${table} SET heartbeat_at = ${NOW}, expires_at = DATEADD(millisecond, @timeout, ${NOW})${metadata}
WHERE ${MINE};
SELECT 1 AS held FROM ${table} WHERE ${MINE}`;
}

/** Empties the lease if the term holds it. The row stays, for its token, and keeps the id of the call that emptied it. */
function releaseSql(table: string): string {
  return `UPDATE ${table} SET term_id = N'', released_by = @call WHERE ${MINE};
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
      metadata NVARCHAR(MAX) NOT NULL,
      released_by ${name(64)}
    );
END TRY
BEGIN CATCH
  IF ${exists} IS NULL THROW;
END CATCH`;
}
