// deno-lint-ignore-file camelcase -- columns are named as the server names them
/** The SQL Server provider: its parts, and, where there is a server, its conformance. */

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, test } from "node:test";
import {
  type SqlServerOptions,
  type SqlServerPool,
  sqlserverProvider,
  type SqlServerRequest,
} from "../../providers/sqlserver.ts";
import { explain } from "../../providers/sqlserver/lease_table.ts";
import { buildStatements, quoteIdentifier } from "../../providers/sqlserver/statements.ts";
import { isConnectionString, parseTarget } from "../../providers/sqlserver/target.ts";
import { ProviderError } from "../../src/errors.ts";
import { openProvider } from "../../src/registry.ts";
import type { Acquired, Held, Provider } from "../../src/provider.ts";
import { conformanceCases } from "../../testing/conformance.ts";
import { backend } from "../servers/backend.ts";
import { driver } from "./sqlserver/tsql_on_postgres.ts";

const soon = () => ({ signal: AbortSignal.timeout(10_000) });
const statements = buildStatements("dbo", "multilock_leases");

test("parseTarget() takes a URL apart", () => {
  const { config, parameters } = parseTarget(
    "sqlserver://s%40:p%2Fw@db.example.com:1444/my%20app?encrypt=false&TrustServerCertificate=True&packetSize=4096&schema=a]b&poolSize=2",
  );
  assert.deepEqual(config, {
    server: "db.example.com",
    port: 1444,
    user: "s@",
    password: "p/w",
    database: "my app",
    options: { encrypt: false, trustServerCertificate: true, packetSize: 4096 },
  });
  assert.deepEqual(parameters, { schema: "a]b", poolSize: 2 });
  assert.deepEqual(parseTarget("mssql://[::1]?database=d").config, { server: "::1", database: "d", options: {} });
});

test("parseTarget() throws without credentials, when it cannot understand", () => {
  for (
    const bad of ["sqlserver://me:secret@:::/", "mssql://me:secret@h/?autoCreate=maybe", "mssql:me"]
  ) {
    assert.throws(() => parseTarget(bad), (error) => {
      assert.ok(error instanceof TypeError);
      assert.match(error.message, /^Cannot open provider/);
      assert.doesNotMatch(`${error.message}${error.stack}`, /secret/);
      return true;
    });
  }
  assert.throws(() => sqlserverProvider({}), TypeError);
  assert.throws(() => sqlserverProvider({ url: "mssql://h/?poolSize=0" }), RangeError);
  assert.throws(() => sqlserverProvider({ url: "mssql://h/?statementTimeout=soon" }), /statementTimeout/);
});

test("isConnectionString() tells a connection string from a URL", () => {
  for (const yes of ["Server=h;Database=d", "data source=h,1433", "User Id=u;Password=p;Server=tcp:h", " Addr = h"]) {
    assert.ok(isConnectionString(yes), yes);
  }
  for (
    const no of ["sqlserver://h/d?x=1;Server=h", "postgres://h", "DefaultEndpointsProtocol=https;AccountName=a", ""]
  ) {
    assert.ok(!isConnectionString(no), no);
  }
});

test("openProvider() opens URLs and connection strings", async () => {
  for (const target of ["sqlserver://h/d", "mssql://h/d", "Server=h,1433;Database=d;User Id=u;Password=secret"]) {
    await using provider = await openProvider(target);
    assert.equal(provider.name, "sqlserver");
    assert.equal(provider.watch, undefined);
  }
});

test("buildStatements() quotes names and keeps to the T-SQL that every server runs", () => {
  assert.equal(quoteIdentifier("table", "a]b'c"), "[a]]b'c]");
  for (const bad of ["", "x".repeat(129), "a\0b"]) assert.throws(() => quoteIdentifier("table", bad), RangeError);
  const { createTable, findSchema } = buildStatements("o'brien", "t]");
  assert.match(createTable, /OBJECT_ID\(N'\[o''brien\]\.\[t\]\]\]'\)/);
  assert.match(createTable, /CREATE TABLE \[o'brien\]\.\[t\]\]\] \(/);
  assert.equal(findSchema, "SELECT SCHEMA_ID(N'o''brien') AS id");
  for (const [name, sql] of Object.entries(statements)) {
    assert.doesNotMatch(sql, /\bMERGE\b|WAITFOR|\bOUTPUT\b|CREATE OR ALTER|NOCOUNT|\bTRAN\b|\bWITH\b/i, name);
  }
});

test("explain() says what an error means for leases", () => {
  const failed = (number: number, message: string) => Object.assign(new Error(message), { number });
  const explained = (error: Error) => String(explain(error, statements));
  assert.match(explained(failed(3906, "is read-only")), /Leases need the primary/);
  assert.match(explained(failed(33557097, "cannot execute UPDATE in a read-only transaction")), /need the primary/);
  assert.match(explained(failed(229, "denied")), /needs SELECT, INSERT and UPDATE on \[dbo\]/);
  assert.match(explained(failed(262, "denied")), /made by: BEGIN TRY/);
  const other = failed(1205, "deadlock victim");
  assert.equal(explain(other, statements), other);
});

/** Answers from a script, and keeps what it was asked. */
function scripted(...answers: (readonly Record<string, unknown>[] | Error | "hang")[]) {
  const asked: { sql: string; inputs: Record<string, unknown>; types: unknown[] }[] = [];
  let cancelled = 0;
  const pool: SqlServerPool = {
    request(): SqlServerRequest {
      const inputs: Record<string, unknown> = {};
      const types: unknown[] = [];
      async function query(sql: string) {
        asked.push({ sql, inputs, types });
        const answer = answers.shift() ?? [];
        if (answer === "hang") await new Promise(() => {});
        if (answer instanceof Error) throw answer;
        return { recordset: answer as readonly Record<string, unknown>[] };
      }
      return {
        input: (name, type, value) => (types.push(type), inputs[name] = value),
        query,
        batch: query,
        cancel: () => cancelled++,
      };
    },
  };
  const provider = sqlserverProvider({ pool, driver });
  return { provider, asked, cancelled: () => cancelled };
}

const numbered = (number: number) => Object.assign(new Error(`error ${number}`), { number });
const row = {
  participant_id: "p",
  term_id: "t",
  token: "9007199254740993",
  acquired_at: "1700000000123",
  heartbeat_at: "1700000000456",
  metadata: '{"a":"b"}',
  expires_in: "-3",
};
const request = { electionGroup: "g", participantId: "p", termId: "t", heartbeatTimeout: 1_500, metadata: { k: "v" } };

test("acquire() reads the outcome from the row, when the server has answered", async () => {
  const { provider, asked } = scripted([row], [{ ...row, term_id: "other" }], []);
  const won = await provider.acquire(request, soon());
  assert.deepEqual(won, {
    acquired: true,
    lease: {
      electionGroup: "g",
      participantId: "p",
      termId: "t",
      token: 9007199254740993n,
      acquiredAt: new Date(1700000000123),
      heartbeatTimeout: 1_500,
    },
  });
  assert.deepEqual(asked[0], {
    sql: statements.acquire,
    inputs: { group: "g", term: "t", participant: "p", timeout: 1_500, metadata: '{"k":"v"}' },
    types: ["nvarchar(255)", "nvarchar(255)", "nvarchar(255)", "int", "nvarchar(max)"],
  });
  assert.deepEqual(await provider.acquire(request, soon()), {
    acquired: false,
    leader: {
      leaderId: "p",
      termId: "other",
      token: 9007199254740993n,
      leadershipAcquiredAt: new Date(1700000000123),
      lastHeartbeat: new Date(1700000000456),
      metadata: { a: "b" },
      expiresIn: 0,
    },
  });
  assert.deepEqual(await provider.acquire(request, soon()), { acquired: false, leader: null });
  assert.equal(asked.length, 3, "one round trip each");
});

test("acquire() creates the table once, when it is missing for several", async () => {
  const missing = numbered(208);
  const { provider, asked } = scripted(missing, missing, [{ id: null }], numbered(2714), [{ id: 5 }], [], [row], []);
  const answers = await Promise.all([provider.acquire(request, soon()), provider.acquire(request, soon())]);
  assert.deepEqual(answers.map(({ acquired }) => acquired), [true, false]);
  const { acquire, findSchema, createSchema, createTable } = statements;
  assert.deepEqual(asked.map(({ sql }) => sql), [
    ...[acquire, acquire, findSchema, createSchema, findSchema, createTable, acquire, acquire],
  ]);
});

test("acquire() fails, when the table cannot be made", async () => {
  const { provider } = scripted(numbered(208), [{ id: 1 }], numbered(262));
  await assert.rejects(provider.acquire(request, soon()), (error) => {
    assert.ok(error instanceof ProviderError);
    assert.match(error.message, /Cannot acquire the lease in sqlserver "g": the table \[dbo\].* may not create it/);
    return true;
  });
});

test("read() and groups() find nothing, when the table is missing", async () => {
  const { provider, asked } = scripted(numbered(208), numbered(208));
  assert.equal(await provider.read("g", soon()), null);
  assert.deepEqual(await provider.groups?.(soon()), []);
  assert.equal(asked.length, 2);
});

test("calls cancel their request, when they are aborted", async () => {
  const { provider, asked, cancelled } = scripted("hang");
  const stop = new AbortController();
  const call = provider.acquire(request, { signal: stop.signal });
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(asked.length, 1);
  stop.abort(new Error("enough"));
  await assert.rejects(call, /enough/);
  assert.equal(cancelled(), 1);
  await assert.rejects(provider.read("g", { signal: stop.signal }), /enough/);
  assert.equal(asked.length, 1, "nothing was sent for a call that had been aborted");
});

test("[Symbol.asyncDispose]() ends calls that are under way, when the pool is another's", async () => {
  const { provider, cancelled } = scripted("hang");
  const call = provider.read("g", { signal: new AbortController().signal });
  const rejected = assert.rejects(call, /the provider is closed/);
  await new Promise((resolve) => setImmediate(resolve));
  await provider[Symbol.asyncDispose]();
  await rejected;
  assert.equal(cancelled(), 1);
  await assert.rejects(provider.read("g", soon()), /the provider is closed/);
});

const server = backend("sqlserver");
if (server !== null) testServer(server.url);

function testServer(url: string): void {
  const opened: Provider[] = [];
  after(() => Promise.all(opened.map((provider) => provider[Symbol.asyncDispose]())));
  function open(options: SqlServerOptions = {}): Provider {
    const provider = sqlserverProvider({ url, ...options });
    opened.push(provider);
    return provider;
  }
  const acquire = (provider: Provider, electionGroup: string): Promise<Acquired | Held> =>
    provider.acquire({ ...request, electionGroup, termId: randomUUID(), heartbeatTimeout: 60_000 }, soon());

  for (
    const { name, run } of conformanceCases({
      name: "sqlserver",
      open: () => open(),
      faults: server?.faults ?? {},
    })
  ) {
    test(name, run);
  }

  test("acquire() creates schema and table once, when ten start at the same time", async () => {
    const [schema, table] = [`s ${randomUUID()}`.slice(0, 30), `t]'${randomUUID()}`.slice(0, 30)];
    const providers = Array.from({ length: 10 }, () => open({ schema, table }));
    const answers = await Promise.all(providers.map((provider) => acquire(provider, "g")));
    assert.equal(answers.filter(({ acquired }) => acquired).length, 1);
    for (const provider of providers) await provider.healthCheck(soon());
    assert.deepEqual(await providers[0]?.groups?.(soon()), ["g"]);
  });

  test("acquire() tells groups apart by case", async () => {
    const [provider, group] = [open(), randomUUID()];
    assert.ok((await acquire(provider, `${group}-a`)).acquired);
    assert.ok((await acquire(provider, `${group}-A`)).acquired);
  });

  test("acquire() fails, when the table is missing and may not be made", async () => {
    const provider = open({ table: `t${randomUUID()}`, autoCreate: false });
    await assert.rejects(acquire(provider, "g"), ProviderError);
  });
}
