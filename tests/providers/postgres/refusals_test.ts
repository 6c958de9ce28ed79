/** What PostgreSQL refuses for good ends the start of an election, instead of being waited for. */

import { test } from "node:test";
import { backend } from "../../servers/backend.ts";
import { startPooler } from "../../servers/postgres.ts";
import "../../../providers/postgres.ts";
import { refused, refusedToAll, SECRET } from "../refused.ts";
import { newTable, sql } from "./support.ts";

const server = backend("postgres");
if (server !== null) testServer(server.url);

function testServer(url: string): void {
  const at = (change: (url: URL) => void) => {
    const changed = new URL(url);
    change(changed);
    return changed;
  };
  const setting = (name: string, value: string) => at(({ searchParams }) => searchParams.set(name, value));

  test("elect() rejects, when PostgreSQL refuses user, password or database", async () => {
    await refusedToAll(at((url) => url.password = SECRET), /password authentication failed/);
    await refusedToAll(at((url) => (url.username = "nobody", url.password = SECRET)), /authentication failed/);
    await refusedToAll(at((url) => url.password = ""), /asks for a password/);
    await refusedToAll(at((url) => url.pathname = "/no_such_database"), /"no_such_database" does not exist/);
  });

  test("elect() rejects, when the user lacks rights", async () => {
    const [user, table] = [newTable(), newTable()];
    await sql(url, `CREATE USER ${user} PASSWORD '${SECRET}'`);
    try {
      const as = at((url) => (url.username = user, url.password = SECRET, url.searchParams.set("table", table)));
      await refused(as, /permission denied for schema public.*CREATE TABLE/s);
      await sql(url, `CREATE TABLE ${table} (token bigint)`);
      await refusedToAll(as, /permission denied|is not as this version needs it/);
    } finally {
      await sql(url, `DROP TABLE IF EXISTS ${table}`);
      await sql(url, `DROP USER ${user}`);
    }
  });

  test("elect() rejects, when the table is not ours, or missing and not to be made", async () => {
    const table = newTable();
    const missing = setting("table", table);
    missing.searchParams.set("autoCreate", "false");
    await refusedToAll(missing, /does not exist, made by: CREATE TABLE/);
    await sql(url, `CREATE TABLE ${table} (a int)`);
    try {
      await refusedToAll(setting("table", table), /is not as this version needs it/);
    } finally {
      await sql(url, `DROP TABLE ${table}`);
    }
  });

  test("elect() rejects, when TLS is refused", async () => {
    const trusting = setting("sslmode", "verify-full");
    await refusedToAll(trusting, /certificate|does not support SSL/);
    trusting.searchParams.set("ca", "/does/not/exist.pem");
    await refusedToAll(trusting, /setting "ca"/);
  });

  test(
    "elect() rejects, when a pooler refuses user, password or database, or has no TLS",
    { timeout: 120_000 },
    async (t) => {
      const direct = { url, ...NO_HANDLES };
      const pooler = await startPooler(direct).catch((error) => void t.diagnostic(String(error)));
      if (!pooler) return t.skip("there is no pgbouncer");
      try {
        const through = (change: (url: URL) => void) => {
          const changed = new URL(pooler.url);
          change(changed);
          return changed;
        };
        await refusedToAll(through((url) => url.password = SECRET), /authentication failed/);
        await refusedToAll(
          through((url) => (url.username = "nobody", url.password = SECRET)),
          /authentication failed|no such/,
        );
        // Once: for a while after that, the pooler keeps whoever asks for that database waiting.
        await refused(through((url) => url.pathname = "/no_such_database"), /no_such_database/);
        await refusedToAll(through((url) => url.searchParams.set("sslmode", "require")), /does not support SSL/);
      } finally {
        await pooler.stop();
      }
    },
  );
}

/** For what only needs the URL of a server. */
const nothing = () => Promise.resolve();
const NO_HANDLES = { kill: nothing, restart: nothing, freeze: nothing, thaw: nothing, stop: nothing };
