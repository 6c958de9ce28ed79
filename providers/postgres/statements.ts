/**
 * The SQL of the PostgreSQL provider: one statement for each operation. Every time in it is the server's
 * `clock_timestamp()`, which moves on within a statement; no time of a participant is ever written.
 *
 * Every value that comes back is text, made by the server: a user's pool may parse all other types as it likes.
 *
 * @module
 */

import { createHash } from "node:crypto";
import { MOST_TOLD_BYTES, TELL_RENEWALS_BELOW_MS } from "../kit/hint_stream.ts";
import { notifySql } from "./messages.ts";

/** One statement, and the name it is prepared under. */
export interface Statement {
  /** Differs whenever the text differs, so that no two programs that share a server connection mix them up. */
  readonly name: string;
  /** The SQL. */
  readonly text: string;
}

/** The statements of one table. */
export interface Statements {
  /** The table as SQL names it: quoted, with its schema. */
  readonly table: string;
  /** The table as people name it. */
  readonly title: string;
  /** The notification channel of the table. */
  readonly channel: string;
  /**
   * $1 group, $2 term, $3 participant, $4 timeout in ms, $5 metadata, $6 lock timeout, $7 the version that has stood
   * still or null, $8 the earliest and the latest server time that are believed, in ms, or nulls, $9 asker, $10 call.
   * One row
   * `["won" | "held", ...RECORD]`, or none: a race was lost. */
  readonly acquire: Statement;
  /** $1 groups, each once, $2 terms, $3 participants, $4 timeouts in ms, $5 metadata, $6 the versions that have stood
   * still or nulls, $7 the earliest and $8 the latest server times that are believed or null, $9 calls, $10 asker,
   * $11 lock timeout. Rows `[ordinal, "won" | "held", ...RECORD]`; those without one are open. */
  readonly acquireMany: Statement;
  /** $1 group, $2 term, $3 timeout in ms, $4 metadata or null, $5 lock timeout. Rows as those of `renew`. Tells nobody.
   */
  readonly renewOne: Statement;
  /** $1 groups, $2 terms, $3 timeouts in ms, $4 metadata or null, $5 the earliest and $6 the latest server times that
   * are believed or null. Rows `[ordinal, "renewed" | "unsure", server time]`: unsure is what its term still held when
   * the statement began, and was not renewed. */
  readonly renew: Statement;
  /** The same, but waits for rows that others have locked, at most $7. */
  readonly renewLocked: Statement;
  /** $1 group, $2 term, $3 lock timeout, $4 asker, $5 call, $6 who is to lead next, or empty. One row if the lease was
   * released, else none. */
  readonly release: Statement;
  /** $1 groups, $2 terms, $3 calls, $4 who is to lead next, or empty, $5 asker. Rows
   * `[ordinal, "released" | "notHolder"]`; those without one are open. */
  readonly releaseMany: Statement;
  /** $1 group. One row: a RECORD, of nulls but for the server's time where no term holds the group. */
  readonly read: Statement;
  /** One row for each group. */
  readonly groups: Statement;
  /** One row: whether the server is read-only, whether the table exists, and whether we may use or create it. */
  readonly check: Statement;
  /** Creates the table, and waits for others that do, but not for ever. */
  readonly createTable: string;
  /** Creates the schema. */
  readonly createSchema: string;
}

/** PostgreSQL cuts longer identifiers short, so that two of them could mean the same table. */
const MAX_IDENTIFIER_BYTES = 63;

/**
 * Returns `identifier` quoted for SQL. `what` is what the error calls it.
 *
 * @throws {RangeError} if it is empty, longer than 63 bytes, or holds a NUL character
 */
export function quoteIdentifier(what: string, identifier: string): string {
  const { length } = new TextEncoder().encode(identifier);
  if (length < 1 || length > MAX_IDENTIFIER_BYTES || identifier.includes("\0")) {
    throw new RangeError(
      `Cannot use ${what} "${identifier}": it must have 1 to ${MAX_IDENTIFIER_BYTES} bytes and no NUL, has ${length}`,
    );
  }
  return `"${identifier.replaceAll('"', '""')}"`;
}

/**
 * The setting of every write for its own transaction only, which needs no session and so works behind a
 * transaction-mode pooler. A commit must be on disk before it is answered, because a crash must not forget a lease.
 */
const DURABLE = `set_config('synchronous_commit',
  CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on'
    ELSE current_setting('synchronous_commit') END, true)`;

/** Bounds the wait for a row lock: a statement whose caller has given up must not come to life much later. */
const bounded = (parameter: string) => `set_config('lock_timeout', ${parameter}::text, true)`;

/** The server's clock, in milliseconds since the epoch. */
const NOW_MS = "(extract(epoch FROM clock_timestamp()) * 1000)::float8";

const epochMs = (column: string) => `(extract(epoch FROM ${column}) * 1000)::float8`;
const ms = (parameter: string) => `${parameter}::float8 * interval '1 millisecond'`;

/**
 * Changes with every write of a row, and is no time: the transaction that wrote it. We write a row once in a
 * transaction. The time beside it tells apart what two servers wrote under the same number, before and after a
 * failover.
 */
const VERSION = "lease.xmin::text || ' ' || extract(epoch FROM lease.heartbeat_at)::text";

/** The columns that become a record, in this order. */
const RECORD = `${NOW_MS}::text, version, timeout_ms::text, participant_id::text, term_id::text, token::text,
  ${epochMs("acquired_at")}::text, ${epochMs("heartbeat_at")}::text, metadata::text, (${
  epochMs("expires_at")
} - ${NOW_MS})::text`;

/** The columns that tell those who listen of the winners `won`, a table beside `before`, as the rows were. */
const toldOf = (channel: string, won: string) => {
  const times = `${epochMs(`${won}.acquired_at`)}, ${epochMs(`${won}.heartbeat_at`)}`;
  const leader =
    `concat_ws(' ', ${won}.timeout_ms, ${won}.participant_id, ${won}.term_id, ${won}.token, ${times}, ${won}.metadata)`;
  return notifySql(channel, `${won}.election_group`, `'leads ' || ${leader}`);
};

/** True where somebody may wait to be told of the winner `won` of a row that was `before`. */
const isAwaited = (won: string) =>
  `before.term_id <> ${won}.term_id AND octet_length(${won}.metadata) <= ${MOST_TOLD_BYTES}
    AND before.expires_at + ${ms("before.timeout_ms")} > clock_timestamp()`;

/**
 * True if the lease has expired, by a server clock that is believed from `earliest` to `latest` (null: for no bound).
 * A lease that had expired by `latest` is over, also when the statement was so long on its way that the clock is beyond
 * that.
 */
const overdue = (earliest: string, latest: string) =>
  `(${epochMs("lease.expires_at")} <= least(${NOW_MS}, ${latest}::float8)
    AND ${NOW_MS} >= coalesce(${earliest}::float8, '-Infinity'))`;
/**
 * The same to one who wants the lease of another: then the clock must be within both bounds. One that was
 * set back, and then forward beyond them, has ended a lease that its holder has got in between, well below `latest`.
 */
const overdueToAnother = (earliest: string, latest: string) =>
  `(${overdue(earliest, latest)}
    AND ${NOW_MS} <= coalesce(${latest}::float8, 'Infinity'))`;
const OVERDUE = overdueToAnother("($8::float8[])[1]", "($8::float8[])[2]");

/**
 * The columns that a renewal writes, and an acquire of the term that holds the lease already.
 *
 * The clock is read under the row lock: `UPDATE` computes it anew for a row that it had to wait for. So it only runs
 * backwards if somebody sets it back; and then neither the lease gets shorter nor the last heartbeat older. One thing
 * is not kept: an expiry that lies more than a whole lease beyond a full one was written by a clock that has been set
 * back since by more than that. It would keep a leader alive that dies hours later, so it is written anew.
 */
function prolonged(timeout: string): { heartbeat: string; timeout: string; expiry: string } {
  const longest = `greatest(lease.timeout_ms, ${timeout}::float8)`;
  const full = `clock_timestamp() + ${ms(longest)}`;
  return {
    heartbeat: "greatest(lease.heartbeat_at, clock_timestamp())",
    timeout: longest,
    expiry: `CASE WHEN lease.expires_at > ${full} + ${ms(longest)} THEN ${full} ELSE
      greatest(lease.expires_at, clock_timestamp() + ${ms(timeout)}) END`,
  };
}

/** The columns that an acquire writes, for a row `due` that is granted: the next term, or the same one's lease. */
function takeOver(due: string): string {
  const again = `lease.term_id = ${due}.term_id AND lease.expires_at > clock_timestamp()`;
  const { heartbeat, timeout, expiry } = prolonged(`${due}.timeout_ms`);
  return `token = CASE WHEN ${again} THEN lease.token ELSE lease.token + 1 END,
    acquired_at = CASE WHEN ${again} THEN lease.acquired_at ELSE clock_timestamp() END,
    term_id = ${due}.term_id,
    participant_id = ${due}.participant_id,
    heartbeat_at = CASE WHEN ${again} THEN ${heartbeat} ELSE clock_timestamp() END,
    timeout_ms = CASE WHEN ${again} THEN ${timeout} ELSE ${due}.timeout_ms END,
    expires_at = CASE WHEN ${again} THEN ${expiry} ELSE clock_timestamp() + ${ms(`${due}.timeout_ms`)} END,
    metadata = ${due}.metadata`;
}

/**
 * Builds the statements for `table` in `schema`.
 *
 * @throws {RangeError} if a name cannot be an identifier
 */
export function buildStatements(schema: string, table: string): Statements {
  const quotedSchema = quoteIdentifier("schema", schema);
  const name = `${quotedSchema}.${quoteIdentifier("table", table)}`;
  // A channel is an identifier too: the name of schema and table may be too long for one.
  const channel = `multilock_${hash(name)}`;
  const statement = (text: string): Statement => ({ name: `multilock_${hash(text)}`, text });
  return {
    table: name,
    title: `${schema}.${table}`,
    channel,
    acquire: statement(acquireSql(name, channel)),
    acquireMany: statement(acquireManySql(name, channel)),
    renewOne: statement(renewOneSql(name)),
    renew: statement(renewSql(name, channel, DURABLE, "SKIP LOCKED")),
    renewLocked: statement(renewSql(name, channel, `${DURABLE}, ${bounded("$7")}`, "")),
    release: statement(releaseSql(name, channel)),
    releaseMany: statement(releaseManySql(name, channel)),
    read: statement(`SELECT ${RECORD} FROM (SELECT) AS always LEFT JOIN
  (SELECT *, ${VERSION} AS version FROM ${name} AS lease WHERE election_group = $1 AND term_id <> '') AS held ON true`),
    groups: statement(`SELECT election_group::text FROM ${name}`),
    check: statement(checkSql(quotedSchema, name)),
    createTable: createTableSql(name),
    createSchema: `CREATE SCHEMA IF NOT EXISTS ${quotedSchema}`,
  };
}

/**
 * Takes the lease, or tells who holds it.
 *
 * 1. `look` reads the row as of the start of the statement. While another term holds the lease that is all: nothing is
 *    written and no lock is taken, so any number of followers costs the leader nothing.
 * 2. `won` inserts the row, or takes it over. `ON CONFLICT` waits for whoever is writing the row, and then tests its
 *    *newest* version: `look` only saves work, and the decision is made under the row lock. So of two takers one wins,
 *    and a renewal that came in between is seen. The loser gets no row at all: `look` is older than the winner.
 *
 * A lease is free when it was released, when it has expired by the server's clock as far as the caller believes that
 * ($8), or when its row still has the version that the caller has seen stand still for a whole lease ($7).
 *
 * A term that holds the lease already renews it and keeps its token. A call that arrives after its asker has released
 * the lease, because it was given up on its way or overtaken on another connection, gets nothing: nobody would renew
 * that lease.
 *
 * 3. `told` tells those who listen of the winner, so that they need not look: not where the lease has been free for
 *    longer than it lasted, for then nobody waits for it. Transactions that notify commit one after another, and ten
 *    thousand elections that start at once should not.
 */
function acquireSql(table: string, channel: string): string {
  return `WITH settings AS MATERIALIZED (SELECT ${DURABLE}, ${bounded("$6")}), look AS MATERIALIZED (
  SELECT *, ${VERSION} AS version FROM ${table} AS lease
  WHERE election_group = $1::text AND term_id NOT IN ('', $2::text) AND NOT ${OVERDUE}
    AND ${VERSION} IS DISTINCT FROM $7::text
), won AS (
  INSERT INTO ${table} AS lease
    (election_group, token, term_id, participant_id, acquired_at, heartbeat_at, timeout_ms, expires_at, metadata)
  SELECT $1, 1, $2, $3::text, clock_timestamp(), clock_timestamp(), $4::float8, clock_timestamp() + ${
    ms("$4")
  }, $5::text
  FROM settings WHERE NOT EXISTS (SELECT FROM look)
  ON CONFLICT (election_group) DO UPDATE SET
    ${takeOver("excluded")}
  WHERE (lease.term_id IN ('', excluded.term_id) OR ${OVERDUE} OR ${VERSION} = $7::text)
    AND NOT (lease.term_id = '' AND lease.released_by = $9::text AND lease.released_call >= $10::bigint)
  RETURNING *, ${VERSION} AS version
), told AS MATERIALIZED (
  SELECT ${toldOf(channel, "won")} FROM won JOIN ${table} AS before USING (election_group) WHERE ${isAwaited("won")}
)
SELECT 'won', ${RECORD} FROM won LEFT JOIN told ON true UNION ALL SELECT 'held', ${RECORD} FROM look`;
}

/**
 * The same for any number of groups, each of which is decided by itself, as {@linkcode acquireSql} decides it.
 *
 * 1. `looked` are those that another holds, as of the start of the statement. Nothing is locked or written for them.
 * 2. `free` locks the rows that may be taken, and tests the newest version of each under its lock. `SKIP LOCKED` passes
 *    over a row that somebody else has locked: one such row holds up nobody, and no two statements wait for each
 *    other's rows. `taken` then meets only rows that are ours until the end.
 * 3. `made` inserts the rows that there are none of. It waits for whoever inserts the same one, and then leaves it; and
 *    all insert in one order, so that they do not wait in a circle.
 *
 * A call that comes after its own release gets nothing and is told so, first of all: should it win after all, since
 * others have had the lease meanwhile, that counts. A row that was passed over, or that somebody else has inserted or
 * taken meanwhile, is told by no row at all, and asked for again. So a lease is granted under the lock of its row, or
 * by the index that lets in one row for a group.
 */
function acquireManySql(table: string, channel: string): string {
  const isOvertaken = (due: string) =>
    `(lease.term_id = '' AND lease.released_by = $10::text || ' ' || ${due}.term_id
      AND lease.released_call >= ${due}.call)`;
  const isFree = (due: string) =>
    `(lease.term_id IN ('', ${due}.term_id) OR ${overdueToAnother(`${due}.earliest`, `${due}.latest`)}
    OR ${VERSION} = ${due}.stale) AND NOT ${isOvertaken(due)}`;
  return `WITH settings AS MATERIALIZED (SELECT ${DURABLE}, ${bounded("$11")}), due AS MATERIALIZED (
  SELECT * FROM unnest($1::text[], $2::text[], $3::text[], $4::float8[], $5::text[], $6::text[], $7::float8[],
    $8::float8[], $9::bigint[]) WITH ORDINALITY AS due (election_group, term_id, participant_id, timeout_ms, metadata,
    stale, earliest, latest, call, ordinal)
), looked AS MATERIALIZED (
  SELECT due.ordinal, lease.*, ${VERSION} AS version FROM due JOIN ${table} AS lease USING (election_group)
  WHERE lease.term_id NOT IN ('', due.term_id) AND NOT ${overdueToAnother("due.earliest", "due.latest")}
    AND ${VERSION} IS DISTINCT FROM due.stale
), free AS MATERIALIZED (
  SELECT due.* FROM settings CROSS JOIN due JOIN ${table} AS lease USING (election_group)
  WHERE ${isFree("due")} AND due.ordinal NOT IN (SELECT ordinal FROM looked)
  FOR NO KEY UPDATE OF lease SKIP LOCKED
), taken AS (
  UPDATE ${table} AS lease SET
    ${takeOver("free")}
  FROM free WHERE lease.election_group = free.election_group AND ${isFree("free")}
  RETURNING free.ordinal, lease.*, ${VERSION} AS version
), made AS (
  INSERT INTO ${table} AS lease
    (election_group, token, term_id, participant_id, acquired_at, heartbeat_at, timeout_ms, expires_at, metadata)
  SELECT election_group, 1, term_id, participant_id, clock_timestamp(), clock_timestamp(), timeout_ms,
    clock_timestamp() + ${ms("timeout_ms")}, metadata
  FROM settings CROSS JOIN due
  WHERE NOT EXISTS (SELECT FROM ${table} AS lease WHERE lease.election_group = due.election_group)
  ORDER BY election_group COLLATE "C"
  ON CONFLICT (election_group) DO NOTHING
  RETURNING *, ${VERSION} AS version
), told AS MATERIALIZED (
  SELECT taken.ordinal, ${toldOf(channel, "taken")} AS message
  FROM taken JOIN ${table} AS before USING (election_group) WHERE ${isAwaited("taken")}
)
SELECT ordinal::text, 'held', ${NOW_MS}::text${", NULL".repeat(9)} FROM due JOIN ${table} AS lease
  USING (election_group) WHERE ${isOvertaken("due")} UNION ALL
SELECT ordinal::text, 'won', ${RECORD} FROM taken LEFT JOIN told USING (ordinal) UNION ALL
SELECT ordinal::text, 'held', ${RECORD} FROM looked UNION ALL
SELECT ordinal::text, 'won', ${RECORD} FROM made
  JOIN (SELECT election_group, ordinal FROM due) AS due USING (election_group)`;
}

/**
 * Renews one lease: the shorter way for a process with one election. It gives up on a locked row at once, with an
 * error.
 */
function renewOneSql(table: string): string {
  const { heartbeat, timeout, expiry } = prolonged("$3");
  return `WITH settings AS MATERIALIZED (SELECT ${DURABLE}, ${bounded("$5")}), renewed AS (
  UPDATE ${table} AS lease SET
    heartbeat_at = ${heartbeat}, timeout_ms = ${timeout}, expires_at = ${expiry},
    metadata = coalesce($4::text, lease.metadata)
  FROM settings
  WHERE lease.election_group = $1::text AND lease.term_id = $2::text AND lease.expires_at > clock_timestamp()
  RETURNING lease.election_group
)
SELECT '1', 'renewed', ${NOW_MS}::text FROM renewed UNION ALL
SELECT '1', 'unsure', ${NOW_MS}::text FROM ${table} AS lease
WHERE NOT EXISTS (SELECT FROM renewed) AND lease.election_group = $1::text AND lease.term_id = $2::text`;
}

/**
 * Renews any number of leases.
 *
 * `mine` locks the rows of those that are still held by their terms. `SKIP LOCKED` passes over a row that somebody else
 * has locked, so that one such row cannot hold up the others, and so that no two batches ever wait for each other. The
 * update then meets only rows that are ours. If some were not renewed, those among them that their term held as of the
 * start of the statement are named too: they were passed over, or have expired by a clock that may have been stepped.
 * Their outcome is unknown. The rest are lost.
 *
 * The unknown few are asked for again without `SKIP LOCKED`: mostly it was a participant that lost the race for the
 * lease, and holds its lock until its transaction ends. Only the holder of a lease gets as far as locking its row here,
 * so two statements never want the same two rows, and cannot deadlock.
 *
 * Renewals of short leases are told to those who listen, who would otherwise ask so often.
 */
function renewSql(table: string, channel: string, settings: string, ifLocked: string): string {
  const { heartbeat, timeout, expiry } = prolonged("mine.timeout_ms");
  const renewed = `concat_ws(' ', 'renewed', lease.term_id, ${epochMs("lease.heartbeat_at")}, mine.timeout_ms)`;
  return `WITH settings AS MATERIALIZED (SELECT ${settings}), due AS MATERIALIZED (
  SELECT * FROM unnest($1::text[], $2::text[], $3::float8[], $4::text[], $5::float8[], $6::float8[])
    WITH ORDINALITY AS due (election_group, term_id, timeout_ms, metadata, earliest, latest, ordinal)
), mine AS MATERIALIZED (
  SELECT due.* FROM settings CROSS JOIN due JOIN ${table} AS lease USING (election_group)
  WHERE lease.term_id = due.term_id AND NOT ${overdue("due.earliest", "due.latest")}
  FOR NO KEY UPDATE OF lease ${ifLocked}
), renewed AS (
  UPDATE ${table} AS lease SET
    heartbeat_at = ${heartbeat}, timeout_ms = ${timeout}, expires_at = ${expiry},
    metadata = coalesce(mine.metadata, lease.metadata)
  FROM mine
  WHERE lease.election_group = mine.election_group AND lease.term_id = mine.term_id
    AND NOT ${overdue("mine.earliest", "mine.latest")}
  RETURNING mine.ordinal, CASE WHEN mine.timeout_ms < ${TELL_RENEWALS_BELOW_MS}
    THEN ${notifySql(channel, "lease.election_group", renewed)} END AS told
)
SELECT ordinal::text, 'renewed', ${NOW_MS}::text FROM renewed UNION ALL
SELECT due.ordinal::text, 'unsure', ${NOW_MS}::text FROM due JOIN ${table} AS lease USING (election_group)
WHERE (SELECT count(*) FROM renewed) < cardinality($1) AND lease.term_id = due.term_id`;
}

/**
 * Empties the lease, if the term holds it, and tells those that listen, and who is to lead next. The row stays: it
 * keeps the token. Whether the lease has expired does not matter: nobody else has taken it, and a clock that was
 * stepped must not leave it to its successors to find out.
 */
function releaseSql(table: string, channel: string): string {
  return `WITH settings AS MATERIALIZED (SELECT ${DURABLE}, ${bounded("$3")}), released AS (
  UPDATE ${table} AS lease SET term_id = '', released_by = $4::text, released_call = $5::bigint FROM settings
  WHERE lease.election_group = $1::text AND lease.term_id = $2::text
  RETURNING lease.election_group
)
SELECT ${notifySql(channel, "election_group", "'free  ' || $6::text")} FROM released`;
}

/**
 * The same for any number of leases. As with renewals, rows that others have locked are passed over: no row tells of
 * them, and they are asked for again. A term that did not hold its lease as of the start has nothing to give back.
 */
function releaseManySql(table: string, channel: string): string {
  return `WITH settings AS MATERIALIZED (SELECT ${DURABLE}), due AS MATERIALIZED (
  SELECT * FROM unnest($1::text[], $2::text[], $3::bigint[], $4::text[])
    WITH ORDINALITY AS due (election_group, term_id, call, successor, ordinal)
), mine AS MATERIALIZED (
  SELECT due.* FROM settings CROSS JOIN due JOIN ${table} AS lease USING (election_group)
  WHERE lease.term_id = due.term_id
  FOR NO KEY UPDATE OF lease SKIP LOCKED
), released AS (
  UPDATE ${table} AS lease
  SET term_id = '', released_by = $5::text || ' ' || mine.term_id, released_call = mine.call FROM mine
  WHERE lease.election_group = mine.election_group AND lease.term_id = mine.term_id
  RETURNING mine.ordinal, mine.election_group, mine.successor
)
SELECT ordinal::text, 'released', ${notifySql(channel, "election_group", "'free  ' || successor")} FROM released
UNION ALL
SELECT ordinal::text, 'notHolder', NULL FROM due
WHERE NOT EXISTS (SELECT FROM ${table} AS lease
  WHERE lease.election_group = due.election_group AND lease.term_id = due.term_id)`;
}

function checkSql(schema: string, table: string): string {
  const literal = (text: string) => `'${text.replaceAll("'", "''")}'`;
  const oid = `to_regclass(${literal(table)})`;
  const may = (privilege: string) => `has_table_privilege(${oid}, '${privilege}')`;
  return `SELECT current_setting('transaction_read_only'), (${oid} IS NOT NULL)::text,
  (CASE WHEN ${oid} IS NOT NULL THEN ${["SELECT", "INSERT", "UPDATE"].map(may).join(" AND ")}
    WHEN to_regnamespace(${literal(schema)}) IS NOT NULL
      THEN has_schema_privilege(to_regnamespace(${literal(schema)}), 'CREATE')
    ELSE has_database_privilege(current_database(), 'CREATE') END)::text`;
}

/**
 * No index but the key's, and room on each page: a heartbeat then rewrites its row in place and touches no index (HOT).
 */
function createTableSql(table: string): string {
  return `CREATE TABLE IF NOT EXISTS ${table} (
  election_group text COLLATE "C" PRIMARY KEY,
  token bigint NOT NULL,
  term_id text NOT NULL,
  participant_id text NOT NULL,
  acquired_at timestamptz NOT NULL,
  heartbeat_at timestamptz NOT NULL,
  timeout_ms float8 NOT NULL,
  expires_at timestamptz NOT NULL,
  metadata text NOT NULL,
  released_by text NOT NULL DEFAULT '',
  released_call bigint NOT NULL DEFAULT 0
) WITH (fillfactor = 50)`;
}

function hash(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 32);
}
