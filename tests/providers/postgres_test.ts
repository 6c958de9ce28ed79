/** The PostgreSQL provider against a real server. */

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, test } from "node:test";
import pg from "pg";
import { type PostgresOptions, postgresProvider } from "../../providers/postgres.ts";
import { buildStatements, quoteIdentifier } from "../../providers/postgres/statements.ts";
import { ProviderError } from "../../src/errors.ts";
import { openProvider } from "../../src/registry.ts";
import type { Acquired, Held, Lease, Provider } from "../../src/provider.ts";
import { conformanceCases } from "../../testing/conformance.ts";
import { backend, detourTo } from "../servers/backend.ts";
import { until } from "../until.ts";
import { whileLocked } from "./postgres/support.ts";

interface Row {
  readonly [column: string]: unknown;
}

/** What `pg` offers and these tests use. Its package brings no types. */
interface Client {
  connect(): Promise<unknown>;
  query(text: string, values?: unknown[]): Promise<{ rows: Row[] }>;
  end(): Promise<void>;
}

const { Client, Pool } = pg as unknown as {
  Client: new (url: string) => Client;
  Pool: new (options: Record<string, unknown>) => {
    connect(): Promise<never>;
    query: Client["query"];
    end(): Promise<void>;
    readonly ended: boolean;
  };
};

test("postgresProvider() throws, when a name or parameter is not usable", () => {
  assert.equal(quoteIdentifier("table", 'a"b'), '"a""b"');
  assert.throws(() => postgresProvider({ table: "x".repeat(64) }), RangeError);
  assert.throws(() => postgresProvider({ schema: "\u00e4".repeat(32) }), /64/);
  assert.throws(() => postgresProvider({ schema: "" }), RangeError);
  assert.throws(() => postgresProvider({ table: "a\0b" }), RangeError);
  assert.throws(() => postgresProvider({ poolSize: 0 }), RangeError);
  assert.throws(() => postgresProvider({ url: "postgres://h/db?poolSize=many" }), /poolSize/);
  assert.throws(() => postgresProvider({ url: "postgres://h/db?autoCreate=perhaps" }), /autoCreate/);
  assert.throws(() => postgresProvider({ url: "postgres://h/db?statementTimeout=soon" }), /statementTimeout/);
});

test("buildStatements() names a statement by its text", () => {
  const one = buildStatements("public", "one");
  const two = buildStatements("public", "two");
  assert.notEqual(one.acquire.name, two.acquire.name);
  assert.equal(one.acquire.name, buildStatements("public", "one").acquire.name);
  assert.ok(one.acquire.name.length <= 63 && one.channel.length <= 63);
});

const server = backend("postgres");
if (server !== null) testServer(server.url);

function testServer(url: string): void {
  const opened: Provider[] = [];
  const admin = new Client(url);
  let connected: Promise<unknown> | null = null;
  after(async () => {
    for (const provider of opened) await provider[Symbol.asyncDispose]();
    if (connected) await admin.end();
  });

  async function sql(text: string, values: unknown[] = []): Promise<Row[]> {
    await (connected ??= admin.connect());
    return (await admin.query(text, values)).rows;
  }
  function open(options: PostgresOptions = {}): Provider {
    const provider = postgresProvider({ url, ...options });
    opened.push(provider);
    return provider;
  }
  /** A table of the test's own, so that what the server counts is the test's. */
  const newTable = () => `t_${randomUUID().replaceAll("-", "")}`;
  const soon = () => ({ signal: AbortSignal.timeout(20_000) });

  async function lead(provider: Provider, electionGroup: string, heartbeatTimeout = 60_000): Promise<Lease> {
    const answer = await acquire(provider, electionGroup, heartbeatTimeout);
    assert.ok(answer.acquired);
    return answer.lease;
  }
  function acquire(
    provider: Provider,
    electionGroup: string,
    heartbeatTimeout = 60_000,
    options = soon(),
  ): Promise<Acquired | Held> {
    const request = { electionGroup, participantId: "p", termId: randomUUID(), heartbeatTimeout, metadata: {} };
    return provider.acquire(request, options);
  }

  /** How many statements about `table` the server has executed; null where it does not count. */
  async function statements(table: string): Promise<number | null> {
    try {
      await sql("CREATE EXTENSION IF NOT EXISTS pg_stat_statements");
      const [row] = await sql(
        "SELECT coalesce(sum(calls), 0)::int AS calls FROM pg_stat_statements WHERE query LIKE $1 OR query LIKE $2",
        // The server keeps texts without their literals, and the check names the table in one.
        [`%${table}%`, "%has_table_privilege(to_regclass%"],
      );
      return Number(row?.calls);
    } catch {
      return null;
    }
  }

  for (
    const { name, run } of conformanceCases({
      name: "postgres",
      open: () => open(),
      faults: server?.faults ?? {},
      ...detourTo("postgres", (detour) => open({ url: detour })),
    })
  ) {
    test(name, run);
  }

  test("every operation is one statement", async (t) => {
    const table = newTable();
    const provider = open({ table, listen: false });
    const lease = await lead(provider, "g");
    const calls: [string, () => Promise<unknown>][] = [
      ["acquire won", () => acquire(provider, "other")],
      ["acquire held", () => acquire(provider, "g")],
      ["renew", () => provider.renew(lease, soon())],
      ["renew lost", () => provider.renew({ ...lease, termId: "x" }, soon())],
      ["read", () => provider.read("g", soon())],
      ["groups", async () => assert.deepEqual((await provider.groups?.(soon()))?.sort(), ["g", "other"])],
      ["healthCheck", () => provider.healthCheck(soon())],
      ["release", () => provider.release(lease, soon())],
    ];
    for (const [name, call] of calls) {
      const before = await statements(table);
      if (before === null) return t.skip("the server has no pg_stat_statements");
      await call();
      assert.equal(await statements(table), before + 1, name);
    }
  });

  test("renew() sends one statement for many leases, when they fall due together", async (t) => {
    const table = newTable();
    const provider = open({ table });
    const leases = await Promise.all(Array.from({ length: 1_000 }, (_, i) => lead(provider, `g${i}`)));
    const before = await statements(table);
    const outcomes = await Promise.all(leases.map((lease) => provider.renew(lease, soon())));
    assert.ok(outcomes.every((outcome) => outcome === "renewed"));
    const counted = await statements(table);
    if (before === null || counted === null) return t.skip("the server has no pg_stat_statements");
    assert.ok(counted - before <= 10, `${counted - before} statements`);
    // A session tells what it counted when it ends.
    await provider[Symbol.asyncDispose]();
    await until("counted", async () => {
      const [row] = await sql("SELECT n_tup_upd, n_tup_hot_upd FROM pg_stat_user_tables WHERE relname = $1", [table]);
      const [updates, hot] = [Number(row?.n_tup_upd), Number(row?.n_tup_hot_upd)];
      // Rows are rewritten on their own page, without touching an index.
      if (updates >= 1_000) assert.ok(hot >= updates * 0.9, `${hot} of ${updates} updates were HOT`);
      return updates >= 1_000;
    });
  });

  test("renew() gives each lease its own outcome, when their heartbeats travel together", async () => {
    const provider = open({ table: newTable() });
    const [kept, gone, expired] = [
      await lead(provider, "a"),
      await lead(provider, "b"),
      await lead(provider, "c", 100),
    ];
    await provider.release(gone, soon());
    await until("expired", async () => await provider.read("c", soon()) === null);
    const aborted = new AbortController();
    const calls = [
      provider.renew(kept, soon()),
      provider.renew(gone, soon()),
      provider.renew(expired, soon()),
      provider.renew(kept, { ...soon(), metadata: { quote: `'"\\` } }),
      provider.renew(kept, { signal: aborted.signal, metadata: { late: "1" } }),
    ];
    aborted.abort(new Error("enough"));
    const results = await Promise.allSettled(calls);
    assert.deepEqual(results.slice(0, 4).map((each) => each.status === "fulfilled" && each.value), [
      "renewed",
      "lost",
      "lost",
      "renewed",
    ]);
    assert.equal(results[4]?.status === "rejected" && results[4].reason.message, "enough");
  });

  test("renew() leaves out a row that another session has locked, and renews the others", async () => {
    const table = newTable();
    const provider = open({ table });
    const leases = [await lead(provider, "a"), await lead(provider, "b"), await lead(provider, "c")];
    await whileLocked(url, `SELECT FROM ${table} WHERE election_group = 'b' FOR UPDATE`, async () => {
      const results = await Promise.allSettled(leases.map((lease) => provider.renew(lease, soon())));
      assert.deepEqual(results.map(({ status }) => status), ["fulfilled", "rejected", "fulfilled"]);
      const [, locked] = results;
      assert.ok(locked?.status === "rejected" && locked.reason instanceof ProviderError);
      assert.match(locked.reason.message, /Cannot renew the lease in postgres "b": another session has locked/);
    });
    // A row that is locked for a moment only is waited for, and the others do not wait with it.
    let waiting: Promise<unknown>[] = [];
    await whileLocked(url, `SELECT FROM ${table} WHERE election_group = 'b' FOR UPDATE`, async () => {
      waiting = leases.map((lease) => provider.renew(lease, soon()));
      const others = Promise.all([waiting[0], waiting[2]]);
      assert.deepEqual(await Promise.race([others, waiting[1]]), ["renewed", "renewed"]);
    });
    assert.equal(await waiting[1], "renewed");
    assert.equal(await provider.renew(leases[1] as Lease, soon()), "renewed");
  });

  test("acquire() neither writes nor waits for a lock, when the lease is held", async () => {
    const table = newTable();
    const provider = open({ table });
    const lease = await lead(provider, "g");
    const version = () => sql(`SELECT ctid, xmin, xmax FROM ${table}`);
    const before = await version();
    await whileLocked(url, `SELECT FROM ${table} FOR UPDATE`, async () => {
      const answer = await acquire(provider, "g");
      assert.ok(!answer.acquired);
      assert.equal(answer.leader?.termId, lease.termId);
    });
    await acquire(provider, "g");
    const [[was], [is]] = [before, await version()];
    assert.deepEqual([is?.ctid, is?.xmin], [was?.ctid, was?.xmin]);
  });

  test("acquire() is ended by the server, when it waits for a lock longer than statementTimeout", async () => {
    const table = newTable();
    const provider = open({ table, statementTimeout: "300ms" });
    await provider.release(await lead(provider, "g"), soon());
    await whileLocked(url, `SELECT FROM ${table} FOR UPDATE`, async () => {
      await assert.rejects(acquire(provider, "g"), /another session has locked the row/);
      // The same for a caller that does not wait for the answer.
      await assert.rejects(acquire(provider, "g", 60_000, { signal: AbortSignal.timeout(100) }));
      await until("ended", async () => {
        const active = await sql(
          "SELECT FROM pg_stat_activity WHERE state = 'active' AND query LIKE $1 AND pid <> pg_backend_pid()",
          [`%${table}%`],
        );
        return active.length === 0;
      });
    });
    assert.equal(await provider.read("g", soon()), null);
  });

  test("acquire() is not sent later, when it is aborted while it waits for a connection", async () => {
    const table = newTable();
    const provider = open({ table, poolSize: 1, listen: false });
    await lead(provider, "first");
    await whileLocked(url, `LOCK TABLE ${table} IN ACCESS EXCLUSIVE MODE`, async () => {
      const stop = new AbortController();
      const calls: Promise<unknown>[] = [];
      for (let i = 0; i < 20; i++) {
        calls.push(acquire(provider, `g${i}`, 60_000, { signal: stop.signal }));
        // Those of one turn would travel together.
        await new Promise((resolve) => setImmediate(() => setImmediate(resolve)));
      }
      await until("waiting", async () => (await sql(`SELECT FROM pg_locks WHERE NOT granted`)).length >= 1);
      stop.abort(new Error("enough"));
      for (const result of await Promise.allSettled(calls)) {
        assert.equal(result.status === "rejected" && result.reason.message, "enough");
      }
    });
    await lead(provider, "last");
    const groups = await provider.groups?.(soon()) ?? [];
    // Two connections had a statement under way. Those may count; what was behind them in the queue must not.
    assert.ok(groups.length <= 4, groups.join());
  });

  test("acquire() creates schema and table once, when ten start at the same time", async () => {
    const schema = `s "${randomUUID()}" '\u00e4`;
    const table = `t "'; DROP TABLE x; --`;
    const providers = Array.from({ length: 10 }, () => open({ schema, table }));
    const answers = await Promise.all(providers.map((provider) => acquire(provider, "g")));
    assert.equal(answers.filter(({ acquired }) => acquired).length, 1);
    for (const provider of providers) await provider.healthCheck(soon());
  });

  test("acquire() works for a role without CREATE, when the table exists", async () => {
    const [schema, role] = [newTable(), newTable()];
    await sql(
      `CREATE SCHEMA ${schema}; CREATE ROLE ${role} LOGIN PASSWORD 'role-secret'; GRANT USAGE ON SCHEMA ${schema} TO ${role}`,
    );
    const roleUrl = new URL(url);
    roleUrl.username = role;
    roleUrl.password = "role-secret";
    const provider = open({ url: roleUrl, schema });
    const refused = await acquire(provider, "g").then(() => null, (error) => error);
    assert.ok(refused instanceof ProviderError);
    assert.match(refused.message, /permission denied.*CREATE TABLE IF NOT EXISTS/s);
    assert.doesNotMatch(refused.message, /role-secret/);
    await assert.rejects(provider.healthCheck(soon()), /lacks a privilege.*CREATE/);
    // Nobody leads where there is no table, and a reader creates none.
    assert.equal(await provider.read("g", soon()), null);
    assert.deepEqual(await provider.groups?.(soon()), []);
    await open({ schema }).healthCheck(soon());
    await lead(open({ schema }), "made-by-the-owner");
    await assert.rejects(provider.healthCheck(soon()), /lacks a privilege.*SELECT, INSERT and UPDATE/);
    await sql(`GRANT SELECT, INSERT, UPDATE ON ${schema}.multilock_leases TO ${role}`);
    await provider.healthCheck(soon());
    await lead(provider, "g");
    await assert.rejects(acquire(open({ schema, table: "no", autoCreate: false }), "g"), /"no" does not exist/);
  });

  test("acquire() says that the server is read-only, when it is", async () => {
    const table = newTable();
    await lead(open({ table }), "g");
    const provider = open({
      table,
      url: `${url}?options=${encodeURIComponent("-c default_transaction_read_only=on")}`,
    });
    await assert.rejects(acquire(provider, "g"), /the server is read-only: a standby/);
    await assert.rejects(provider.healthCheck(soon()), /the server is read-only/);
    await provider.read("g", soon());
  });

  test("acquire() commits to disk, when the session would not", async () => {
    const table = newTable();
    await lead(open({ table }), "g");
    const { acquire, renew, renewLocked, renewOne, release } = buildStatements("public", table);
    const statements: [{ text: string }, unknown[]][] = [
      [acquire, ["h", "t", "p", 1_000, "{}", "0", null, [null, null], "a", 1]],
      [renewOne, ["h", "t", 1_000, null, "0"]],
      [renew, [["h"], ["t"], [1_000], [null], [null], [null]]],
      [renewLocked, [["h"], ["t"], [1_000], [null], [null], [null], "0"]],
      [release, ["h", "t", "0", "a", 1, ""]],
    ];
    const client = new Client(url);
    await client.connect();
    await client.query("SET synchronous_commit = off");
    for (const [{ text }, values] of statements) {
      await client.query("BEGIN");
      assert.equal((await client.query(text, values)).rows.length, 1);
      assert.deepEqual((await client.query("SHOW synchronous_commit")).rows, [{ synchronous_commit: "on" }]);
      await client.query("COMMIT");
    }
    await client.end();
  });

  test("watch() yields when another releases, and rejects when its connection breaks", async () => {
    const table = newTable();
    const [leader, follower] = [open({ table }), open({ table })];
    const stop = new AbortController();
    const lease = await lead(leader, "g");
    const hints = follower.watch?.("g", { signal: stop.signal })[Symbol.asyncIterator]();
    const elsewhere = follower.watch?.("h", { signal: stop.signal })[Symbol.asyncIterator]();
    assert.ok(hints && elsewhere);
    assert.equal((await hints.next()).done, false);
    assert.equal((await elsewhere.next()).done, false);
    const [hint, none] = [hints.next(), elsewhere.next()];
    await leader.release(lease, soon());
    const late = new Promise<never>((_, reject) =>
      soon().signal.addEventListener("abort", () => reject(new Error("late")))
    );
    assert.equal((await Promise.race([hint, late])).done, false);
    const listening = "FROM pg_stat_activity WHERE query LIKE $1 AND pid <> pg_backend_pid()";
    const channel = [`LISTEN "${buildStatements("public", table).channel}"`];
    assert.equal((await sql(`SELECT pid ${listening}`, channel)).length, 1, "both groups share one connection");
    const broken = assert.rejects(none, ProviderError);
    await sql(`SELECT pg_terminate_backend(pid) ${listening}`, channel);
    await broken;
    await assert.rejects(hints.next(), ProviderError);
    // A new one listens again.
    const again = follower.watch?.("g", { signal: stop.signal })[Symbol.asyncIterator]();
    assert.equal((await again?.next())?.done, false);
    stop.abort();
    assert.equal((await again?.next())?.done, true);
    await until("closed", async () => (await sql(`SELECT ${listening}`, channel)).length === 0);
  });

  test("postgresProvider() uses the pool that it is given, and leaves it open", async () => {
    const pool = new Pool({ connectionString: url, max: 2 });
    const provider = open({ pool, table: newTable() });
    await lead(provider, "g");
    await provider[Symbol.asyncDispose]();
    await assert.rejects(acquire(provider, "g"), /the provider is closed/);
    assert.equal((await pool.query("SELECT 1")).rows.length, 1);
    await pool.end();
  });

  test("openProvider() takes the settings from the URL", async () => {
    const table = newTable();
    const provider = await openProvider(`${url}?table=${table}&schema=public&listen=false&prepare=false&poolSize=1`);
    opened.push(provider);
    assert.equal(provider.capabilities.watch, false);
    assert.equal(provider.watch, undefined);
    await lead(provider, "g");
    assert.equal((await sql(`SELECT FROM ${table}`)).length, 1);
  });

  test("acquire() does not tell the password, when it fails", async () => {
    const wrong = new URL(url);
    wrong.password = "wrong-secret";
    const error = await acquire(open({ url: wrong }), "g").then(() => null, (error) => error);
    assert.ok(error instanceof ProviderError);
    assert.doesNotMatch(`${error.message} ${error.stack}`, /wrong-secret/);
  });
}
