/** Defects of the PostgreSQL provider. */

import type { ProviderMutant } from "../provider_mutant.ts";

const PROVIDER = "providers/postgres.ts";
const STATEMENTS = "providers/postgres/statements.ts";
const LEASES = "providers/postgres/leases.ts";
const JOINED = "providers/kit/joined_calls.ts";
const HEARTBEATS = "providers/postgres/heartbeats.ts";
const RENEWALS = "providers/kit/renewals.ts";
const CONNECTIONS = "providers/postgres/connections.ts";
const LANED = "providers/kit/laned_connections.ts";
const LISTENER = "providers/postgres/listener.ts";
const DIALER = "providers/postgres/dialer.ts";
const STATES = "providers/postgres/sql_state.ts";
const TARGET = "providers/postgres/target.ts";
const LANES = "providers/kit/lanes.ts";
const ANSWERS = "providers/kit/answers.ts";

/** By test file: each a name, a file, what is replaced by what, and which tests must notice. */
const BY_FILE: Readonly<Record<string, readonly (readonly [string, string, string, string, string])[]>> = {
  "tests/providers/postgres/heartbeats_test.ts": [
    [
      "outcomes of a batch are told by their place among those still due when the answer comes",
      ...[
        HEARTBEATS,
        "const renewal = sent[Number(ordinal) - 1];",
        "const renewal = due()[Number(ordinal) - 1];",
      ] as const,
      "its own outcome",
    ],
    [
      "the 1,001st heartbeat of a flush is never sent",
      ...[RENEWALS, "start < renewals.length; start", "start < MAX_BATCH; start"] as const,
      "1,001st",
    ],
    [
      "a lease that breaks a constraint fails its whole batch",
      ...[RENEWALS, "isAboutRows(error) && batch.length > 1", "isAboutRows(error) && batch.length < 1"] as const,
      "fails alone",
    ],
    [
      "metadata that is refused costs the heartbeat that goes with it",
      ...[RENEWALS, "if (plain.length > 0) {", "if (plain.length > 9) {"] as const,
      "costs no heartbeat",
    ],
    [
      "half of a batch that failed is dropped",
      ...[
        RENEWALS,
        "[batch.slice(0, middle), batch.slice(middle)]",
        "[batch.slice(0, middle), batch.slice(middle + 1)]",
      ] as const,
      "fails alone",
    ],
    [
      "heartbeats wait among the calls",
      ...[HEARTBEATS, '{ lane: "heartbeats" } as const', '{ lane: "calls" } as const'] as const,
      "does not wait behind followers",
    ],
    [
      "what waits for a row holds up the heartbeats",
      ...[HEARTBEATS, "{ urgent: true } : { lane", '{ lane: "heartbeats" as const } : { lane'] as const,
      "leaves the rows alone",
    ],
    [
      "a single heartbeat waits for its row",
      ...[HEARTBEATS, 'const NO_LOCK_TIMEOUT = "1ms"', 'const NO_LOCK_TIMEOUT = "3s"'] as const,
      "leaves the rows alone",
    ],
    [
      "a batch waits for rows that are locked",
      ...[
        STATEMENTS,
        'renewSql(name, channel, DURABLE, "SKIP LOCKED")',
        'renewSql(name, channel, DURABLE, "")',
      ] as const,
      "leaves the rows alone|has locked",
    ],
    [
      "a release waits behind looks",
      ...[LEASES, "release, values, signal, { urgent: true }", "release, values, signal, {}"] as const,
      "does not wait behind followers",
    ],
    [
      "no connection is kept for heartbeats",
      ...["providers/kit/reserve.ts", "if (!this.isWanted) return false;", "return false;"] as const,
      "keeps its connection",
    ],
    [
      "the connection is asked for only when a heartbeat is due",
      ...[LANED, "void this.#warm().catch(ignore);", "void 0;"] as const,
      "keeps its connection",
    ],
    [
      "a renewal may shorten a lease",
      ...[
        STATEMENTS,
        "greatest(lease.expires_at, clock_timestamp() + ${ms(timeout)}) END",
        "clock_timestamp() + ${ms(timeout)} END",
      ] as const,
      "never shorten",
    ],
    [
      "a renewal may move the last heartbeat back",
      ...[STATEMENTS, '"greatest(lease.heartbeat_at, clock_timestamp())"', '"clock_timestamp()"'] as const,
      "never shorten",
    ],
    [
      "an expiry from before the clock was set back stays",
      ...[
        STATEMENTS,
        "CASE WHEN lease.expires_at > ${full} + ${ms(longest)} THEN ${full} ELSE",
        "CASE WHEN false THEN ${full} ELSE",
      ] as const,
      "never shorten",
    ],
    [
      "a successor inherits the expiry of its predecessor",
      ...[
        STATEMENTS,
        "expires_at = CASE WHEN ${again} THEN ${expiry} ELSE clock_timestamp() + ${ms(`${due}.timeout_ms`)} END",
        "expires_at = ${expiry}",
      ] as const,
      "never shorten",
    ],
    [
      "a renewal counts from when its statement began",
      ...[
        STATEMENTS,
        "greatest(lease.expires_at, clock_timestamp() + ${ms(timeout)}) END",
        "greatest(lease.expires_at, statement_timestamp() + ${ms(timeout)}) END",
      ] as const,
      "counts from when",
    ],
    [
      "a lease that has expired is renewed for one who comes late",
      ...[
        STATEMENTS,
        "AND lease.term_id = $2::text AND lease.expires_at > clock_timestamp()\n  RETURNING",
        "AND lease.term_id = $2::text\n  RETURNING",
      ] as const,
      "renews nothing",
    ],
    [
      "an expired lease is not released",
      ...[
        STATEMENTS,
        "released_call = $5::bigint FROM settings\n  WHERE ",
        "released_call = $5::bigint FROM settings\n  WHERE lease.expires_at > clock_timestamp() AND ",
      ] as const,
      "release() of an expired",
    ],
    [
      "an acquire that comes after its release is granted",
      ...[STATEMENTS, "lease.released_call >= $10::bigint", "lease.released_call > $10::bigint"] as const,
      "after its own release",
    ],
    [
      "a release keeps the term from asking again",
      ...[PROVIDER, "const call = ++this.#calls;", "const call = this.#calls;"] as const,
      "after its own release",
    ],
  ],
  "tests/providers/postgres/joined_test.ts": [
    [
      "looks of one turn go out one by one",
      ...[JOINED, "batch.size < this.#manner.most && !batch.has(key)", "batch.size < 0"] as const,
      "one statement for a thousand",
    ],
    [
      "two looks for one group travel together",
      ...[JOINED, "batch.size < this.#manner.most && !batch.has(key)", "true"] as const,
      "its own answer",
    ],
    [
      "a look that was left open does not say why",
      ...[JOINED, "call.reject(new Error(ROW_LOCKED))", "call.reject(null)"] as const,
      "its own answer",
    ],
    [
      "a look that was left open is not asked for again",
      ...[JOINED, "const PAUSES_MS = [10, 40, 150, 300];", "const PAUSES_MS: number[] = [];"] as const,
      "locked for a moment",
    ],
    [
      "a look that was given up is sent with the others",
      ...[
        JOINED,
        "calls.filter(({ signal }) => !signal.aborted).map(({ request }) => request)",
        "calls.map(({ request }) => request)",
      ] as const,
      "its own answer",
    ],
    [
      "a row that breaks a constraint fails those beside it",
      ...[JOINED, "if (this.#manner.spares(error))", "if (calls.length < 0)"] as const,
      "fails alone",
    ],
    [
      "a row that a policy refuses fails those beside it",
      ...["providers/postgres/sql_state.ts", " || isAgainstPolicy(error);", ";"] as const,
      "a policy refuses",
    ],
    [
      "any number of calls wait for rows at a time, and keep all connections",
      ...[JOINED, "const MOST_WAITING = 1;", "const MOST_WAITING = Infinity;"] as const,
      "not held up",
    ],
    [
      "who has nothing to give back is said to have given it back",
      ...[LEASES, '(_, [outcome]) => outcome === "released" ? outcome : "notHolder"', '() => "released"'] as const,
      "frees none",
    ],
    [
      "many together: a call that its release has overtaken is granted",
      ...[STATEMENTS, "lease.released_call >= ${due}.call", "lease.released_call > ${due}.call"] as const,
      "goes by what each has seen",
    ],
  ],
  "tests/providers/postgres/pools_test.ts": [
    [
      "a connection that listened is left listening when it goes back",
      ...[LISTENER, "this.#client?.release(true);", "this.#client?.release();"] as const,
      "leaves no client behind",
    ],
    [
      "a pool of one is accepted",
      ...[LANES, "if (max < 2) {", "if (max < 1) {"] as const,
      "refuses a pool of one",
    ],
    [
      "two providers on one pool count on the same connections",
      ...[LANES, "if (known !== undefined) return known as unknown as Lanes<C>;", ""] as const,
      "two leaders on a pool",
    ],
    [
      "values are read by the parsers of the user's pool",
      ...[CONNECTIONS, ", types: AS_TEXT };", " };"] as const,
      "makes objects",
    ],
    [
      "the process id is read by the parsers of the user's pool",
      ...[LISTENER, ", types: { getTypeParser: () => String } } as const", " } as const"] as const,
      "makes objects",
    ],
    [
      "a lease is written in a transaction that somebody has left open",
      ...[CONNECTIONS, 'if (status === "I") return;', "if (status !== null) return;"] as const,
      "left open",
    ],
    [
      "a connection with a stale plan goes back to the pool, and the call fails",
      ...[
        STATES,
        "return sqlState(error) === STALE_PLAN || isUnknownStatement(error);",
        "return isUnknownStatement(error);",
      ] as const,
      "columns change",
    ],
    [
      "a watch takes the last connection",
      ...[LANES, "? Math.floor(max / 3) : 0;", "? Math.max(1, Math.floor(max / 3)) : 0;"] as const,
      "takes no connection",
    ],
    [
      "a watch that has ended keeps its place",
      ...[LISTENER, 'this.#closed.signal.addEventListener("abort", leave, { once: true });', ""] as const,
      "takes no connection",
    ],
    [
      "a call that its caller has given up goes on",
      ...[LANED, "const onAbort = () => putBack(false);", "const onAbort = () => putBack(true);"] as const,
      "given up is not used again",
    ],
    [
      "a client that comes after its caller has gone is not given back",
      ...[LANED, "late && client.release()", "late && client"] as const,
      "leaves no client checked out",
    ],
    [
      "a kept connection that breaks is not noticed",
      ...["providers/kit/reserve.ts", 'client.on("error", this.#onBroken);', ""] as const,
      "goes on, when the connection",
    ],
    [
      "closing keeps what was kept",
      ...[
        LANED,
        "    this.#lanes.reserve.remove(this);\n    this.#source.close();",
        "    this.#source.close();",
      ] as const,
      "gives back what it kept",
    ],
  ],
  "tests/providers/postgres/network_deno_test.ts": [
    [
      "a connection whose server became a standby goes back to the pool",
      ...[STATES, "/^(25|08|57P)/", "/^(08|57P)/"] as const,
      "became a standby",
    ],
    [
      "a creation that failed is remembered for ever",
      ...[
        "providers/kit/sql_table.ts",
        ".finally(() => this.#creating = null)",
        ".then(() => void (this.#creating = null))",
      ] as const,
      "CREATE TABLE that is lost",
    ],
    [
      "a creation that hangs is waited for for ever",
      ...[
        "providers/kit/sql_table.ts",
        "AbortSignal.timeout(this.#createTimeout)",
        "AbortSignal.timeout(2 ** 30)",
      ] as const,
      "CREATE TABLE that is lost",
    ],
    [
      "a creation waits for locks on the server for ever",
      ...[
        "providers/postgres/lease_table.ts",
        "SET LOCAL lock_timeout = ${Math.ceil(timeout * 0.8)};",
        "SET LOCAL lock_timeout = 0;",
      ] as const,
      "waits for another session",
    ],
    [
      "a connection for hints is asked nothing",
      ...[LISTENER, "      this.#scheduleQuestion(client);\n    } catch", "    } catch"] as const,
      "dies without a word",
    ],
    [
      "a question without an answer ends nothing",
      ...[LISTENER, "setTimer(silent, interval)", "setTimer(() => {}, interval)"] as const,
      "dies without a word",
    ],
    [
      "a connection for hints is asked once",
      ...[LISTENER, "if (!this.ended) this.#scheduleQuestion(client);", ""] as const,
      "dies without a word",
    ],
    [
      "questions are asked by the longest lease, whatever the leases are",
      ...[LISTENER, "this.#questionInterval = Math.min(this.#questionInterval, interval);", ""] as const,
      "dies without a word",
    ],
    [
      "the first host that answers is taken, standby or not",
      ...[DIALER, 'if (sessionAttrs !== "any") await', 'if (sessionAttrs === "any") await'] as const,
      "of several hosts",
    ],
    [
      "a silent host gets all the time",
      ...[DIALER, "this.#settings.connectTimeout / candidates.length)", "this.#settings.connectTimeout)"] as const,
      "of several hosts",
    ],
    [
      "a hasty call begins with the silent host for ever",
      ...[DIALER, "if (this.#first === index) this.#first = (index + 1) % candidates.length;", ""] as const,
      "of several hosts",
    ],
    [
      "the name to verify is looked up",
      ...[DIALER, "const to = address ?? host;", "const to = address ?? undefined;"] as const,
      "encrypted and verified",
    ],
    [
      "no certificate is verified",
      ...[
        "providers/postgres/tls.ts",
        'if (!libpq || mode === "verify-full") return settings;',
        "if (!libpq) return { ...settings, rejectUnauthorized: false };",
      ] as const,
      "encrypted and verified",
    ],
    [
      "only the first address of a name is tried",
      ...[DIALER, "if (addresses.length < 2) return [byName]", "if (addresses.length > 0) return [byName]"] as const,
      "second address",
    ],
  ],
  "tests/providers/postgres/clock_deno_test.ts": [
    [
      "an expiry counts, whatever the clock says",
      ...[
        STATEMENTS,
        "<= least(${NOW_MS}, ${latest}::float8)",
        "<= ${NOW_MS} AND (${latest}::float8 IS NULL OR true)",
      ] as const,
      "takes no lease",
    ],
    [
      "a clock that was set back is believed as soon as it goes on",
      ...[STATEMENTS, "AND ${NOW_MS} >= coalesce(${earliest}::float8, '-Infinity'))", ")"] as const,
      "between two looks",
    ],
    [
      "a leader's renewals do not tell it the time",
      ...[HEARTBEATS, "if (rows[0] !== undefined) answers.noteTime", "if (sentAt < 0) answers.noteTime"] as const,
      "keeps its term",
    ],
    [
      "a record that stands still is not taken over",
      ...[LEASES, "...[stale, [earliest, latest],", "...[null, [earliest, latest],"] as const,
      "has died before|no dead leader",
    ],
    [
      "a leader believes a step forwards",
      ...[HEARTBEATS, "first ? {", "first || true ? {"] as const,
      "takes no lease",
    ],
    [
      "an expiry hours ahead is passed on",
      ...[
        ANSWERS,
        "expiresIn: this.#evidence.expiresIn(group, Number(left)),",
        "expiresIn: Math.max(Number(left), 0),",
      ] as const,
      "no dead leader",
    ],
    [
      "records are taken for the term's that asks, not for its holder's",
      ...[
        ANSWERS,
        "{ version, heartbeatTimeout: Number(timeout), expired }",
        "{ version, heartbeatTimeout: 3_600_000, expired }",
      ] as const,
      "no dead leader",
    ],
  ],
  "tests/providers/postgres/target_test.ts": [
    [
      "a password with an @ is looked up in DNS",
      ...[TARGET, 'if (hosts.includes("@") || path', "if (path"] as const,
      "not encoded",
    ],
    [
      "a password with a / becomes a database",
      ...[TARGET, '|| path.includes("@") ||', "||"] as const,
      "not encoded",
    ],
    [
      "a password with a ? becomes a setting",
      ...[TARGET, '|| query.includes("@") ||', "||"] as const,
      "not encoded",
    ],
    [
      "the rest of a password is shown as a keyword",
      ...[
        "providers/postgres/key_values.ts",
        'if (!isKnown && previous === "password") throw malformed();',
        "",
      ] as const,
      "shows no password",
    ],
    [
      "settings of the URL win over options",
      ...["providers/postgres/options.ts", "{ ...parameters, ...given }", "{ ...given, ...parameters }"] as const,
      "option win",
    ],
    [
      "a target of many hosts takes any",
      ...[TARGET, 'return hosts > 1 ? "read-write" : "any";', 'return "any";'] as const,
      "several hosts",
    ],
  ],
  "tests/providers/postgres/lanes_test.ts": [
    [
      "a call that has gone keeps its place in the queue",
      ...[LANES, "this.#waiting.splice(this.#waiting.indexOf(onTurn), 1);", ""] as const,
      "Lane lets",
    ],
    [
      "an urgent call waits like the others",
      ...[LANES, "if (urgent) this.#waiting.unshift(onTurn);", "if (urgent) this.#waiting.push(onTurn);"] as const,
      "Lane lets",
    ],
    [
      "more calls are let in than there are places",
      ...[LANES, "if (this.#free > 0) this.#free--;", "if (this.#free > -1) this.#free--;"] as const,
      "Lane lets",
    ],
    [
      "nothing is left for calls",
      ...[LANES, "calls: new Lane(max - heartbeats - hints),", "calls: new Lane(max - hints),"] as const,
      "lanesOf",
    ],
  ],
  "tests/providers/postgres_test.ts": [
    [
      "the version does not change with every write",
      ...[
        STATEMENTS,
        "lease.xmin::text || ' ' || extract(epoch FROM lease.heartbeat_at)::text",
        "lease.term_id",
      ] as const,
      "a lease lives as long as promised",
    ],
    [
      "a lease is committed before it is on disk",
      ...[STATEMENTS, "WHEN 'off' THEN 'on'", "WHEN 'off' THEN 'off'"] as const,
      "commits to disk",
    ],
    [
      "a look takes the lease of another term that is alive",
      ...[
        STATEMENTS,
        "AND NOT ${OVERDUE}\n    AND ${VERSION}",
        "AND ${OVERDUE}\n    AND ${VERSION}",
      ] as const,
      "neither writes",
    ],
    [
      "a take-over keeps the token",
      ...[STATEMENTS, "THEN lease.token ELSE lease.token + 1 END", "THEN lease.token ELSE lease.token END"] as const,
      "token grows",
    ],
    [
      "a call that waited for a connection is sent after its caller has gone",
      ...[
        LANED,
        "const onAbort = () => use.abort(signal.reason);",
        "const onAbort = () => {};",
      ] as const,
      "not sent later",
    ],
    [
      "a release tells nobody",
      ...[
        STATEMENTS,
        'SELECT ${notifySql(channel, "election_group", "\'free  \' || $6::text")} FROM released',
        "SELECT election_group || $6::text FROM released",
      ] as const,
      "watch\\(\\) yields when another",
    ],
    [
      "an expired leader is reported",
      ...[PROVIDER, "leader !== null && leader.expiresIn !== 0 ? leader : null", "leader"] as const,
      "an expired term is over",
    ],
  ],
};

/** Each is noticed by a test against a real server, or by one that needs none. */
export const MUTANTS: readonly ProviderMutant[] = Object.entries(BY_FILE).flatMap(([test, mutants]) =>
  mutants.map(([name, file, find, replace, filter]) => ({ name, file, find, replace, test: { file: test, filter } }))
);
