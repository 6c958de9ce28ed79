/** The MySQL provider against a real server. */

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { type MysqlOptions, mysqlProvider } from "../../providers/mysql.ts";
import { quoteIdentifier } from "../../providers/mysql/statements.ts";
import { elect } from "../../src/elect.ts";
import { ProviderError } from "../../src/errors.ts";
import { openProvider } from "../../src/registry.ts";
import { conformanceCases } from "../../testing/conformance.ts";
import { backend, detourTo } from "../servers/backend.ts";
import { acquire, lead, newTable, Providers, soon, sql } from "./mysql/support.ts";

test("mysqlProvider() throws, when a name or parameter is not usable", () => {
  const url = "mysql://h/d";
  assert.equal(quoteIdentifier("table", "a`b"), "`a``b`");
  assert.throws(() => mysqlProvider({ url, table: "x".repeat(65) }), RangeError);
  for (const table of ["", "a\0b", "a ", "\u{1f600}"]) assert.throws(() => mysqlProvider({ url, table }), RangeError);
  assert.throws(() => mysqlProvider({ url, poolSize: 0 }), RangeError);
  assert.throws(() => mysqlProvider({ url: `${url}?poolSize=many` }), /poolSize/);
  assert.throws(() => mysqlProvider({ url: `${url}?autoCreate=perhaps` }), /autoCreate/);
  assert.throws(() => mysqlProvider({ url: `${url}?statementTimeout=soon` }), /statementTimeout/);
  assert.throws(() => mysqlProvider({ url, shema: "s" } as MysqlOptions), /did you mean "schema"/);
  assert.throws(() => mysqlProvider({}), /needs a url or a pool/);
  assert.throws(() => mysqlProvider({ url: "mysql://h" }), /name a database/);
});

const server = backend("mysql");
if (server !== null) testServer(server.url);

function testServer(url: string): void {
  const providers = new Providers();
  after(() => providers.close());
  const open = (options: MysqlOptions = {}) => providers.open({ url, ...options });

  for (
    const { name, run } of conformanceCases({
      name: "mysql",
      open: () => open(),
      faults: server?.faults ?? {},
      ...detourTo("mysql", (detour) => open({ url: detour })),
    })
  ) {
    test(name, run);
  }

  test("elect() rejects at once, when the database is not there or the password is wrong", async () => {
    for (const [part, value] of [["pathname", "/no_such_database"], ["password", "wrong-secret"]] as const) {
      const target = new URL(url);
      target[part] = value;
      const electing = elect(target, { electionGroup: "g", logger: null });
      await assert.rejects(electing, (error) => {
        assert.ok(error instanceof ProviderError && error.permanent, String(error));
        assert.doesNotMatch(`${error.message} ${error.stack}`, /wrong-secret/);
        return true;
      });
    }
  });

  test("acquire() creates schema and table once, when ten start at the same time", async () => {
    const [schema, table] = [`s '${newTable()}" \u00e4`, "t `'; DROP TABLE x; -- ?"];
    const starting = Array.from({ length: 10 }, () => open({ schema, table }));
    const answers = await Promise.all(starting.map((provider) => acquire(provider, "g")));
    assert.equal(answers.filter(({ acquired }) => acquired).length, 1);
    for (const provider of starting) await provider.healthCheck(soon());
    assert.deepEqual(await starting[0]?.groups?.(soon()), ["g"]);
  });

  test("openProvider() takes the settings from the URL", async () => {
    const table = newTable();
    await using provider = await openProvider(`${url.replace("mysql:", "mariadb:")}?table=${table}&poolSize=1`);
    assert.equal(provider.capabilities.watch, false);
    await lead(provider, "g");
    assert.equal((await sql(url, `SELECT 1 FROM ${table}`)).length, 1);
  });
}
