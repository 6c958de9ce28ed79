/**
 * The SQL of the MySQL provider: a few statements for each operation, sent together in one round trip. One text for
 * MySQL 8 and later and MariaDB 10.5 and later, under each `sql_mode` and character set.
 *
 * **Every statement commits by itself**, and what is written is one `UPDATE` of rows by their key: it tests and changes
 * a row in one step, under its lock, in its newest version, whatever an earlier statement has read and whatever the
 * isolation level. Its outcome is read back afterwards: a count of affected rows is 1 for an insert, for a change, and
 * for none; and a term id is never used by two terms, so that a row which bears it is ours, whoever wrote it.
 *
 * **The clock is read once, first**, into `@multilock_now`: after the request was sent, from which the caller counts,
 * and before anything waits. `UTC_TIMESTAMP(6)` is the time at which its statement began, also when that then waits for
 * a row; `NOW()` is the same in a time zone that each session sets, and `SYSDATE()` moves on, but means another time on
 * a replica that repeats the statement. What a call writes is therefore never more than its caller relies on. It may
 * come late, when a later call of its term has written a later expiry: the later of the two stays. A take-over with an
 * old time finds fewer leases expired, never more. Times are whole microseconds since 1970, numbers and not dates, so
 * that neither a time zone nor a `sql_mode` has anything to say about them.
 *
 * **Steps of the clock** are bounded by what the caller knows: an expiry counts only while the time is between the
 * bounds that come with the call, and a row that still has the version that the caller has seen for a whole lease is
 * free whatever the time is. A version is a random id that comes with each call that writes.
 *
 * **Clocks of several servers** say nothing about each other: those of a cluster, or of a primary and the replica that
 * takes over. So a row keeps which server wrote its expiry, and an expiry counts at that server alone; at another one,
 * a row is free when it has stood still.
 *
 * **Assignments** read no column that was assigned before them: MySQL and MariaDB have such a column new, MariaDB's
 * mode `SIMULTANEOUS_ASSIGNMENT` has it old.
 *
 * **Who must not write, does not.** A server that is set read-only still takes the writes of an administrator: a
 * replica would then have leases of its own. So each `UPDATE` asks. A session without autocommit fails, before it
 * reads.
 *
 * @module
 */

/** The values of `acquire`. Times in milliseconds. */
export interface AcquireValues {
  readonly group: string;
  readonly term: string;
  readonly participant: string;
  readonly timeoutMs: number;
  readonly metadata: Written;
  /** A random id. */
  readonly call: string;
  /** The asker, for the term, and the number of its calls by then; see `release`. */
  readonly asker: string;
  readonly calls: number;
  readonly evidence: Bounds & { readonly stale: string | null };
}

/** The server times, in ms since 1970, between which an expiry counts; null: at any. */
export interface Bounds {
  readonly earliest: number | null;
  readonly latest: number | null;
}

/** Metadata, and what tells its place among those that the same provider has written. */
export interface Written {
  readonly json: string;
  readonly source: string;
  readonly ordinal: number;
}

/** A lease to renew. */
export interface RenewValues extends Bounds {
  readonly group: string;
  readonly term: string;
  readonly timeoutMs: number;
  readonly metadata: Written | null;
}

/** The values of `release`. No `acquire` of the same `asker` that it had sent before `calls` takes the lease again. */
export interface ReleaseValues {
  readonly group: string;
  readonly term: string;
  readonly call: string;
  readonly asker: string;
  readonly calls: number;
}

/** The statements of one table. Each operation has one that returns rows, and its place among them does not matter. */
export interface Statements {
  /** The table as SQL names it: quoted, with its schema if there is one. */
  readonly table: string;
  /** The table as people name it. */
  readonly title: string;
  /** One row: whether the lease was granted, whether the server may be written, and a RECORD, or nulls. */
  acquire(values: AcquireValues): readonly string[];
  /**
   * For each group that has a row: itself, its term, how much is left in ms, the time, and whether it may be written.
   */
  renew(leases: readonly RenewValues[], call: string): readonly string[];
  /** At most one row: whether this call released the lease, and whether the server may be written. */
  release(values: ReleaseValues): readonly string[];
  /** At most one row: a RECORD. */
  read(group: string): readonly string[];
  /** One row for each group. */
  readonly groups: readonly string[];
  /** One row: whether it may be written, how a commit is flushed, and the engine. Fails unless the rights are there. */
  readonly check: readonly string[];
  /** The rights that elections need, each with a statement that needs no other and changes nothing. */
  readonly privileges: readonly (readonly [privilege: string, sql: string])[];
  /** One row: the engine of the table, in hexadecimal digits; null if the user sees no such table. */
  readonly engine: string;
  /** Creates the table if it is not there. */
  readonly createTable: string;
  /** Creates the schema, if one was named. */
  readonly createSchema: string | null;
}

const MAX_IDENTIFIER_LENGTH = 64;
const MAX_BIGINT = "9223372036854775807";

/**
 * Returns `identifier` quoted for SQL. `what` is what the error calls it.
 *
 * @throws {RangeError} if the server takes no such name
 */
export function quoteIdentifier(what: string, identifier: string): string {
  const { length } = [...identifier];
  // Nothing beyond the first plane, and no blank at the end.
  if (length < 1 || length > MAX_IDENTIFIER_LENGTH || /\0|[\u{10000}-\u{10ffff}]|\s$/u.test(identifier)) {
    throw new RangeError(
      `Cannot use ${what} "${identifier}": it must have 1 to ${MAX_IDENTIFIER_LENGTH} characters, none of them NUL ` +
        "or beyond U+FFFF, and no blank at the end",
    );
  }
  return `\`${identifier.replaceAll("`", "``")}\``;
}

/** A text as its bytes: no mode and no character set changes what it means, and nothing in it ends it. */
function bytes(text: string): string {
  return `X'${Buffer.from(text, "utf8").toString("hex")}'`;
}

/** Milliseconds as microseconds. */
function micros(ms: number): string {
  return String(Math.round(ms * 1_000));
}

function lowest(earliest: number | null): string {
  if (earliest === null || earliest === -Infinity) return "-1";
  return micros(Math.floor(earliest));
}

function highest(latest: number | null): string {
  if (latest === null || latest === Infinity) return MAX_BIGINT;
  // No time is negative: at none does an expiry count.
  return latest === -Infinity ? "-1" : micros(Math.floor(latest));
}

/** The server's clock, in microseconds since 1970. */
const CLOCK = "TIMESTAMPDIFF(MICROSECOND, TIMESTAMP'1970-01-01 00:00:00', UTC_TIMESTAMP(6))";
const NOW = "@multilock_now";
const WRITABLE = "@multilock_writable";
const FREE = "@multilock_free";

/** The server that answers. */
const SERVER = "CONCAT(@@GLOBAL.hostname, X'3a', @@GLOBAL.port)";

/** True if the server is for writing: the setting is a number, or from MariaDB 12 on a word. */
const MAY_WRITE = "CONCAT(@@GLOBAL.read_only) IN (X'30', X'4f4646')";
/** Out of range, and so an error, where autocommit is off. */
const COMMITS = "~0 + (1 - @@SESSION.autocommit)";

/** In order: what would not be committed is refused, the clock is read, and so is whatever `more` says. */
function begin(more: Readonly<Record<string, string>> = {}): string {
  const all = { "@multilock_commits": COMMITS, [NOW]: CLOCK, [WRITABLE]: MAY_WRITE, ...more };
  return `SELECT ${Object.values(all).join(", ")} INTO ${Object.keys(all).join(", ")}`;
}

/**
 * True if a lease is over at `now`. Within both bounds a take-over believes the clock (`believed` is `now`); a renewal
 * of its own lease is only refused what had expired by the latest time that is believed.
 */
function overdue(now: string, believed: string, { earliest, latest }: Bounds, isOwn: boolean): string {
  const tooLate = isOwn ? "" : ` AND ${now} <= ${highest(latest)}`;
  return `(server = ${SERVER} AND expires_at <= ${believed} AND ${now} >= ${lowest(earliest)}${tooLate})`;
}

/** True if a call may take the row. */
function free(now: string, { term, asker, calls, evidence }: AcquireValues): string {
  const late = `(term_id = X'' AND released_by = ${bytes(asker)} AND released_call >= ${calls})`;
  const stale = evidence.stale === null ? "" : ` OR version = ${bytes(evidence.stale)}`;
  return `((term_id = X'' OR term_id = ${bytes(term)}${stale} OR ${
    overdue(now, now, evidence, false)
  }) AND NOT ${late})`;
}

/** The columns of a record, in this order. The time that is left counts from when the row is read. */
const RECORD = `${NOW} / 1000, HEX(version), lease_us / 1000, HEX(participant_id), HEX(term_id), token,
  acquired_at / 1000, heartbeat_at / 1000, HEX(metadata),
  IF(server = ${SERVER}, expires_at - ${CLOCK}, lease_us) / 1000`;

const COLUMNS = "election_group, token, term_id, participant_id, acquired_at, heartbeat_at, lease_us, expires_at, " +
  "server, version, metadata, written_by, written, released_by, released_call";

/** The columns beside the group, in a row that nobody has led yet. */
const NOBODY = "0, X'', X'', 0, 0, 0, 0, X'', X'', X'7b7d', X'', 0, X'', 0";

/**
 * Builds the statements for `table` in `schema`, or in the database of the connection.
 *
 * @throws {RangeError} if a name cannot be an identifier
 */
export function buildStatements(schema: string | undefined, table: string): Statements {
  const quotedSchema = schema === undefined ? null : quoteIdentifier("schema", schema);
  const quotedTable = quoteIdentifier("table", table);
  const name = quotedSchema === null ? quotedTable : `${quotedSchema}.${quotedTable}`;
  const inSchema = schema === undefined ? "DATABASE()" : text(schema);
  const engine = `HEX((SELECT ENGINE FROM information_schema.TABLES
  WHERE TABLE_SCHEMA = ${inSchema} AND TABLE_NAME = ${text(table)} LIMIT 1))`;
  const privileges = [
    ["SELECT", `SELECT ${COLUMNS} FROM ${name} WHERE 1 = 0`],
    ["INSERT", `INSERT INTO ${name} (${COLUMNS}) SELECT X'', ${NOBODY} FROM DUAL WHERE 1 = 0`],
    ["UPDATE", `UPDATE ${name} SET token = 0 WHERE 1 = 0`],
  ] as const;
  return {
    table: name,
    title: schema === undefined ? table : `${schema}.${table}`,
    acquire: (values) => acquireSql(name, values),
    renew: (leases, call) => renewSql(name, leases, call),
    release: (values) => releaseSql(name, values),
    read: (group) => [begin(), `SELECT ${RECORD} FROM ${name} WHERE election_group = ${bytes(group)}`],
    groups: [`SELECT HEX(election_group) FROM ${name}`],
    check: [
      begin(),
      ...privileges.map(([, sql]) => sql),
      `SELECT ${WRITABLE}, @@GLOBAL.innodb_flush_log_at_trx_commit, ${engine}`,
    ],
    privileges,
    engine: `SELECT ${engine}`,
    createTable: createTableSql(name),
    createSchema: quotedSchema === null ? null : `CREATE DATABASE IF NOT EXISTS ${quotedSchema}`,
  };
}

/** A text to compare with what the server keeps as one. */
function text(value: string): string {
  return `CONVERT(${bytes(value)} USING utf8mb4)`;
}

/**
 * 1. A plain read says whether the row looks free: it takes no lock and waits for nobody. While another term holds the
 *    lease, that is all; the other statements find nothing to do.
 * 2. The row is made, if the group has none. Of several that do, one succeeds; its row is as good as ours.
 * 3. The `UPDATE` takes the row over if it is free *then*. Its token is one more, or the time, if that is later: a
 *    table that was emptied, or brought back from a backup, goes on above what was given out before.
 * 4. If the row bears our term, and as much of a lease as we have asked for, that can only be by step 3, now or in
 *    another call of the term.
 */
function acquireSql(table: string, values: AcquireValues): readonly string[] {
  const { group, term, participant, timeoutMs, metadata, call } = values;
  const [key, mine, timeout] = [`election_group = ${bytes(group)}`, bytes(term), micros(timeoutMs)];
  const again = `(term_id = ${mine} AND (expires_at > ${NOW} OR server <> ${SERVER}))`;
  const until = `${NOW} + ${timeout}`;
  const outdated = `(${again} AND written_by = ${bytes(metadata.source)} AND written > ${metadata.ordinal})`;
  return [
    begin({ [FREE]: `(SELECT IF(${free(CLOCK, values)}, 1, 0) FROM ${table} WHERE ${key})` }),
    `INSERT IGNORE INTO ${table} (${COLUMNS})
SELECT ${bytes(group)}, ${NOBODY} FROM DUAL
WHERE ${FREE} IS NULL AND ${WRITABLE} = 1`,
    `UPDATE ${table} SET
  token = IF(${again}, token, GREATEST(token + 1, ${NOW})),
  acquired_at = IF(${again}, acquired_at, ${NOW}),
  heartbeat_at = IF(${again}, GREATEST(heartbeat_at, ${NOW}), ${NOW}),
  lease_us = IF(${again}, GREATEST(lease_us, ${timeout}), ${timeout}),
  participant_id = ${bytes(participant)},
  version = ${bytes(call)},
  metadata = IF(${outdated}, metadata, ${bytes(metadata.json)}),
  written = IF(${outdated}, written, ${metadata.ordinal}),
  written_by = ${bytes(metadata.source)},
  expires_at = IF(${again}, GREATEST(expires_at, ${until}), ${until}),
  server = ${SERVER},
  term_id = ${mine}
WHERE ${key} AND ${WRITABLE} = 1 AND (${FREE} IS NULL OR ${FREE} = 1) AND ${free(NOW, values)}`,
    `SELECT term_id = ${mine} AND expires_at >= ${until}, ${WRITABLE}, ${RECORD}
FROM (SELECT 1) AS always LEFT JOIN ${table} ON ${key}`,
  ];
}

/**
 * Renews what the terms still hold, and tells what they do. Those with the same timeout and bounds, and no metadata,
 * share an `UPDATE`; the index is forced, or a small table would be read whole, and rows of others be waited for.
 */
function renewSql(table: string, leases: readonly RenewValues[], call: string): readonly string[] {
  const shared = new Map<string, RenewValues[]>();
  for (const [i, lease] of leases.entries()) {
    const { timeoutMs, earliest, latest, metadata } = lease;
    const kind = metadata === null ? `${timeoutMs} ${earliest} ${latest}` : `${i}`;
    const others = shared.get(kind);
    if (others === undefined) shared.set(kind, [lease]);
    else others.push(lease);
  }
  return [
    begin(),
    ...[...shared.values()].map((alike) => prolongSql(table, alike, call)),
    `SELECT HEX(election_group), HEX(term_id), (expires_at - ${NOW}) / 1000, ${NOW} / 1000, ${WRITABLE}
FROM ${table} FORCE INDEX (PRIMARY) WHERE ${inGroups(leases)}`,
  ];
}

function inGroups(leases: readonly RenewValues[]): string {
  return `election_group IN (${leases.map(({ group }) => bytes(group)).join(", ")})`;
}

function prolongSql(table: string, alike: readonly RenewValues[], call: string): string {
  const [{ timeoutMs = 0, earliest = null, latest = null, metadata = null } = {}] = alike;
  const timeout = micros(timeoutMs);
  const believed = latest === null ? NOW : `LEAST(${NOW}, ${highest(latest)})`;
  return `UPDATE ${table} FORCE INDEX (PRIMARY) SET
  heartbeat_at = GREATEST(heartbeat_at, ${NOW}),
  lease_us = GREATEST(lease_us, ${timeout}),
  version = ${bytes(call)},${metadata === null ? "" : metadataSql(metadata)}
  expires_at = GREATEST(expires_at, ${NOW} + ${timeout}),
  server = ${SERVER}
WHERE ${WRITABLE} = 1 AND ${inGroups(alike)}
  AND (election_group, term_id) IN (${alike.map(({ group, term }) => `(${bytes(group)}, ${bytes(term)})`).join(", ")})
  AND NOT ${overdue(NOW, believed, { earliest, latest }, true)}`;
}

/** Of metadata of one provider the one that it was given last stays, in whichever order they land. */
function metadataSql({ json, source, ordinal }: Written): string {
  const outdated = `(written_by = ${bytes(source)} AND written > ${ordinal})`;
  return `
  metadata = IF(${outdated}, metadata, ${bytes(json)}),
  written = IF(${outdated}, written, ${ordinal}),
  written_by = ${bytes(source)},`;
}

/**
 * Empties the lease if the row is the term's, expired or not: the clock may have been stepped, and nobody took over.
 * The row stays, for its token, and keeps who emptied it: a call of the same term that comes later, because it was
 * given up on its way or overtaken, takes nothing, since nobody would renew that lease.
 */
function releaseSql(table: string, { group, term, call, asker, calls }: ReleaseValues): readonly string[] {
  const key = `election_group = ${bytes(group)}`;
  return [
    begin(),
    `UPDATE ${table} SET version = ${bytes(call)}, released_by = ${
      bytes(asker)
    }, released_call = ${calls}, term_id = X''
WHERE ${key} AND ${WRITABLE} = 1 AND term_id = ${bytes(term)}`,
    `SELECT released_by = ${bytes(asker)} AND released_call = ${calls}, ${WRITABLE} FROM ${table} WHERE ${key}`,
  ];
}

/** Names and ids are compared by their bytes, and tokens have 64 bits. */
function createTableSql(table: string): string {
  return `CREATE TABLE IF NOT EXISTS ${table} (
  election_group VARBINARY(255) NOT NULL PRIMARY KEY,
  token BIGINT NOT NULL,
  term_id VARBINARY(255) NOT NULL,
  participant_id VARBINARY(255) NOT NULL,
  acquired_at BIGINT NOT NULL,
  heartbeat_at BIGINT NOT NULL,
  lease_us BIGINT NOT NULL,
  expires_at BIGINT NOT NULL,
  server VARBINARY(255) NOT NULL,
  version VARBINARY(64) NOT NULL,
  metadata LONGTEXT CHARACTER SET utf8mb4 NOT NULL,
  written_by VARBINARY(64) NOT NULL,
  written BIGINT NOT NULL,
  released_by VARBINARY(320) NOT NULL,
  released_call BIGINT NOT NULL
) ENGINE = InnoDB`;
}
