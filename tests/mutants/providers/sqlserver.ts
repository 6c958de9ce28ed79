/**
 * Defects of the SQL Server provider. Its statements run on PostgreSQL in translation, its driver against a scripted
 * server.
 */

import type { ProviderMutant } from "../provider_mutant.ts";

const STATEMENTS = "providers/sqlserver/statements.ts";
const CONNECTIONS = "providers/sqlserver/connections.ts";
const TURNSTILE = "providers/sqlserver/turnstile.ts";
const PROVIDER = "providers/sqlserver.ts";

/** The tests of the statements that match `filter`. */
function translated(filter: string) {
  return { file: "tests/providers/sqlserver_statements_deno_test.ts", filter };
}

/** The tests of the driver that match `filter`. */
function driven(filter: string) {
  return { file: "tests/providers/sqlserver_driver_test.ts", filter };
}

/** The tests of the parts that match `filter`. */
function parts(filter: string) {
  return { file: "tests/providers/sqlserver_test.ts", filter };
}

/** Defects in the statements. */
const IN_STATEMENTS: readonly ProviderMutant[] = [
  {
    name: "a late renewal writes its older expiry",
    file: STATEMENTS,
    find: 'expires_at = ${larger("expires_at", UNTIL)}',
    replace: "expires_at = ${UNTIL}",
    test: translated("renew() shortens no lease, when it lands after a later renew() of its term"),
  },
  {
    name: "a late renewal moves the heartbeat back",
    file: STATEMENTS,
    find: 'heartbeat_at = ${larger("heartbeat_at", "@now")}',
    replace: "heartbeat_at = @now",
    test: translated("renew() shortens no lease, when it lands after a later renew() of its term"),
  },
  {
    name: "an acquire that is repeated late writes its older expiry",
    file: STATEMENTS,
    find: 'expires_at = ${later("expires_at", UNTIL)}',
    replace: "expires_at = ${UNTIL}",
    test: translated("acquire() shortens no lease, when it lands after a later renew() of its term"),
  },
  {
    name: "an acquire that is repeated late moves the heartbeat back",
    file: STATEMENTS,
    find: 'heartbeat_at = ${later("heartbeat_at", "@now")}',
    replace: "heartbeat_at = @now",
    test: translated("acquire() shortens no lease, when it lands after a later renew() of its term"),
  },
  {
    name: "heartbeats do not move lastHeartbeat",
    file: STATEMENTS,
    find: 'heartbeat_at = ${larger("heartbeat_at", "@now")}',
    replace: "heartbeat_at = heartbeat_at",
    test: translated("renew() moves the expiry and the heartbeat on"),
  },
  {
    name: "a take-over keeps the expiry of the lease that it ends, if that is later",
    file: STATEMENTS,
    find: "`CASE WHEN ${again} AND ${column} > ${value} THEN",
    replace: "`CASE WHEN ${column} > ${value} THEN",
    test: translated("acquire() waits for a standstill and no longer, when the clock was set back by an hour"),
  },
  {
    name: "a renewal leaves the version",
    file: STATEMENTS,
    find: "version = @call${metadata}",
    replace: "version = version${metadata}",
    test: translated("acquire() takes over nothing, when a renewal ends the standstill before it writes"),
  },
  {
    name: "a release leaves the version",
    file: STATEMENTS,
    find: "SET term_id = N'', version = @call, released_by",
    replace: "SET term_id = N'', released_by",
    test: translated("renew() moves the expiry and the heartbeat on"),
  },
  {
    name: "a renewal is told apart by its term alone, not by what the row holds",
    file: STATEMENTS,
    find: "AND term_id = @term AND expires_at >= ${UNTIL}`;",
    replace: "AND term_id = @term AND expires_at > SYSUTCDATETIME()`;",
    test: translated("renew() is lost, when only a call that asked for less was granted"),
  },
  {
    name: "a take-over does not ask whether the clock is believed",
    file: STATEMENTS,
    find: '(expires_at <= @now AND ${epochMs("@now")} >= @earliest AND ${epochMs("@now")} <= @latest)',
    replace: "(expires_at <= @now)",
    test: translated("acquire() waits for a standstill, when the clock was set forwards by an hour"),
  },
  {
    name: "a clock that was set back is believed as soon as it goes on",
    file: STATEMENTS,
    find: '${epochMs("@now")} >= @earliest AND ',
    replace: "",
    test: translated(
      "acquire() waits for a standstill, when the clock was set back and then forwards",
    ),
  },
  {
    name: "a standstill frees nothing",
    file: STATEMENTS,
    find: "OR version = @stale OR ",
    replace: "OR ",
    test: translated("acquire() waits for a standstill and no longer, when the clock was set back by an hour"),
  },
  {
    name: "the write of a take-over is not conditional",
    file: STATEMENTS,
    find: "WHERE election_group = @group AND (${free});",
    replace: "WHERE election_group = @group;",
    test: translated("acquire() takes nothing, when another is granted between its look and its write"),
  },
  {
    name: "a lease that a step has ended cannot be released",
    file: STATEMENTS,
    find: "WHERE election_group = @group AND term_id = @term;\nSELECT 1 AS released",
    replace: "WHERE election_group = @group AND term_id = @term AND expires_at > @now;\nSELECT 1 AS released",
    test: translated("release() frees the lease for all at once"),
  },
  {
    name: "release() compares the group alone",
    file: STATEMENTS,
    find: "WHERE election_group = @group AND term_id = @term;\nSELECT 1 AS released",
    replace: "WHERE election_group = @group;\nSELECT 1 AS released",
    test: translated("renew() and release() change nothing, when another term holds the lease"),
  },
  {
    name: "renew() compares the group alone",
    file: STATEMENTS,
    find: "WHERE election_group = @group AND term_id = @term AND expires_at > @now;",
    replace: "WHERE election_group = @group AND expires_at > @now;",
    test: translated("renew() and release() change nothing, when another term holds the lease"),
  },
  {
    name: "a take-over keeps the token",
    file: STATEMENTS,
    find: 'token = ${kept("token", "token + 1")}',
    replace: "token = token",
    test: translated("acquire() waits for a standstill and no longer"),
  },
  {
    name: "statements open transactions, where the connection is set so",
    file: STATEMENTS,
    find: "`SET IMPLICIT_TRANSACTIONS OFF;\n",
    replace: "`",
    test: translated("a lease is everybody's, when the connections open transactions by themselves"),
  },
  {
    name: "leases are written in a transaction that somebody has left open",
    file: STATEMENTS,
    find: "IF @@TRANCOUNT > 0 THROW ${IN_TRANSACTION}, N'the connection is in a transaction', 1;\n",
    replace: "",
    test: translated("calls fail and write nothing, when somebody has left a transaction open"),
  },
  {
    name: "a collision on a unique index is an error",
    file: STATEMENTS,
    find: "NOT IN (2601, 2627)",
    replace: "NOT IN (2627)",
    test: translated("acquire() takes error 2601 for another's row"),
  },
  {
    name: "late metadata replaces newer",
    file: STATEMENTS,
    find: '"written_by = @source AND written > @written"',
    replace: '"1 = 0"',
    test: translated("renew() with metadata leaves newer metadata alone"),
  },
  {
    name: "metadata of another provider is taken for late",
    file: STATEMENTS,
    find: '"written_by = @source AND written > @written"',
    replace: '"written > @written"',
    test: translated("renew() with metadata leaves newer metadata alone"),
  },
  {
    name: "the metadata of a new term is taken for late",
    file: STATEMENTS,
    find: "${metadataUnless(`${again} AND ${OUTDATED}`)}",
    replace: "${metadataUnless(OUTDATED)}",
    test: translated("acquire() writes its own metadata"),
  },
  {
    name: "a term that asks for less makes the standstill of its lease shorter",
    file: STATEMENTS,
    find: 'lease_ms = ${larger("lease_ms", "@timeout")}',
    replace: "lease_ms = @timeout",
    test: translated("renew() keeps the longer lease"),
  },
  {
    name: "groups are told apart as the database's collation does",
    file: STATEMENTS,
    find: " COLLATE Latin1_General_BIN2",
    replace: "",
    test: parts("buildStatements() quotes names"),
  },
];

/** Defects in how errors are understood, and in what the provider makes of rows. */
const IN_PROVIDER: readonly ProviderMutant[] = [
  {
    name: "a missing table is told by SQL Server's number alone",
    file: "providers/sqlserver/failures.ts",
    find: 'errorNumber(error) === 208 || /\\b(?:relation|schema) "[^"]*" does not exist/.test(wordsOf(error))',
    replace: "errorNumber(error) === 208",
    test: translated("the table is made, when the server is Babelfish"),
  },
  {
    name: "a creation that failed is remembered for ever",
    file: "providers/kit/sql_table.ts",
    find: ".finally(() => this.#creating = null)",
    replace: "",
    test: parts("acquire() creates the table, when that failed before"),
  },
  {
    name: "a demoted primary is not recognized",
    file: "providers/sqlserver/failures.ts",
    find: "[3906, 976,",
    replace: "[976,",
    test: driven("the connections are left, when the server is no primary any more"),
  },
  {
    name: "connections to a demoted primary are kept",
    file: PROVIDER,
    find: "if (isElsewhere(error)) this.#connections.leave();",
    replace: "",
    test: driven("the connections are left, when the server is no primary any more"),
  },
  {
    name: "a server that does not answer is not named",
    file: PROVIDER,
    find: "if (!isTimeout(error)) throw error;",
    replace: "if (isTimeout(error) || !isTimeout(error)) throw error;",
    test: driven("errors name the server and the backend"),
  },
  {
    name: "expiresIn is what the server's clock says",
    file: PROVIDER,
    find: "const expiresIn = this.#evidence.expiresIn(electionGroup, Number(row.expires_in));",
    replace: "const expiresIn = Number(row.expires_in);",
    test: translated("acquire() waits for a standstill and no longer"),
  },
  {
    name: "answers are not noted as evidence",
    file: PROVIDER,
    find: "this.#evidence.note(electionGroup, record, Number(row.server_now), sent);",
    replace: "",
    test: translated("acquire() waits for a standstill"),
  },
  {
    name: "a free row is taken for a record that can stand still",
    file: PROVIDER,
    find: 'row.term_id === ""',
    replace: "row.term_id === null",
    test: parts("acquire() reads the outcome from the row"),
  },
  {
    name: "a row that bears the term is a grant, whatever it holds",
    file: PROVIDER,
    find: "if (row === undefined || Number(row.granted) !== 1) return",
    replace: "if (row === undefined || row.term_id !== termId) return",
    test: translated("acquire() is granted no more than its row holds"),
  },
];

/** Defects in what the connections do. */
const IN_CONNECTIONS: readonly ProviderMutant[] = [
  {
    name: "the driver may open transactions",
    file: CONNECTIONS,
    find: "enableImplicitTransactions: false,",
    replace: "enableImplicitTransactions: null,",
    test: driven("no transaction is opened"),
  },
  {
    name: "a pool that opens transactions is used",
    file: "providers/sqlserver/driver.ts",
    find: "is: (value) => value === true,",
    replace: "is: () => false,",
    test: parts("sqlserverProvider() refuses a pool"),
  },
  {
    name: "a transaction is used for a pool",
    file: "providers/sqlserver/driver.ts",
    find: 'if ("commit" in pool && "rollback" in pool) {',
    replace: 'if ("commit" in pool && "rollback" in pool && !("request" in pool)) {',
    test: parts("sqlserverProvider() refuses a pool"),
  },
  {
    name: "a cancelled batch costs its connection after a second",
    file: CONNECTIONS,
    find: "return patience(2 / 3);",
    replace: "return 1_000;",
    test: driven("a connection is kept, when a slow server acknowledges within the lease"),
  },
  {
    name: "a connection that does not acknowledge is waited for without end",
    file: CONNECTIONS,
    find: "return patience(2 / 3);",
    replace: "return 0;",
    test: driven("a connection whose server does not acknowledge is given up"),
  },
  {
    name: "a call that waited for the first connection is sent after its caller has gone",
    file: CONNECTIONS,
    find: "signal.throwIfAborted();\n    closing.throwIfAborted();\n    const request",
    replace: "closing.throwIfAborted();\n    const request",
    test: driven("a call that waited for the first connection is not sent"),
  },
  {
    name: "each call asks first whether the connection lives",
    file: CONNECTIONS,
    find: 'validateConnection: "socket",',
    replace: "validateConnection: true,",
    test: driven("the driver sends one request for each call"),
  },
  {
    name: "the driver asks for the name of the host",
    file: CONNECTIONS,
    find: 'workstationId: "multilock",',
    replace: "",
    test: { file: "tests/providers/sqlserver_elect_deno_test.ts", filter: "the permissions of the README" },
  },
  {
    name: "connectTimeout is not used",
    file: CONNECTIONS,
    find: "return connectTimeout ?? Math.max",
    replace: "return Math.max",
    test: driven("acquire() rejects within connectTimeout"),
  },
  {
    name: "statementTimeout is not used",
    file: CONNECTIONS,
    find: "requestTimeout: statementTimeout,",
    replace: "",
    test: driven("errors name the server and the backend"),
  },
  {
    name: "the certificate may have any name",
    file: CONNECTIONS,
    find: "...(servername !== undefined && { serverName: servername }),",
    replace: "",
    test: { file: "tests/providers/sqlserver_tls_deno_test.ts", filter: "in TDS" },
  },
  {
    name: "a call that was given up is not cancelled at the server",
    file: CONNECTIONS,
    find: 'signal.addEventListener("abort", cancel);\n    closing',
    replace: "closing",
    test: driven("an aborted call is cancelled at the server"),
  },
  {
    name: "a call that waited for its turn is sent after its caller has gone",
    file: TURNSTILE,
    find: "this.#queue.splice(this.#queue.indexOf(waiter), 1);\n        reject",
    replace: "reject",
    test: { file: "tests/providers/sqlserver_turnstile_test.ts", filter: "Turnstile forgets a call" },
  },
  {
    name: "a call that was given up gives its turn to another, which waits for the same connection",
    file: CONNECTIONS,
    find: "const done = this.#request(signal, work).finally(leave);\n    return await abortable(done, closing);",
    replace:
      "const done = this.#request(signal, work);\n    return await abortable(abortable(done, signal), closing).finally(leave);",
    test: driven("renew() has a connection, when looks that were given up hold theirs"),
  },
  {
    name: "connections are made all at once",
    file: TURNSTILE,
    find: " || busy > this.#connections) return;",
    replace: ") return;",
    test: driven("connections are made one by one"),
  },
  {
    name: "heartbeats wait behind looks",
    file: TURNSTILE,
    find: "const first = this.#queue.findIndex(({ urgent }) => urgent);",
    replace: "const first = this.#queue.findIndex(({ urgent }) => urgent) === 0 ? 0 : -1;",
    test: { file: "tests/providers/sqlserver_turnstile_test.ts", filter: "Turnstile lets heartbeats go first" },
  },
  {
    name: "looks take every connection",
    file: TURNSTILE,
    find: "Math.max(this.#size - 1, 1)",
    replace: "this.#size",
    test: driven("renew() has a connection that looks cannot take"),
  },
  {
    name: "a turn is never given back",
    file: TURNSTILE,
    find: "if (urgent) this.#urgent--;\n    else this.#plain--;",
    replace: "if (!urgent) this.#plain--;",
    test: { file: "tests/providers/sqlserver_turnstile_test.ts", filter: "Turnstile lets heartbeats go first" },
  },
  {
    name: "closing leaves connections to a server that hangs",
    file: CONNECTIONS,
    find: "for (const connection of this.#raw) connection.close();",
    replace: "",
    test: driven("[Symbol.asyncDispose]() closes every connection at once"),
  },
  {
    name: "calls that wait for their turn outlive the provider",
    file: CONNECTIONS,
    find: "this.#turnstile.close(reason);",
    replace: "",
    test: parts("[Symbol.asyncDispose]() ends calls that are under way or wait"),
  },
  {
    name: "the certificate authority is not used",
    file: CONNECTIONS,
    find: "Object.assign(credentials, await readTlsFiles(files));",
    replace: "await readTlsFiles(files);",
    test: { file: "tests/providers/sqlserver_tls_deno_test.ts", filter: "in TDS" },
  },
  {
    name: "host names are looked up by the driver",
    file: CONNECTIONS,
    find: "async connector({ host",
    replace: "async connecting({ host",
    test: { file: "tests/providers/sqlserver_elect_deno_test.ts", filter: "the permissions of the README" },
  },
];

/** Defects in what is read from targets, and in what is told of them. */
const IN_TARGETS: readonly ProviderMutant[] = [
  {
    name: "blanks around = hide a password from redaction",
    file: "src/redact.ts",
    find: "|auth)(\\s*=\\s*)",
    replace: "|auth)(=)",
    test: { file: "tests/connection_string_test.ts", filter: "redact()" },
  },
  {
    name: "a doubled quote ends a password for redaction",
    file: "src/redact.ts",
    find: '`"(?:[^"]|"")*(?:"|$)|',
    replace: '`"[^"]*(?:"|$)|',
    test: { file: "tests/connection_string_test.ts", filter: "redact()" },
  },
  {
    name: "what follows a password without a = is told",
    file: "src/redact.ts",
    find: "(?:;\\s*[^;=\\s][^;=]*(?=;|$))*`",
    replace: "`",
    test: { file: "tests/connection_string_test.ts", filter: "redact()" },
  },
  {
    name: "a doubled quote stays doubled",
    file: "src/connection_string.ts",
    find: `double?.replaceAll('""', '"')`,
    replace: "double",
    test: { file: "tests/connection_string_test.ts", filter: "parseConnectionString()" },
  },
  {
    name: "Address is no name of a server",
    file: "providers/sqlserver/settings.ts",
    find: '["Data Source", "Address", "Addr",',
    replace: '["Data Source", "Addr",',
    test: parts("parseTarget() takes a connection string apart"),
  },
  {
    name: "a setting that nobody knows is accepted",
    file: "providers/sqlserver/settings.ts",
    find: "else if (!IGNORED.has(folded)) refuseUnknown",
    replace: "else if (IGNORED.has(folded)) refuseUnknown",
    test: parts("parseTarget() refuses what it cannot use"),
  },
  {
    name: "Windows authentication is asked for and silently left out",
    file: "providers/sqlserver/settings.ts",
    find: "if (refused === undefined || refused.harmless.test(value)) return;",
    replace: "if (refused === undefined || refused !== undefined) return;",
    test: parts("parseTarget() refuses what it cannot use"),
  },
  {
    name: "seconds of a connection string are taken for milliseconds",
    file: "providers/sqlserver/settings.ts",
    find: "? `${value}s` : value;",
    replace: "? value : value;",
    test: parts("parseTarget() takes a connection string apart"),
  },
  {
    name: "a password that was not encoded names another host",
    file: "providers/sqlserver/target.ts",
    find: 'if (/@/.test(url.pathname + url.search + url.hash) || url.hash !== "") {',
    replace: 'if (url.hash === "#never") {',
    test: parts("parseTarget() refuses what it cannot use"),
  },
  {
    name: "an option that nobody knows is accepted",
    file: PROVIDER,
    find: 'checkOptions("sqlserver", options, OPTIONS);',
    replace: 'checkOptions("sqlserver", {}, OPTIONS);',
    test: parts("parseTarget() refuses what it cannot use"),
  },
];

/** Defects to plant. */
export const MUTANTS: readonly ProviderMutant[] = [
  ...IN_STATEMENTS,
  ...IN_PROVIDER,
  ...IN_CONNECTIONS,
  ...IN_TARGETS,
];
