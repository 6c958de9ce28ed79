/** Defects of the MySQL provider. */

import type { ProviderMutant } from "../provider_mutant.ts";

const PROVIDER = "providers/mysql.ts";
const STATEMENTS = "providers/mysql/statements.ts";
const CLIENT = "providers/mysql/client.ts";
const DIALER = "providers/mysql/dialer.ts";
const DRIVER = "providers/mysql/driver.ts";
const FAILURES = "providers/mysql/failures.ts";
const INSPECTION = "providers/mysql/inspection.ts";
const HEARTBEATS = "providers/mysql/heartbeats.ts";
const TABLE = "providers/mysql/lease_table.ts";
const TARGET = "providers/mysql/target.ts";

/** By test file: each a name, a file, what is replaced by what, and which tests must notice. */
const BY_TEST: Readonly<Record<string, readonly (readonly [string, string, string, string, string])[]>> = {
  "tests/providers/mysql_test.ts": [
    [
      "a name in backquotes ends at the first of its own",
      ...[STATEMENTS, 'identifier.replaceAll("`", "``")', "identifier"] as const,
      "throws, when a name",
    ],
    [
      "a schema that is missing is not made",
      ...[TABLE, "if (createSchema === null || !isNoSchema(error)) throw error;", "throw error;"] as const,
      "ten start at the same time",
    ],
    [
      "a wrong password is waited for",
      ...[FAILURES, "const FOR_GOOD = [1044, 1045, ", "const FOR_GOOD = [1044, "] as const,
      "rejects at once",
    ],
  ],
  "tests/providers/mysql/leases_test.ts": [
    [
      "a look waits for the row",
      ...[STATEMENTS, " AND (${FREE} IS NULL OR ${FREE} = 1)", ""] as const,
      "neither writes nor waits",
    ],
    [
      "a late renewal writes its older expiry",
      ...[
        STATEMENTS,
        "expires_at = GREATEST(expires_at, ${NOW} + ${timeout}),",
        "expires_at = ${NOW} + ${timeout},",
      ] as const,
      "shortens no lease",
    ],
    [
      "a late renewal moves the heartbeat back",
      ...[STATEMENTS, "  heartbeat_at = GREATEST(heartbeat_at, ${NOW}),", "  heartbeat_at = ${NOW},"] as const,
      "shortens no lease",
    ],
    [
      "a renewal for less shortens the lease",
      ...[STATEMENTS, "  lease_us = GREATEST(lease_us, ${timeout}),", "  lease_us = ${timeout},"] as const,
      "shortens no lease",
    ],
    [
      "an acquire that is repeated late writes its older expiry",
      ...[STATEMENTS, "IF(${again}, GREATEST(expires_at, ${until}), ${until})", "${until}"] as const,
      "shortens no lease",
    ],
    [
      "an acquire that is repeated late moves the heartbeat back",
      ...[STATEMENTS, "IF(${again}, GREATEST(heartbeat_at, ${NOW}), ${NOW})", "${NOW}"] as const,
      "shortens no lease",
    ],
    [
      "a wait for a row lengthens the lease",
      ...[STATEMENTS, "const until = `${NOW} + ${timeout}`;", "const until = `${CLOCK} + ${timeout}`;"] as const,
      "grants no more than was asked for",
    ],
    [
      "tokens of a table that was emptied begin anew",
      ...[STATEMENTS, "GREATEST(token + 1, ${NOW})", "token + 1"] as const,
      "tokens grow, also when",
    ],
    [
      "tokens are the time alone",
      ...[STATEMENTS, "GREATEST(token + 1, ${NOW})", "${NOW}"] as const,
      "tokens have 64 bits",
    ],
    [
      "a term that asks again gets another token",
      ...[
        STATEMENTS,
        "token = IF(${again}, token, GREATEST(token + 1, ${NOW})),",
        "token = GREATEST(token + 1, ${NOW}),",
      ] as const,
      "tokens grow, also when",
    ],
    [
      "a call that comes after the release of its term takes the lease",
      ...[STATEMENTS, " AND NOT ${late})`;", ")`;"] as const,
      "comes after the release",
    ],
    [
      "an expiry counts by the clock of another server",
      ...[STATEMENTS, "(server = ${SERVER} AND expires_at <= ${believed}", "(expires_at <= ${believed}"] as const,
      "that another server wrote",
    ],
    [
      "a lease of another server is told to be over",
      ...[STATEMENTS, "IF(server = ${SERVER}, expires_at - ${CLOCK}, lease_us)", "(expires_at - ${CLOCK})"] as const,
      "that another server wrote",
    ],
    [
      "a term that asks again at another server gets another token",
      ...[STATEMENTS, "(expires_at > ${NOW} OR server <> ${SERVER})", "expires_at > ${NOW}"] as const,
      "that another server wrote",
    ],
    [
      "a renewal leaves the version",
      ...[STATEMENTS, "version = ${bytes(call)},${metadata", "version = version,${metadata"] as const,
      "changes its version",
    ],
    [
      "a term renews the lease of its successor",
      ...[STATEMENTS, "(${bytes(group)}, ${bytes(term)})`", "(election_group, term_id)`"] as const,
      "nothing of its successor",
    ],
    [
      "a term releases the lease of its successor",
      ...[STATEMENTS, " AND term_id = ${bytes(term)}`,", "`,"] as const,
      "nothing of its successor",
    ],
    [
      "metadata of a late renewal stays",
      ...[STATEMENTS, "AND written > ${ordinal})`;", "AND written > ${ordinal} + 1000000)`;"] as const,
      "dropped",
    ],
    [
      "metadata of a late acquire stays",
      ...[
        STATEMENTS,
        "AND written > ${metadata.ordinal})`;",
        "AND written > ${metadata.ordinal} + 1000000)`;",
      ] as const,
      "dropped",
    ],
    [
      "metadata of one provider is held against the count of another",
      ...[
        STATEMENTS,
        "const outdated = `(written_by = ${bytes(source)} AND written",
        "const outdated = `(1 = 1 AND written",
      ] as const,
      "dropped",
    ],
    [
      "names are compared as the server's collation has it",
      ...[STATEMENTS, "election_group VARBINARY(255)", "election_group VARCHAR(255) CHARACTER SET utf8mb4"] as const,
      "compared by their bytes",
    ],
    [
      "an administrator makes rows on a replica",
      ...[STATEMENTS, "WHERE ${FREE} IS NULL AND ${WRITABLE} = 1`,", "WHERE ${FREE} IS NULL`,"] as const,
      "set read-only",
    ],
    [
      "an administrator takes over on a replica",
      ...[STATEMENTS, "WHERE ${key} AND ${WRITABLE} = 1 AND (${FREE}", "WHERE ${key} AND (${FREE}"] as const,
      "set read-only",
    ],
    [
      "an administrator renews on a replica",
      ...[STATEMENTS, "WHERE ${WRITABLE} = 1 AND ${inGroups(alike)}", "WHERE ${inGroups(alike)}"] as const,
      "set read-only",
    ],
    [
      "an administrator releases on a replica",
      ...[STATEMENTS, "WHERE ${key} AND ${WRITABLE} = 1 AND term_id", "WHERE ${key} AND term_id"] as const,
      "set read-only",
    ],
    [
      "a replica is taken for free of leaders",
      ...[PROVIDER, 'if (writable !== "1") throw new Error(NOT_WRITABLE);', ""] as const,
      "set read-only",
    ],
    [
      "a heartbeat on a replica says nothing of it",
      ...[HEARTBEATS, 'if (writable !== undefined && writable !== "1") throw new Error(NOT_WRITABLE);', ""] as const,
      "set read-only",
    ],
    [
      "a lost race is an error",
      ...[PROVIDER, "if (isBeaten(error)) return null;", ""] as const,
      "is a lost race",
    ],
    [
      "a table that forgets is healthy",
      ...[TABLE, 'name.toLowerCase() !== "innodb"', "name === undefined"] as const,
      "refuses a table that forgets",
    ],
    [
      "a server that flushes nothing is healthy",
      ...[TABLE, 'if (flush === "0") {', 'if (flush === "?") {'] as const,
      "refuses a table that forgets",
    ],
    [
      "rights that are missing are not asked for",
      ...[STATEMENTS, "      ...privileges.map(([, sql]) => sql),\n", ""] as const,
      "a user without CREATE",
    ],
    [
      "a lease that was released has a leader",
      ...[PROVIDER, 'values[4] === "" ?', "values[4] === undefined ?"] as const,
      "is ended by the server",
    ],
  ],
  "tests/providers/mysql/heartbeats_test.ts": [
    [
      "heartbeats read a small table whole",
      ...[
        STATEMENTS,
        "`UPDATE ${table} FORCE INDEX (PRIMARY) SET",
        "`UPDATE ${table} IGNORE INDEX (PRIMARY) SET",
      ] as const,
      "in a small table",
    ],
    [
      "heartbeats with other timeouts get the first one's",
      ...[
        STATEMENTS,
        "metadata === null ? `${timeoutMs} ${earliest} ${latest}` : `${i}`",
        "metadata === null ? `` : `${i}`",
      ] as const,
      "its own outcome",
    ],
    [
      "a heartbeat of an expired lease revives it",
      ...[STATEMENTS, "AND NOT ${overdue(NOW, believed, { earliest, latest }, true)}`;", "`;"] as const,
      "its own outcome",
    ],
    [
      "an expired lease has a leader",
      ...[PROVIDER, "return leader !== null && leader.expiresIn !== 0 ? leader : null;", "return leader;"] as const,
      "its own outcome",
    ],
    [
      "one locked row costs all that travel with it",
      ...[HEARTBEATS, 'if (isLocked(error)) return [[renewal, "unsure"]] as const;', ""] as const,
      "that another session has locked",
    ],
    [
      "heartbeats wait behind looks",
      ...[HEARTBEATS, 'signal, { lane: "heartbeats" })', "signal, {})"] as const,
      "wait for rows on every connection",
    ],
    [
      "a lease that breaks a constraint fails its whole batch",
      ...[
        FAILURES,
        "return isBeaten(error) || ABOUT_ROWS.includes(errorNumber(error));",
        "return isBeaten(error);",
      ] as const,
      "fails alone",
    ],
  ],
  "tests/providers/mysql/refusals_test.ts": [
    [
      "a database that is not there has nobody in it",
      ...[FAILURES, "&& error.sql !== undefined", ""] as const,
      "user, password or database",
    ],
  ],
  "tests/providers/mysql/inspection_test.ts": [
    [
      "a right that is missing is not told from a table that is",
      ...[INSPECTION, "const REFUSED = [1044, 1142, 1143];", "const REFUSED = [1044, 1143];"] as const,
      "names each right",
    ],
    [
      "asking for the right to insert needs another",
      ...[
        STATEMENTS,
        "SELECT X'', ${NOBODY} FROM DUAL WHERE 1 = 0`],",
        "SELECT ${COLUMNS} FROM ${name} WHERE 1 = 0`],",
      ] as const,
      "names each right",
    ],
    [
      "the binary log is taken for written through",
      ...[INSPECTION, "isLogged ? syncOf(syncLog)", "!isLogged ? syncOf(syncLog)"] as const,
      "what a server could forget",
    ],
    [
      "a primary that waits for no replica is taken for one that does",
      ...[INSPECTION, "text: waits\n", "text: !waits\n"] as const,
      "what a server could forget",
    ],
  ],
  "tests/providers/mysql/sessions_test.ts": [
    [
      "a lease is written without autocommit",
      ...[STATEMENTS, '"@multilock_commits": COMMITS, ', ""] as const,
      "left without autocommit",
    ],
    [
      "a lease is written in a transaction, and what is not committed is read",
      ...[CLIENT, "[BY_ITSELF, statement]", "[statement]"] as const,
      "left in a transaction|was not committed",
    ],
    [
      "the sessions of a pool are left with another limit",
      ...[CLIENT, '      "SET SESSION innodb_lock_wait_timeout = @multilock_wait",\n', ""] as const,
      "whatever a session is set to",
    ],
    [
      "a call waits for a row as long as the session of a pool would",
      ...[CLIENT, ", SESSION innodb_lock_wait_timeout = 1", ""] as const,
      "no longer than a second",
    ],
    [
      "values are read as the user's pool reads them",
      ...[CLIENT, "typeCast: AS_TEXT, timeout", "timeout"] as const,
      "makes of values",
    ],
    [
      "a session of its own has the server's autocommit",
      ...[DIALER, "SET SESSION autocommit = 1, innodb", "SET SESSION innodb"] as const,
      "a session of its own",
    ],
    [
      "a session of its own waits for rows as the server has it",
      ...[DIALER, "autocommit = 1, innodb_lock_wait_timeout = 1, ", "autocommit = 1, "] as const,
      "a session of its own",
    ],
    [
      "a session of its own may be read-only",
      ...[DIALER, "REPEATABLE READ, READ WRITE", "REPEATABLE READ"] as const,
      "a session of its own",
    ],
    [
      "a pool that sends no statements together is taken",
      ...[
        DRIVER,
        "connectionConfig.multipleStatements !== true",
        "connectionConfig.multipleStatements === null",
      ] as const,
      "a pool is refused",
    ],
    [
      "a pool that changes statements is taken",
      ...[DRIVER, "if (connectionConfig?.queryFormat !== undefined) {", "if (connectionConfig === null) {"] as const,
      "a pool is refused",
    ],
  ],
  "tests/providers/mysql/clock_deno_test.ts": [
    [
      "a record that stands still is not taken over",
      ...[STATEMENTS, " OR version = ${bytes(evidence.stale)}`", "`"] as const,
      "keeps no dead leader",
    ],
    [
      "a follower believes a step forwards",
      ...[STATEMENTS, "const tooLate = isOwn ?", "const tooLate = isOwn || now !== undefined ?"] as const,
      "takes no lease from its leader",
    ],
    [
      "a follower believes a step back",
      ...[STATEMENTS, " AND ${now} >= ${lowest(earliest)}${tooLate})", "${tooLate})"] as const,
      "taken after a step back",
    ],
    [
      "a leader believes a step forwards",
      ...[STATEMENTS, "latest === null ? NOW : `LEAST(${NOW}, ${highest(latest)})`", "NOW"] as const,
      "takes no lease from its leader",
    ],
    [
      "what a step of the clock has ended is lost at once",
      ...[HEARTBEATS, 'isFirst ? "unsure" : "lost"', '!isFirst ? "unsure" : "lost"'] as const,
      "takes no lease from its leader",
    ],
  ],
  "tests/providers/mysql/network_deno_test.ts": [
    [
      "a call at a server that hangs waits for ever",
      ...[CLIENT, "typeCast: AS_TEXT, timeout };", "typeCast: AS_TEXT, timeout: 0 };"] as const,
      "is not pressed upon",
    ],
    [
      "a connection to a server that hangs is never closed",
      ...[DIALER, "destroy: () => socket.destroy(),", "destroy() {},"] as const,
      "closed, both ways",
    ],
  ],
  "tests/providers/mysql/galera_deno_test.ts": [
    [
      "a certification error is no lost race",
      ...[FAILURES, "const BEATEN = [1213, ", "const BEATEN = ["] as const,
      "Galera",
    ],
    [
      "a node is read that is behind the others",
      ...[DIALER, "/*M!100300 , wsrep_sync_wait = 3 */", ""] as const,
      "Galera",
    ],
    [
      "a node without a majority cannot be inspected",
      ...[
        INSPECTION,
        'const AT_ONCE = "/*M!100300 SET STATEMENT wsrep_sync_wait = 0 FOR */";',
        'const AT_ONCE = "";',
      ] as const,
      "Galera",
    ],
  ],
  "tests/providers/mysql_tls_test.ts": [
    [
      "any authority will do",
      ...[TARGET, 'rejectUnauthorized: sslMode !== "REQUIRED",', "rejectUnauthorized: false,"] as const,
      "takes the server for who",
    ],
    [
      "any name will do",
      ...[TARGET, 'verifyIdentity: sslMode === "VERIFY_IDENTITY",', "verifyIdentity: false,"] as const,
      "takes the server for who",
    ],
    [
      "a server that is not trusted is waited for",
      ...[FAILURES, 'code === "HANDSHAKE_SSL_ERROR" &&', 'code === "?" &&'] as const,
      "takes the server for who",
    ],
    [
      "the name of the certificate is that of the host, whatever is said",
      ...[DIALER, "host: target.tls.servername ?? target.host,", "host: target.host,"] as const,
      "takes the server for who",
    ],
  ],
  "tests/providers/mysql/target_test.ts": [
    [
      "a certificate that is named is not asked for",
      ...[TARGET, '? "VERIFY_IDENTITY" : "DISABLED";', '? "REQUIRED" : "DISABLED";'] as const,
      "knows how to encrypt",
    ],
    [
      "certificates are named and nothing is encrypted",
      ...[TARGET, 'if (mode === "DISABLED" && Object', 'if (mode === "REQUIRED" && Object'] as const,
      "refuses what it cannot use",
    ],
    [
      "a connection in somebody's transaction is used again",
      ...[FAILURES, "IN_TRANSACTION, OUT_OF_RANGE, 1047,", "1047,"] as const,
      "an error tells whether",
    ],
  ],
};

/** Each must be noticed by the tests of the provider. */
export const MUTANTS: readonly ProviderMutant[] = Object.entries(BY_TEST).flatMap(([test, mutants]) =>
  mutants.map(([name, file, find, replace, filter]) => ({ name, file, find, replace, test: { file: test, filter } }))
);
