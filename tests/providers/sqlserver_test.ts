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
import { explain } from "../../providers/sqlserver/failures.ts";
import { buildStatements, quoteIdentifier } from "../../providers/sqlserver/statements.ts";
import { CATALOG } from "../../providers/catalog.ts";
import { parseTarget } from "../../providers/sqlserver/target.ts";
import { ProviderError } from "../../src/errors.ts";
import { openProvider } from "../../src/registry.ts";
import type { Acquired, Held, Provider } from "../../src/provider.ts";
import { conformanceCases } from "../../testing/conformance.ts";
import { backend, detourTo } from "../servers/backend.ts";
import { driver } from "./sqlserver/tsql_on_postgres.ts";

const soon = () => ({ signal: AbortSignal.timeout(10_000) });
const statements = buildStatements("dbo", "multilock_leases");

test("parseTarget() takes a URL apart", () => {
  const { config, tls, address, connectTimeout, options } = parseTarget(
    "sqlserver://s%40:p%2Fw@db.example.com:1444/my%20app?encrypt=false&TrustServerCertificate=True&packetSize=4096" +
      "&schema=a]b&poolSize=2&autoCreate=no&connectTimeout=30s&statementTimeout=700&ca=/a.pem&servername=n&language=de",
  );
  assert.deepEqual(config, {
    server: "db.example.com",
    port: 1444,
    user: "s@",
    password: "p/w",
    database: "my app",
    options: { encrypt: false, trustServerCertificate: true, packetSize: 4096, language: "de" },
  });
  assert.deepEqual(options, { schema: "a]b", poolSize: 2, autoCreate: false, statementTimeout: 700 });
  assert.deepEqual([tls, address, connectTimeout], [{ ca: "/a.pem", servername: "n" }, "db.example.com:1444", 30_000]);
  assert.deepEqual(parseTarget("mssql://[::1]?database=d").config, {
    ...{ server: "::1", database: "d", options: { encrypt: true } },
  });
});

test("parseTarget() takes a connection string apart as ADO.NET does, under each of its names", () => {
  const config = (text: string) => parseTarget(text).config;
  for (
    const [server, expected] of [
      ["Server = h", { server: "h" }],
      ["Data Source=tcp:h,1444", { server: "h", port: 1444 }],
      ["Address=127.0.0.1,1433", { server: "127.0.0.1", port: 1433 }],
      ["addr=.", { server: "localhost" }],
      ["Network Address=(local)", { server: "localhost" }],
      ["NETWORKADDRESS='h , 5'", { server: "h", port: 5 }],
      ["Server=h\\i,5", { server: "h", port: 5 }],
    ] as const
  ) {
    assert.deepEqual(
      config(`${server};Database=d`),
      { ...expected, database: "d", options: { encrypt: true } },
      server,
    );
  }
  assert.deepEqual(config("Server=h\\SQL1"), { server: "h", options: { instanceName: "SQL1", encrypt: true } });
  for (const user of ["User Id", "UID", "User", "userid", "USER ID"]) {
    for (const password of ["Password", "PWD", "pwd"]) {
      for (const database of ["Initial Catalog", "Database"]) {
        const text = `Server=h;${user} = me ; ${password} = "a;b""c" ;${database}= d`;
        assert.deepEqual(config(text), {
          ...{ server: "h", database: "d", user: "me", password: 'a;b"c', options: { encrypt: true } },
        });
      }
    }
  }
  for (const name of ["Connect Timeout", "Connection Timeout", "timeout"]) {
    assert.equal(parseTarget(`Server=h;${name}=30`).connectTimeout, 30_000);
  }
  const more = parseTarget(
    "Server=h;Encrypt=Yes;Trust Server Certificate=yes;Command Timeout=7;Max Pool Size=3;Application Name=a;WSID=w;" +
      "Schema=s;Table=t;Auto Create=no;CA=/x;Host Name In Certificate=n;Server=last;Password=;MultiSubnetFailover=true;" +
      "Persist Security Info=True;MultipleActiveResultSets=False;Pooling=true;Integrated Security=false;" +
      "Transaction Binding=Implicit Unbind;ApplicationIntent=ReadWrite;Failover Partner=",
  );
  assert.deepEqual(more.config, {
    server: "last",
    options: {
      ...{ encrypt: true, trustServerCertificate: true, appName: "a", workstationId: "w", multiSubnetFailover: true },
    },
  });
  assert.deepEqual(more.options, { schema: "s", table: "t", autoCreate: false, statementTimeout: 7_000, poolSize: 3 });
  assert.deepEqual(more.tls, { ca: "/x", servername: "n" });
});

test("parseTarget() knows the ways to log in that the driver has", () => {
  const login = (text: string) => {
    const { server: _, options: __, ...rest } = parseTarget(`Server=h;${text}`).config;
    return rest;
  };
  assert.deepEqual(login("User Id=CORP\\me;Password=x"), { user: "me", password: "x", domain: "CORP" });
  assert.deepEqual(login("Authentication=Sql Password;User=me;Password=x"), { user: "me", password: "x" });
  const entra = (kind: string, options: object) => ({
    authentication: { type: `azure-active-directory-${kind}`, options },
  });
  assert.deepEqual(
    login("Authentication=Active Directory Password;User=me;Password=x;Client Id=c;Tenant Id=t"),
    entra("password", { userName: "me", password: "x", clientId: "c", tenantId: "t" }),
  );
  assert.deepEqual(
    login("Authentication=ActiveDirectoryServicePrincipal;User Id=c;Password=x;Tenant Id=t"),
    entra("service-principal-secret", { clientId: "c", clientSecret: "x", tenantId: "t" }),
  );
  for (const name of ["Active Directory Managed Identity", "Active Directory MSI"]) {
    assert.deepEqual(login(`Authentication=${name};User Id=c`), entra("msi-vm", { clientId: "c" }));
  }
  assert.deepEqual(login("Authentication=Active Directory Default"), entra("default", {}));
});

/** What cannot be used, and why. */
const UNUSABLE: readonly (readonly [string, RegExp])[] = [
  ["Server=h;Trusted_Connection=true", /Trusted_Connection=true.*cannot log in as the user of the process/],
  ["Server=h;Integrated Security=SSPI", /cannot log in as the user of the process/],
  ["Server=h;ApplicationIntent=ReadOnly", /leases need the primary/],
  ["Server=h;Failover Partner=i", /listener/],
  ["Server=h;Authentication=Active Directory Interactive", /known are SqlPassword/],
  ["Server=h;Enable Implicit Transactions=true", /committed at once/],
  ["Server=h;Shema=s", /"Shema": it does not exist; did you mean "schema"/],
  ["Server=h;Poolsise=3", /did you mean "poolSize"/],
  ["Server=h;Encrypt=maybe", /encrypt must be true, false or strict/],
  ["Server=h;Trust Server Certificate=maybe", /must be true or false/],
  ["Server=h;Max Pool Size=many", /must be a whole number/],
  ["Server=np:h", /connects by TCP/],
  ["Server=h,x", /port must be a number/],
  ["Server=;Database=d", /names no host/],
  ['Server=h;Password="secret', /must end with its quote/],
  ["sqlserver://me:secret@h/?shema=s", /did you mean "schema"/],
  ["sqlserver://me:secret@h/?enableImplicitTransactions=true", /committed at once/],
  ["sqlserver://me:secret@h/?trustedConnection=true", /cannot log in/],
  ["sqlserver://h/?table=a&table=b", /"table" is given twice/],
  ["sqlserver://h/?password=secret", /belongs before the "\?"/],
  ["mssql://me:secret@h/?autoCreate=maybe", /must be true or false, is "maybe"/],
  ["mssql://me:secret@h/?connectTimeout=soon", /connectTimeout/],
  ["mssql://me:12?secret@h/d", /percent-encoded/],
  ["mssql://me:12/secret@h/d", /percent-encoded/],
  ["mssql://me:12#secret@h/d", /percent-encoded/],
  ["mssql://me:x@1/secret@h/d", /percent-encoded/],
  ["mssql://me:%secret@h/d", /as %25/],
  ["sqlserver://me:secret@:::/", /neither a URL nor a connection string/],
  ["mssql:me", /names no host|neither/],
];

test("parseTarget() refuses what it cannot use, in words and without credentials", () => {
  for (const [bad, why] of UNUSABLE) {
    assert.throws(() => parseTarget(bad), (error) => {
      assert.ok(error instanceof TypeError);
      assert.match(error.message, /^Cannot open provider/);
      assert.match(error.message, why);
      assert.doesNotMatch(`${error.message}${error.stack}`, /secret/);
      return true;
    }, bad);
  }
  assert.throws(() => sqlserverProvider({}), TypeError);
  assert.throws(
    () => sqlserverProvider({ url: "mssql://h/", shema: "s" } as SqlServerOptions),
    /did you mean "schema"/,
  );
  assert.throws(() => sqlserverProvider({ url: "mssql://h/?poolSize=0" }), RangeError);
  assert.throws(() => sqlserverProvider({ url: "mssql://h/?statementTimeout=soon" }), /statementTimeout/);
});

test("the catalog tells a connection string from a URL", () => {
  for (
    const yes of [
      ...["Server=h;Database=d", "data source=h,1433", "User Id=u;Password=p;Server=tcp:h", " Addr = h"],
      ...[
        "Address=127.0.0.1,1433;Database=app",
        "Server = h;Database=d",
        "Network Address=h",
        'Password="a;b";Server=h',
      ],
      ...['Password="a;Server=b', "SERVER\t=\th"],
    ]
  ) {
    assert.ok(CATALOG.sqlserver.matches(yes), yes);
  }
  for (
    const no of [
      ...["sqlserver://h/d?x=1;Server=h", "postgres://h", "DefaultEndpointsProtocol=https;AccountName=a", ""],
      ...['AccountKey="a;Server=h"', "Host=h;Database=d", "server", "localhost:1433"],
    ]
  ) {
    assert.ok(!CATALOG.sqlserver.matches(no), no);
  }
});

test("openProvider() opens URLs and connection strings", async () => {
  for (
    const target of [
      ...["sqlserver://h/d", "mssql://h/d", "Server=h,1433;Database=d;User Id=u;Password=secret"],
      ...["Address=127.0.0.1,1433;Database=app", "Server = h;Database=d"],
    ]
  ) {
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
  // Names and ids are told apart by their code points, whatever the database's collation.
  assert.equal(createTable.match(/NVARCHAR\(\d+\) COLLATE Latin1_General_BIN2 NOT NULL/g)?.length, 6);
  assert.equal(createTable.match(/NVARCHAR\(\d+\)/g)?.length, 6);
  assert.equal(findSchema, "SELECT SCHEMA_ID(N'o''brien') AS id");
  for (const [name, sql] of Object.entries(statements)) {
    assert.doesNotMatch(sql, /\bMERGE\b|WAITFOR|\bOUTPUT\b|CREATE OR ALTER|NOCOUNT|\bTRAN\b|\bWITH\b/i, name);
  }
});

test("explain() says what an error means for leases, and which server it is about", () => {
  const failed = (number: number, message: string) => Object.assign(new Error(message), { number });
  const explained = (error: Error) => String(explain(error, statements));
  assert.match(explained(failed(3906, "is read-only")), /Leases need the primary/);
  assert.match(explained(failed(33557097, "cannot execute UPDATE in a read-only transaction")), /need the primary/);
  assert.match(explained(failed(33557097, 'relation "dbo.t" does not exist')), /does not exist. It is made by: BEGIN/);
  assert.match(explained(failed(229, "denied")), /needs SELECT, INSERT and UPDATE on \[dbo\]/);
  assert.match(explained(failed(262, "denied")), /made by: BEGIN TRY/);
  assert.match(explained(failed(207, "Invalid column name 'version'")), /is not one of this version/);
  assert.match(explained(failed(51000, "in a transaction")), /has left a transaction open/);
  const other = failed(1205, "deadlock victim");
  assert.equal(explain(other, statements), other);
  assert.equal(String(explain(other, statements, "h:1433")), "Error: deadlock victim, from h:1433");
  const named = failed(0, "Failed to connect to h:1433");
  assert.equal(explain(named, statements, "h:1433"), named);
});

test("sqlserverProvider() refuses a pool in which leases would not be safe", () => {
  const request = () => {
    throw new Error("not here");
  };
  const open = (pool: object) => sqlserverProvider({ pool: pool as SqlServerPool, driver });
  for (
    const [config, why] of [
      [{ options: { enableImplicitTransactions: true } }, /enableImplicitTransactions: a lease in a transaction/],
      [{ options: { readOnlyIntent: true } }, /primary/],
      [{ options: { connectionIsolationLevel: 1 } }, /committed/],
      [{ options: { camelCaseColumns: true } }, /names/],
      [{ options: { columnNameReplacer: String } }, /names/],
      [{ stream: true }, /rows/],
      [{ arrayRowMode: true }, /names/],
    ] as const
  ) {
    assert.throws(() => open({ request, config }), (error) => error instanceof TypeError && why.test(error.message));
  }
  assert.throws(() => open({ request, begin() {}, commit() {}, rollback() {} }), /it is a transaction/);
  assert.throws(() => open({}), /must be a ConnectionPool/);
  open({ request, config: { server: "h", pool: { max: 2 }, options: { enableImplicitTransactions: false } } });
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
  version: "7",
  lease_ms: 1_500,
  server_now: "1700000000500",
  expires_in: "1000",
};
const granted = { ...row, granted: 1 };
const request = { electionGroup: "g", participantId: "p", termId: "t", heartbeatTimeout: 1_500, metadata: { k: "v" } };

test("acquire() reads the outcome from the row, when the server has answered", async () => {
  const { provider, asked } = scripted(
    [granted],
    [{ ...row, term_id: "other" }],
    [],
    [{ ...row, term_id: "other", expires_in: "-3" }],
    [{ ...row, term_id: "", version: "8" }],
  );
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
  const { source, call } = asked[0]?.inputs ?? {};
  for (const id of [source, call]) assert.match(String(id), /^[0-9a-f-]{36}$/);
  assert.deepEqual(asked[0], {
    sql: statements.acquire,
    inputs: {
      ...{ group: "g", term: "t", participant: "p", timeout: 1_500, metadata: '{"k":"v"}' },
      ...{ source, written: 1n, call },
      ...{ stale: "", earliest: -1n, latest: BigInt(Number.MAX_SAFE_INTEGER) },
    },
    types: [
      ...["nvarchar(255)", "nvarchar(255)", "nvarchar(255)", "int", "nvarchar(max)"],
      ...["nvarchar(255)", "bigint", "nvarchar(255)", "nvarchar(255)", "bigint", "bigint"],
    ],
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
      expiresIn: 1_000,
    },
  });
  for (const _ of ["no row", "an expired one", "a free one"]) {
    assert.deepEqual(await provider.acquire(request, soon()), { acquired: false, leader: null });
  }
  assert.equal(asked.length, 5, "one round trip each");
});

test("acquire() creates the table once, when it is missing for several", async () => {
  const missing = numbered(208);
  const { provider, asked } = scripted(
    missing,
    missing,
    [{ id: null }],
    numbered(2714),
    [{ id: 5 }],
    [],
    [granted],
    [],
  );
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

test("acquire() creates the table, when that failed before", async () => {
  const [missing, schema] = [numbered(208), [{ id: 1 }]];
  const { provider } = scripted(missing, schema, numbered(1205), missing, schema, [], [granted]);
  await assert.rejects(provider.acquire(request, soon()), /error 1205/);
  assert.ok((await provider.acquire(request, soon())).acquired);
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

test("[Symbol.asyncDispose]() ends calls that are under way or wait, when the pool is another's", async () => {
  const { provider, asked, cancelled } = scripted(...Array.from({ length: 9 }, () => "hang" as const));
  const calls = Array.from({ length: 9 }, () => provider.read("g", { signal: new AbortController().signal }));
  const rejected = calls.map((call) => assert.rejects(call, /the provider is closed/));
  await new Promise((resolve) => setImmediate(resolve));
  assert.equal(asked.length, 3, "of four connections one is left to heartbeats");
  await provider[Symbol.asyncDispose]();
  await Promise.all(rejected);
  assert.equal(cancelled(), 3);
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
      ...detourTo("sqlserver", (detour) => open({ url: detour })),
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
