/**
 * The SQL of the PostgreSQL provider: one statement for each operation. Every time in it is the server's
 * `clock_timestamp()`, which moves on within a statement; no time of a participant is ever sent.
 *
 * @module
 */

import { createHash } from "node:crypto";

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
  /** $1 group, $2 term, $3 participant, $4 timeout in ms, $5 metadata, $6 lock timeout. One row, or none: a race was lost. */
  readonly acquire: Statement;
  /** $1 group, $2 term, $3 timeout in ms, $4 metadata or null, $5 lock timeout. One row if the lease was renewed, else none. */
  readonly renewOne: Statement;
  /** $1 groups, $2 terms, $3 timeouts in ms, $4 metadata or null. Rows `[ordinal, true]` for each
   * that was renewed, and `[ordinal, false]` for each whose lease looks alive, if not all were renewed. */
  readonly renew: Statement;
  /** The same, but waits for rows that others have locked, at most $5. */
  readonly renewLocked: Statement;
  /** $1 group, $2 term, $3 lock timeout. One row if the lease was released, else none. */
  readonly release: Statement;
  /** $1 group. One row, or none. */
  readonly read: Statement;
  /** One row for each group. */
  readonly groups: Statement;
  /** One row: whether the server is read-only, whether the table exists, and whether we may use or create it. */
  readonly check: Statement;
  /** Creates the table. */
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
 * What every write sets for its own transaction only, which needs no session and so works behind a transaction-mode
 * pooler. A commit must be on disk before it is answered, because a crash must not forget a lease.
 */
const DURABLE = `set_config('synchronous_commit',
  CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on' ELSE current_setting('synchronous_commit') END, true)`;

/** Bounds the wait for a row lock: a statement whose caller has given up must not come to life much later. */
const bounded = (parameter: string) => `set_config('lock_timeout', ${parameter}::text, true)`;

/** What becomes a `LeaderInfo`, in this order. Numbers that JavaScript cannot hold travel as text. */
const LEADER = `participant_id, term_id, token::text, (extract(epoch FROM acquired_at) * 1000)::float8,
  (extract(epoch FROM heartbeat_at) * 1000)::float8, metadata,
  (extract(epoch FROM expires_at - clock_timestamp()) * 1000)::float8`;

const ms = (parameter: string) => `${parameter}::float8 * interval '1 millisecond'`;

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
    acquire: statement(acquireSql(name)),
    renewOne: statement(renewOneSql(name)),
    renew: statement(renewSql(name, DURABLE, "SKIP LOCKED")),
    renewLocked: statement(renewSql(name, `${DURABLE}, ${bounded("$5")}`, "")),
    release: statement(releaseSql(name, channel)),
    read: statement(
      `SELECT ${LEADER} FROM ${name} WHERE election_group = $1 AND term_id <> '' AND expires_at > clock_timestamp()`,
    ),
    groups: statement(`SELECT election_group FROM ${name}`),
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
 *    *newest* version: `look` only saves work, and the decision is made under the row lock. So of two takers one wins, and
 *    a renewal that came in between is seen. The loser gets no row at all: `look` is older than the winner.
 *
 * A term that holds the lease already renews it and keeps its token.
 */
function acquireSql(table: string): string {
  const again = "lease.term_id = excluded.term_id AND lease.expires_at > clock_timestamp()";
  return `WITH settings AS MATERIALIZED (SELECT ${DURABLE}, ${bounded("$6")}), look AS MATERIALIZED (
  SELECT * FROM ${table} WHERE election_group = $1::text AND term_id NOT IN ('', $2::text) AND expires_at > clock_timestamp()
), won AS (
  INSERT INTO ${table} AS lease
    (election_group, token, term_id, participant_id, acquired_at, heartbeat_at, expires_at, metadata)
  SELECT $1, 1, $2, $3::text, clock_timestamp(), clock_timestamp(), clock_timestamp() + ${ms("$4")}, $5::text
  FROM settings WHERE NOT EXISTS (SELECT FROM look)
  ON CONFLICT (election_group) DO UPDATE SET
    token = CASE WHEN ${again} THEN lease.token ELSE lease.token + 1 END,
    acquired_at = CASE WHEN ${again} THEN lease.acquired_at ELSE clock_timestamp() END,
    term_id = excluded.term_id,
    participant_id = excluded.participant_id,
    heartbeat_at = clock_timestamp(),
    expires_at = clock_timestamp() + ${ms("$4")},
    metadata = excluded.metadata
  WHERE lease.term_id IN ('', excluded.term_id) OR lease.expires_at <= clock_timestamp()
  RETURNING *
)
SELECT true, ${LEADER} FROM won UNION ALL SELECT false, ${LEADER} FROM look`;
}

/** Renews one lease. The server tests the newest version of the row, also when it had to wait for it. */
function renewOneSql(table: string): string {
  return `WITH settings AS MATERIALIZED (SELECT ${DURABLE}, ${bounded("$5")})
UPDATE ${table} AS lease SET
  heartbeat_at = clock_timestamp(),
  expires_at = clock_timestamp() + ${ms("$3")},
  metadata = coalesce($4::text, lease.metadata)
FROM settings
WHERE lease.election_group = $1::text AND lease.term_id = $2::text AND lease.expires_at > clock_timestamp()
RETURNING true`;
}

/**
 * Renews any number of leases.
 *
 * `mine` locks the rows of those that are still held by their terms. `SKIP LOCKED` passes over a row that somebody else has
 * locked, so that one such row cannot hold up the others, and so that no two batches ever wait for each other. The update
 * then meets only rows that are ours. If some were not renewed, those among them whose lease looks alive as of the start
 * of the statement are named too: they were passed over, and that means unknown. The rest are lost.
 *
 * Those few are asked for again without `SKIP LOCKED`: mostly it was a participant that lost the race for the lease, and
 * holds its lock until its transaction ends. Only the holder of a lease gets as far as locking its row here, so two
 * statements never want the same two rows, and cannot deadlock.
 */
function renewSql(table: string, settings: string, ifLocked: string): string {
  return `WITH settings AS MATERIALIZED (SELECT ${settings}), due AS MATERIALIZED (
  SELECT * FROM unnest($1::text[], $2::text[], $3::float8[], $4::text[])
    WITH ORDINALITY AS due (election_group, term_id, timeout_ms, metadata, ordinal)
), mine AS MATERIALIZED (
  SELECT due.* FROM settings CROSS JOIN due JOIN ${table} AS lease USING (election_group)
  WHERE lease.term_id = due.term_id AND lease.expires_at > clock_timestamp()
  FOR NO KEY UPDATE OF lease ${ifLocked}
), renewed AS (
  UPDATE ${table} AS lease SET
    heartbeat_at = clock_timestamp(),
    expires_at = clock_timestamp() + ${ms("mine.timeout_ms")},
    metadata = coalesce(mine.metadata, lease.metadata)
  FROM mine
  WHERE lease.election_group = mine.election_group AND lease.term_id = mine.term_id
    AND lease.expires_at > clock_timestamp()
  RETURNING mine.ordinal
)
SELECT ordinal::int4, true FROM renewed UNION ALL
SELECT due.ordinal::int4, false FROM due JOIN ${table} AS lease USING (election_group)
WHERE (SELECT count(*) FROM renewed) < cardinality($1)
  AND lease.term_id = due.term_id AND lease.expires_at > clock_timestamp()`;
}

/** Empties the lease, if the term holds it, and tells those that listen. The row stays: it keeps the token. */
function releaseSql(table: string, channel: string): string {
  return `WITH settings AS MATERIALIZED (SELECT ${DURABLE}, ${bounded("$3")}), released AS (
  UPDATE ${table} AS lease SET term_id = '' FROM settings
  WHERE lease.election_group = $1::text AND lease.term_id = $2::text AND lease.expires_at > clock_timestamp()
  RETURNING lease.election_group
)
SELECT pg_notify('${channel}', election_group) FROM released`;
}

function checkSql(schema: string, table: string): string {
  const literal = (text: string) => `'${text.replaceAll("'", "''")}'`;
  const oid = `to_regclass(${literal(table)})`;
  const may = (privilege: string) => `has_table_privilege(${oid}, '${privilege}')`;
  return `SELECT current_setting('transaction_read_only') = 'on', ${oid} IS NOT NULL,
  CASE WHEN ${oid} IS NOT NULL THEN ${["SELECT", "INSERT", "UPDATE"].map(may).join(" AND ")}
    WHEN to_regnamespace(${literal(schema)}) IS NOT NULL
      THEN has_schema_privilege(to_regnamespace(${literal(schema)}), 'CREATE')
    ELSE has_database_privilege(current_database(), 'CREATE') END`;
}

/** No index but the key's, and room on each page: a heartbeat then rewrites its row in place and touches no index (HOT). */
function createTableSql(table: string): string {
  return `CREATE TABLE IF NOT EXISTS ${table} (
  election_group text COLLATE "C" PRIMARY KEY,
  token bigint NOT NULL,
  term_id text NOT NULL,
  participant_id text NOT NULL,
  acquired_at timestamptz NOT NULL,
  heartbeat_at timestamptz NOT NULL,
  expires_at timestamptz NOT NULL,
  metadata text NOT NULL
) WITH (fillfactor = 50)`;
}

function hash(text: string): string {
  return createHash("sha256").update(text).digest("hex").slice(0, 32);
}
