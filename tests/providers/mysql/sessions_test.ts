/** What a session or a server of the user's may be set to, and what a lease must not suffer from it. */

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, test } from "node:test";
import mysql from "mysql2";
import type mysqlPromise from "mysql2/promise";
import { ProviderError } from "../../../src/errors.ts";
import { backend } from "../../servers/backend.ts";
import { acquire, lead, newSession, newTable, plain, Providers, soon, sql, whileLocked } from "./support.ts";
import { until } from "../../until.ts";

const server = backend("mysql");
if (server !== null) testSessions(server.url);

/** Each word that a server takes for `sql_mode`, but for those that stand for several others. */
const MODES = [
  ...["ALLOW_INVALID_DATES", "ANSI_QUOTES", "EMPTY_STRING_IS_NULL", "ERROR_FOR_DIVISION_BY_ZERO"],
  ...["HIGH_NOT_PRECEDENCE", "IGNORE_SPACE", "NO_AUTO_VALUE_ON_ZERO", "NO_BACKSLASH_ESCAPES", "NO_DIR_IN_CREATE"],
  ...["NO_ENGINE_SUBSTITUTION", "NO_UNSIGNED_SUBTRACTION", "NO_ZERO_DATE", "NO_ZERO_IN_DATE", "ONLY_FULL_GROUP_BY"],
  ...["PAD_CHAR_TO_FULL_LENGTH", "PIPES_AS_CONCAT", "REAL_AS_FLOAT", "SIMULTANEOUS_ASSIGNMENT"],
  ...["STRICT_ALL_TABLES", "STRICT_TRANS_TABLES", "TIME_ROUND_FRACTIONAL", "TIME_TRUNCATE_FRACTIONAL", "ORACLE"],
];

/** As the sessions of the tests have it. */
const NUMBERS = { supportBigNumbers: true, bigNumberStrings: true, connectionLimit: 4 };

function testSessions(url: string): void {
  const providers = new Providers();
  after(() => providers.close());

  interface Settings {
    /** Whether the pool is that of `mysql2/promise`. */
    readonly promises?: boolean;
    /** What an application does to each new connection. */
    readonly session?: string;
    readonly options?: Readonly<Record<string, unknown>>;
  }

  /** Runs `work` with a pool such as an application has. */
  async function withPool(
    { promises = true, session = "DO 0", options = {} }: Settings,
    work: (pool: mysqlPromise.Pool) => Promise<void>,
  ): Promise<void> {
    const pool = mysql.createPool({ uri: plain(url), multipleStatements: true, ...NUMBERS, ...options });
    pool.on("connection", (connection) => connection.query(session, () => {}));
    try {
      await work((promises ? pool.promise() : pool) as mysqlPromise.Pool);
    } finally {
      await pool.promise().end();
    }
  }

  for (const promises of [true, false]) {
    test(`a pool of mysql2${promises ? "/promise" : ""} serves every operation`, async () => {
      await withPool({ promises }, async (pool) => {
        const provider = providers.open({ pool: pool as never, table: newTable() });
        const lease = await lead(provider, "g");
        assert.equal(await provider.renew(lease, soon()), "renewed");
        assert.equal((await provider.read("g", soon()))?.token, lease.token);
        assert.deepEqual(await provider.groups?.(soon()), ["g"]);
        assert.equal(await provider.release(lease, soon()), "released");
      });
    });
  }

  test("every operation works, whatever a session is set to, and leaves it as it was", async () => {
    const all = (await sql(url, "SELECT VERSION() AS version"))[0]?.version;
    const foreign = /MariaDB/.test(String(all)) ? /TIME_TRUNCATE/ : /EMPTY|SIMUL|ROUND|ORACLE/;
    const modes = MODES.filter((mode) => !foreign.test(mode));
    const settings = [
      ...modes.map((mode) => `SET SESSION sql_mode = '${mode}'`),
      ...["SET time_zone = '+11:00'", "SET time_zone = '-12:00'", "SET NAMES latin1", "SET NAMES ascii"],
      ...["SET collation_connection = utf8mb4_bin", "SET character_set_results = NULL", "SET sql_safe_updates = 1"],
      "SET SESSION TRANSACTION ISOLATION LEVEL READ UNCOMMITTED",
      "SET SESSION TRANSACTION ISOLATION LEVEL SERIALIZABLE, READ ONLY",
      "SET SESSION innodb_lock_wait_timeout = 17",
    ];
    const table = newTable();
    const seen = "SELECT @@sql_mode, @@time_zone, @@character_set_results, @@innodb_lock_wait_timeout, @@autocommit";
    for (const session of settings) {
      const before = await newSession(url).then(async (other) => {
        await other.query(session);
        const rows = await other.query(seen);
        await other.end();
        return rows;
      });
      await withPool({ session, options: { connectionLimit: 2 } }, async (pool) => {
        const provider = providers.open({ pool: pool as never, table });
        const group = randomUUID();
        const metadata = { text: `'"\\\u00e4\u{1f600}\n` };
        const lease = await lead(provider, group, { metadata });
        const { metadata: read, leaderId } = await provider.read(group, soon()) ?? {};
        assert.deepEqual([read, leaderId], [metadata, "p"], session);
        assert.ok(!(await acquire(provider, group)).acquired);
        assert.equal(await provider.renew(lease, { ...soon(), metadata: { text: "\u20ac" } }), "renewed", session);
        assert.deepEqual((await provider.read(group, soon()))?.metadata, { text: "\u20ac" });
        assert.equal(await provider.release(lease, soon()), "released", session);
        const next = await lead(provider, group);
        assert.ok(next.token > lease.token);
        await provider.healthCheck(soon());
        await provider[Symbol.asyncDispose]();
        assert.deepEqual((await pool.query(seen))[0], before, session);
      });
    }
  });

  test("every operation works, whatever the user's pool makes of values", async () => {
    const options = {
      ...{ rowsAsArray: false, nestTables: "_", dateStrings: true, supportBigNumbers: true, decimalNumbers: true },
      typeCast: () => "something else",
      namedPlaceholders: true,
    };
    await withPool({ options }, async (pool) => {
      const provider = providers.open({ pool: pool as never, table: newTable() });
      const lease = await lead(provider, "g");
      assert.equal(await provider.renew(lease, soon()), "renewed");
      assert.equal((await provider.read("g", soon()))?.token, lease.token);
      assert.deepEqual(await provider.groups?.(soon()), ["g"]);
      assert.equal(await provider.release(lease, soon()), "released");
    });
  });

  test("a pool is refused that sends no statements together, or changes them, or has one connection", async () => {
    for (
      const [options, why] of [
        [{ multipleStatements: false }, /without multipleStatements.*give the provider a URL/],
        [{ queryFormat: (text: string) => text }, /queryFormat/],
        [{ connectionLimit: 1 }, /connectionLimit: 2 or more, or give the provider a URL/],
      ] as const
    ) {
      await withPool({ options }, (pool) => {
        assert.throws(() => providers.open({ pool: pool as never }), why);
        return Promise.resolve();
      });
    }
    assert.throws(() => providers.open({ pool: {} as never }), /must be a Pool of mysql2/);
    assert.throws(() => providers.open({ pool: { getConnection() {} }, url }), /a url or a pool, not both/);
  });

  for (
    const [state, session, why] of [
      ["in a transaction", "BEGIN", /left in a transaction/],
      ["without autocommit", "SET autocommit = 0", /autocommit is off/],
    ] as const
  ) {
    test(`nothing is granted on a connection that somebody has left ${state}`, async () => {
      const table = newTable();
      const committed = providers.open({ url, table });
      const lease = await lead(committed, "held");
      await withPool({ session }, async (pool) => {
        const provider = providers.open({ pool: pool as never, table });
        const calls = [
          () => acquire(provider, "g"),
          () => provider.renew(lease, soon()),
          () => provider.release(lease, soon()),
          () => provider.read("held", soon()),
        ];
        for (const call of calls) {
          await assert.rejects(call, (error) => error instanceof ProviderError && why.test(error.message));
        }
        await provider[Symbol.asyncDispose]();
        assert.deepEqual(await committed.groups?.(soon()), ["held"]);
        assert.equal(await committed.renew(lease, soon()), "renewed");
      });
    });
  }

  test("a pool of the user's is left open, and its connections are given back", async () => {
    await withPool({ options: { connectionLimit: 2 } }, async (pool) => {
      const provider = providers.open({ pool: pool as never, table: newTable() });
      await lead(provider, "g");
      await provider[Symbol.asyncDispose]();
      await assert.rejects(acquire(provider, "g"), /the provider is closed/);
      const both = await Promise.all([pool.getConnection(), pool.getConnection()]);
      for (const connection of both) connection.release();
    });
  });

  test("what was not committed is not read, also where the session would", async () => {
    const table = newTable();
    await lead(providers.open({ url, table }), "g");
    await withPool({ session: "SET SESSION TRANSACTION ISOLATION LEVEL READ UNCOMMITTED" }, async (pool) => {
      const provider = providers.open({ pool: pool as never, table });
      await whileLocked(url, `UPDATE ${table} SET term_id = 'uncommitted', version = 'x'`, async () => {
        assert.notEqual((await provider.read("g", soon()))?.termId, "uncommitted");
        const answer = await acquire(provider, "g");
        assert.ok(!answer.acquired && answer.leader?.termId !== "uncommitted");
      });
    });
  });

  test("a row that is locked is waited for no longer than a second, whatever the session would", async () => {
    const table = newTable();
    const own = providers.open({ url, table });
    await own.release(await lead(own, "g"), soon());
    await withPool({ session: "SET SESSION innodb_lock_wait_timeout = 50" }, async (pool) => {
      const provider = providers.open({ pool: pool as never, table, statementTimeout: "30s" });
      await whileLocked(url, `SELECT * FROM ${table} FOR UPDATE`, async () => {
        await assert.rejects(acquire(provider, "g"), /another session has locked the row/);
      });
    });
  });

  test("a session of its own commits, whatever new sessions are set to", async () => {
    const admin = await newSession(url);
    const table = newTable();
    try {
      await admin.query("SET GLOBAL autocommit = 0, GLOBAL innodb_lock_wait_timeout = 50");
      await admin.query("SET GLOBAL TRANSACTION ISOLATION LEVEL READ UNCOMMITTED, READ ONLY");
      const provider = providers.open({ url, table });
      await lead(provider, "g");
      await lead(provider, "released").then((lease) => provider.release(lease, soon()));
      const rows = await admin.query(`SELECT COUNT(*) AS found FROM ${table} WHERE term_id <> ''`);
      assert.equal(Number(rows[0]?.found), 1);
      await admin.query("SET SESSION TRANSACTION READ WRITE");
      await admin.query(`BEGIN; SELECT * FROM ${table} FOR UPDATE`);
      await assert.rejects(acquire(provider, "released"), /another session has locked/);
      await admin.query("COMMIT");
    } finally {
      await admin.query("SET GLOBAL autocommit = 1");
      await admin.query("SET GLOBAL TRANSACTION ISOLATION LEVEL REPEATABLE READ, READ WRITE");
      await admin.end();
    }
    await until("back to normal", async () => Number((await sql(url, "SELECT @@autocommit AS a"))[0]?.a) === 1);
  });
}
