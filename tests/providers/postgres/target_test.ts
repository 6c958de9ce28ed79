/** Where the PostgreSQL provider connects to: URLs, and connection strings of Npgsql and libpq. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { type PostgresOptions, postgresProvider } from "../../../providers/postgres.ts";
import { CATALOG } from "../../../providers/catalog.ts";
import { resolveOptions } from "../../../providers/postgres/options.ts";
import { parseTarget } from "../../../providers/postgres/target.ts";
import { readTls } from "../../../providers/postgres/tls.ts";
import { openProvider } from "../../../src/registry.ts";

function thrown(work: () => unknown): Error {
  try {
    work();
  } catch (error) {
    assert.ok(error instanceof TypeError || error instanceof RangeError, String(error));
    return error;
  }
  assert.fail("nothing was thrown");
}

const target = (text: string) => parseTarget(text).target;

test("parseTarget() takes a URL apart", () => {
  const { hosts, user, password, database } = target("postgres://me%40x:p%40%3A%2F%3F%23%25ss@db.example:5433/my%20db");
  assert.deepEqual(hosts, [{ host: "db.example", port: 5433 }]);
  assert.deepEqual([user, password, database], ["me@x", "p@:/?#%ss", "my db"]);
  assert.deepEqual(target("postgresql://[::1]:5433/db").hosts, [{ host: "::1", port: 5433 }]);
  assert.deepEqual(target("postgres://%2Fvar%2Frun/db").hosts, [{ host: "/var/run", port: undefined }]);
  assert.deepEqual(target("postgres://h/db?host=/tmp&port=6000").hosts, [{ host: "/tmp", port: 6000 }]);
  const bare = target("postgres://");
  assert.deepEqual(bare.hosts, [{ host: undefined, port: undefined }]);
  assert.deepEqual([bare.user, bare.password, bare.database], [undefined, undefined, undefined]);
  // One colon ends the user; what follows it is the password's.
  assert.equal(target("postgres://u:a:b@h").password, "a:b");
  assert.equal(target("postgres://u:@h").password, "");
});

test("parseTarget() takes several hosts, and looks for the one that writes", () => {
  const several = target("postgres://u@h1:5432,[::1]:5433,h3/db?target_session_attrs=read-write");
  assert.deepEqual(several.hosts.map(({ host, port }) => `${host} ${port}`), ["h1 5432", "::1 5433", "h3 undefined"]);
  assert.equal(several.sessionAttrs, "read-write");
  assert.equal(target("postgres://h1,h2/db").sessionAttrs, "read-write");
  assert.equal(target("postgres://h1,h2/db?target_session_attrs=any").sessionAttrs, "any");
  assert.equal(target("postgres://h1/db?target_session_attrs=primary").sessionAttrs, "read-write");
  assert.equal(target("postgres://h1/db").sessionAttrs, "any");
  assert.match(thrown(() => target("postgres://h/db?target_session_attrs=standby")).message, /leases need read-write/);
  assert.deepEqual(target("postgres:///db?host=a,b&port=1,2").hosts.map(({ port }) => port), [1, 2]);
});

test("parseTarget() refuses a password that is not encoded, and shows no part of it", () => {
  for (const special of ["@", "/", "?", "#", "%", "%zz", "/a@b", "?x=1&y", "#f@", "@h:1/", "12/34", "?=", "?a=b"]) {
    const password = `top${special}secret`;
    const { message } = thrown(() => postgresProvider({ url: `postgres://me:${password}@db.example:5432/app` }));
    assert.doesNotMatch(message, /top|secret|db\.example/, `with ${special}: ${message}`);
    assert.match(message, /%40.*%25/, special);
  }
  // Digits look like a port, and like no password.
  for (const special of ["/", "?", "#", "@"]) {
    const { message } = thrown(() => target(`postgres://me:1234${special}56@h/db`));
    assert.doesNotMatch(message, /1234|56/, special);
  }
  assert.doesNotMatch(thrown(() => target("postgres://me@h/db#top-secret")).message, /top-secret/);
});

test("parseTarget() refuses settings that nobody knows, and names the nearest", () => {
  assert.match(thrown(() => target("postgres://h/db?shema=locks")).message, /"shema".*did you mean "schema"/);
  assert.match(thrown(() => target("postgres://h/db?sslmod=require")).message, /did you mean "sslmode"/);
  assert.match(thrown(() => target("postgres://h/db?schema=a&schema=b")).message, /twice/);
  assert.match(thrown(() => target("postgres://h/db?sslmode=sometimes")).message, /sslmode.*verify-full/);
  assert.match(thrown(() => target("postgres://h/db?ssl=perhaps")).message, /"ssl"/);
  assert.match(thrown(() => target("postgres://h:99999/db")).message, /65535/);
  assert.match(thrown(() => target("postgres://h/db?connect_timeout=soon")).message, /seconds/);
  const misspelt = { tables: "x" } as PostgresOptions;
  assert.match(thrown(() => postgresProvider(misspelt)).message, /"tables".*did you mean "table"/);
  const { target: known, parameters, connectTimeout } = parseTarget(
    "postgres://h/db?application_name=app&options=-c%20x%3D1&statement_timeout=1&keepalives=1&connect_timeout=3" +
      "&schema=s&table=t&statementTimeout=2s&autoCreate=false&prepare=false&listen=false&poolSize=2&channel_binding=require",
  );
  const driver = { "application_name": "app", options: "-c x=1", "statement_timeout": "1", enableChannelBinding: true };
  assert.deepEqual(known.driver, driver);
  assert.equal(connectTimeout, 3_000);
  const flags = { autoCreate: false, prepare: false, listen: false };
  assert.deepEqual({ ...parameters }, { schema: "s", table: "t", statementTimeout: 2_000, ...flags, poolSize: 2 });
});

test("resolveOptions() lets an option win over the URL, and one that is undefined not", () => {
  const { schema, table } = resolveOptions({ url: "postgres://h/db?schema=a&table=c", schema: "b" });
  assert.deepEqual([schema, table], ["b", "c"]);
  const unset = { url: "postgres://h/db?schema=a", schema: undefined } as unknown as PostgresOptions;
  assert.equal(resolveOptions(unset).schema, "a");
});

test("readTls() gives the modes the meanings that pg gives them", async () => {
  const tls = (query: string) => readTls(target(`postgres://h/db?${query}`).tls);
  assert.equal(await tls(""), undefined);
  assert.equal(await tls("sslmode=disable"), false);
  assert.equal(await tls("ssl=false"), false);
  for (const mode of ["prefer", "require", "verify-ca", "verify-full"]) {
    assert.deepEqual(await tls(`sslmode=${mode}`), {});
  }
  assert.deepEqual(await tls("ssl=true"), {});
  assert.deepEqual(await tls("servername=x"), {});
  assert.deepEqual(await tls("sslrootcert=system"), {});
  for (const each of ["sslmode=no-verify", "ssl=no-verify", "sslmode=require&uselibpqcompat=true"]) {
    assert.deepEqual(await tls(each), { rejectUnauthorized: false }, each);
  }
  await assert.rejects(tls("ca=/no/such/file"), /setting "ca"/);
  await assert.rejects(tls("sslrootcert=/no/such/file"), /setting "ca"/);
  await assert.rejects(tls("cert=/no/such/file"), /together/);
  assert.match(thrown(() => target("postgres://h/db?sslmode=verify-ca&uselibpqcompat=true")).message, /needs ca/);
});

test("parseTarget() takes a connection string of Npgsql", () => {
  const text = 'Host=db.example;Port=5433;Database=app;Username=me;Password="a;b ""c""";SSL Mode=Disable;Timeout=7;' +
    "Application Name=worker;Pooling=true;Maximum Pool Size=5;Schema=locks";
  const { target: { hosts, user, password, database, tls, driver }, parameters, connectTimeout } = parseTarget(text);
  assert.deepEqual(hosts, [{ host: "db.example", port: 5433 }]);
  assert.deepEqual([user, password, database], ["me", 'a;b "c"', "app"]);
  assert.equal(tls.mode, "disable");
  assert.deepEqual(driver, { application_name: "worker" });
  assert.equal(connectTimeout, 7_000);
  assert.deepEqual({ ...parameters }, { schema: "locks" });
  const odd = target(" server = h1:1,h2 ; DB='app';User Id=me;PWD=a=b;Target Session Attributes=Primary;");
  assert.deepEqual(odd.hosts, [{ host: "h1", port: 1 }, { host: "h2", port: undefined }]);
  assert.deepEqual([odd.user, odd.password, odd.database, odd.sessionAttrs], ["me", "a=b", "app", "read-write"]);
  assert.deepEqual(target("Host=h;SslMode=VerifyFull;Root Certificate=/ca.pem").tls, {
    ...{ mode: "verify-full", libpq: true, ca: "/ca.pem" },
  });
  // Npgsql's default: encrypted if the server likes. Nothing that a driver which cannot ask could insist on.
  assert.equal(target("Host=h;SSL Mode=Prefer").tls.mode, undefined);
  assert.equal(target("Host=h").hosts[0]?.host, "h");
});

test("parseTarget() takes a connection string of libpq", () => {
  const { hosts, user, password, database } = target(
    "host=h1,h2 port = 5433 dbname=app user=me password='a \\'b\\' c'",
  );
  assert.deepEqual(hosts, [{ host: "h1", port: 5433 }, { host: "h2", port: 5433 }]);
  assert.deepEqual([user, password, database], ["me", "a 'b' c", "app"]);
});

test("parseTarget() refuses what it cannot do with a connection string, and shows no password", () => {
  for (
    const [text, why] of [
      ["Host=h;Password=top-secret;Integrated Security=true", /"Integrated Security".*client certificates/],
      ["Host=h;Password=top-secret;Search Path=x", /"Search Path".*schema=NAME/],
      ["Host=h;Password=top-secret;Passfile=x", /PGPASSFILE/],
      ["Host=h;Databse=top;Password=top-secret", /"databse".*did you mean "database"/],
      ["Host=h;Password=a;top-secret=x", /in quotes/],
      ["Host=h;Password=a;top-secret", /in quotes/],
      ['Host=h;Password="a"top-secret', /in quotes/],
      ["host=h password=a top-secret", /in quotes/],
      ["host=h password=a top-secret=b", /in quotes/],
      ["top-secret", /in quotes/],
    ] as const
  ) {
    const { message } = thrown(() => postgresProvider({ url: text }));
    assert.match(message, why, text);
    assert.doesNotMatch(message, /top-secret/, text);
  }
  assert.deepEqual(target("Host=h;Integrated Security=false").hosts.length, 1);
});

test("the catalog tells the strings of PostgreSQL from those of others", async () => {
  for (const text of ["Host=h;Database=d", "database=d;host = h", "host=h dbname=d", "Server=h;Port=1;User Id=u"]) {
    assert.ok(CATALOG.postgres.matches(text), text);
    await using provider = await openProvider(text);
    assert.equal(provider.name, "postgres");
  }
  const others = [
    "Server=h;Database=d;User Id=u;Password=p",
    "redis://host=h",
    "AccountName=host",
    "Data Source=host=x",
  ];
  for (const text of others) assert.ok(!CATALOG.postgres.matches(text), text);
});
