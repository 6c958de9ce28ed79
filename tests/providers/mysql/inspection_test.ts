/** What the provider says of servers, tables and users that are set up in different ways. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { mysqlProvider } from "../../../providers/mysql.ts";
import type { Inspection } from "../../../src/provider.ts";
import { backend } from "../../servers/backend.ts";
import { startMariadb } from "../../servers/mysql.ts";
import { until } from "../../until.ts";
import { lead, newSession, newTable, Providers, soon, sql } from "./support.ts";

const server = backend("mysql");
if (server !== null) testInspection(server.url);

async function inspect(url: string | URL, table?: string): Promise<Inspection> {
  await using provider = mysqlProvider({ url, table });
  assert.ok(provider.inspect);
  const inspection = await provider.inspect(soon());
  for (const { level, text, remedy } of inspection.findings) {
    assert.ok(text !== "" && (level === "ok" || remedy !== undefined || text.includes("unknown")), text);
  }
  return inspection;
}

function levels({ findings }: Inspection): Record<string, string> {
  return Object.fromEntries(findings.map(({ about, level }) => [about, level]));
}

function testInspection(url: string): void {
  test("inspect() tells which server it is, and names each right that a user has or lacks, with its GRANT", async () => {
    const table = newTable();
    await using owner = mysqlProvider({ url, table });
    await lead(owner, "g");
    const { version, ...all } = await inspect(url, table);
    assert.match(version ?? "", /^(MySQL|MariaDB) \d+\.\d+/);
    const rights = ["privilege SELECT", "privilege INSERT", "privilege UPDATE"];
    const sound = { engine: "ok", "read_only": "ok" };
    assert.deepEqual(Object.keys(levels({ version, ...all })), [
      ...[...rights, ...Object.keys(sound), "innodb_flush_log_at_trx_commit", "sync_binlog", "replicas"],
    ]);
    const user = newTable().slice(0, 30);
    const narrow = new URL(url);
    [narrow.username, narrow.password] = [user, "role-secret"];
    const admin = await newSession(url);
    try {
      await admin.query(
        `CREATE USER ${user}@'%' IDENTIFIED BY 'role-secret'; GRANT INSERT ON elect.${table} TO ${user}@'%'`,
      );
      const before = await admin.query(`SELECT * FROM ${table}`);
      for (const [granted, right] of [["INSERT", "SELECT"], ["INSERT, SELECT", "UPDATE"]] as const) {
        await admin.query(`GRANT ${granted} ON elect.${table} TO ${user}@'%'`);
        const { findings } = await inspect(narrow, table);
        const lacking = findings.find(({ about }) => about === `privilege ${right}`);
        assert.equal(lacking?.level, "error");
        const inserting = findings.find(({ about }) => about === "privilege INSERT");
        assert.equal(inserting?.level, "ok", "each right is asked for by itself");
        assert.match(lacking.text, new RegExp(`^${user}@% lacks it on `));
        // The remedy is a statement that mends it.
        await admin.query(lacking.remedy?.replace("`t_", "elect.`t_") ?? "");
        assert.equal(levels(await inspect(narrow, table))[`privilege ${right}`], "ok");
      }
      assert.deepEqual(rights.map((right) => levels({ version, ...all })[right]), ["ok", "ok", "ok"]);
      assert.deepEqual(await admin.query(`SELECT * FROM ${table}`), before, "it changes nothing");
      await admin.query(`REVOKE INSERT ON elect.${table} FROM ${user}@'%'`);
      assert.equal(levels(await inspect(narrow, table))["privilege INSERT"], "error");
      await admin.query(`ALTER TABLE ${table} ENGINE = MyISAM`);
      const { findings } = await inspect(url, table);
      assert.equal(levels({ version, findings }).engine, "error");
      await admin.query(findings.find(({ about }) => about === "engine")?.remedy ?? "");
      assert.equal(levels(await inspect(url, table)).engine, "ok");
    } finally {
      await admin.end();
    }
    assert.equal(levels(await inspect(url, newTable()))["privilege SELECT"], "warning", "there is no such table");
  });

  test("inspect() says what a server could forget: its flushing, its binary log, its replicas", async () => {
    const primary = await startMariadb({ args: ["--log-bin=log", "--server-id=1", "--sync-binlog=0"] });
    const replica = await startMariadb({ args: ["--server-id=2", "--read-only=1"] });
    const providers = new Providers();
    try {
      const provider = providers.open({ url: primary.url });
      await lead(provider, "g");
      const about = async (name: string) => (await inspect(primary.url)).findings.find((each) => each.about === name);
      const flush = "innodb_flush_log_at_trx_commit";
      for (const [value, level] of [[0, "error"], [2, "warning"], [1, "ok"]] as const) {
        await sql(primary.url, `SET GLOBAL ${flush} = ${value}`);
        assert.equal((await about(flush))?.level, level);
      }
      assert.equal((await about("sync_binlog"))?.level, "warning");
      await sql(primary.url, `SET GLOBAL sync_binlog = 1`);
      assert.equal((await about("sync_binlog"))?.level, "ok");
      assert.equal((await about("replicas"))?.level, "ok");
      const { port, username, password } = new URL(primary.url);
      await sql(
        replica.url,
        `CHANGE MASTER TO MASTER_HOST = '127.0.0.1', MASTER_PORT = ${port}, MASTER_USER = '${username}',
MASTER_PASSWORD = '${password}', MASTER_USE_GTID = slave_pos; START SLAVE`,
      );
      await until("a replica", async () => (await about("replicas"))?.level === "warning");
      assert.match((await about("replicas"))?.text ?? "", /^1, and the primary waits for none/);
      await sql(primary.url, "SET GLOBAL rpl_semi_sync_master_enabled = 1");
      await sql(replica.url, "STOP SLAVE; SET GLOBAL rpl_semi_sync_slave_enabled = 1; START SLAVE");
      await until(
        "a replica that is waited for",
        async () => /waits for one/.test((await about("replicas"))?.text ?? ""),
      );
      const of = await inspect(replica.url);
      assert.equal(levels(of)["read_only"], "error");
    } finally {
      await providers.close();
      for (const each of [replica, primary]) await each.stop();
    }
  });
}
