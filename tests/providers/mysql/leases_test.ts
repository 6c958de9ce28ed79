/** Leases in the table: who waits for whom, what is compared, what grows, and whose rights do. */

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { after, test } from "node:test";
import type { MysqlOptions } from "../../../providers/mysql.ts";
import { ProviderError } from "../../../src/errors.ts";
import { backend } from "../../servers/backend.ts";
import { acquire, lead, newSession, newTable, Providers, soon, sql, whileLocked } from "./support.ts";
import { until } from "../../until.ts";

const server = backend("mysql");
if (server !== null) testLeases(server.url);

function testLeases(url: string): void {
  const providers = new Providers();
  after(() => providers.close());
  const open = (options: MysqlOptions = {}) => providers.open({ url, ...options });

  test("acquire() neither writes nor waits for a lock, when the lease is held", async () => {
    const table = newTable();
    const lease = await lead(open({ table }), "g");
    const before = await sql(url, `SELECT * FROM ${table}`);
    const provider = open({ table });
    await whileLocked(url, `SELECT * FROM ${table} FOR UPDATE`, async () => {
      for (let i = 0; i < 3; i++) {
        const answer = await acquire(provider, "g");
        assert.ok(!answer.acquired);
        assert.equal(answer.leader?.termId, lease.termId);
      }
      assert.equal((await provider.read("g", soon()))?.termId, lease.termId);
      assert.deepEqual(await provider.groups?.(soon()), ["g"]);
    });
    assert.deepEqual(await sql(url, `SELECT * FROM ${table}`), before);
  });

  test("acquire() is ended by the server, when it waits for a row, and by then changes nothing", async () => {
    const table = newTable();
    const provider = open({ table });
    await provider.release(await lead(provider, "g"), soon());
    await whileLocked(url, `SELECT * FROM ${table} FOR UPDATE`, async () => {
      await assert.rejects(acquire(provider, "g"), /another session has locked the row/);
      // The same for a caller that does not wait for the answer.
      await assert.rejects(acquire(provider, "g", { signal: AbortSignal.timeout(100) }));
      await until("ended", async () => {
        const waiting = await sql(
          url,
          `SELECT 1 FROM information_schema.PROCESSLIST WHERE INFO LIKE '%${table}%' AND INFO NOT LIKE '%PROCESSLIST%'`,
        );
        return waiting.length === 0;
      });
    });
    assert.equal(await provider.read("g", soon()), null);
  });

  test("acquire() that waited for a row grants no more than was asked for when it began", async () => {
    const table = newTable();
    const provider = open({ table });
    await provider.release(await lead(provider, "g"), soon());
    let waiting: ReturnType<typeof acquire> | undefined;
    const held = 600;
    await whileLocked(url, `SELECT * FROM ${table} FOR UPDATE`, async () => {
      waiting = acquire(provider, "g", { heartbeatTimeout: 10_000 });
      await new Promise((resolve) => setTimeout(resolve, held));
    });
    assert.ok((await waiting)?.acquired);
    const left = (await provider.read("g", soon()))?.expiresIn ?? 0;
    assert.ok(left > 0 && left <= 10_000 - held + 50, `${left} ms are left`);
  });

  test("renew() that comes late shortens no lease", async () => {
    const table = newTable();
    const provider = open({ table });
    const lease = await lead(provider, "g", { heartbeatTimeout: 20_000 });
    const row = async () => (await sql(url, `SELECT expires_at, heartbeat_at, lease_us FROM ${table}`))[0];
    // As a later call of the same term has left it.
    await sql(url, `UPDATE ${table} SET expires_at = expires_at + 9000000, heartbeat_at = heartbeat_at + 9000000`);
    const before = await row();
    assert.equal(await provider.renew(lease, soon()), "renewed");
    assert.equal(await provider.renew({ ...lease, heartbeatTimeout: 1_000 }, soon()), "renewed");
    assert.deepEqual(await row(), before);
    const again = await acquire(provider, "g", { termId: lease.termId, heartbeatTimeout: 20_000 });
    assert.ok(again.acquired && again.lease.token === lease.token);
    assert.deepEqual(await row(), before);
  });

  test("an expiry that another server wrote counts by no clock, and a standstill does", async () => {
    const table = newTable();
    const [leader, newcomer] = [open({ table }), open({ table })];
    const heartbeatTimeout = 2_000;
    // Their clock is far behind this one's.
    const foreign = `UPDATE ${table} SET server = 'elsewhere:3306', expires_at = 1`;
    const lease = await lead(leader, "g", { heartbeatTimeout });
    await sql(url, foreign);
    const start = performance.now();
    for (const call of [await acquire(newcomer, "g"), await acquire(newcomer, "g")]) {
      assert.ok(!call.acquired && call.leader?.termId === lease.termId);
    }
    const { expiresIn = 0 } = await newcomer.read("g", soon()) ?? {};
    assert.ok(expiresIn !== null && expiresIn > 0 && expiresIn <= 2_010, `${expiresIn} ms are left`);
    // The leader has failed over as well: it keeps its lease and its token, which are this server's from then on.
    const again = await acquire(leader, "g", { termId: lease.termId, heartbeatTimeout });
    assert.ok(again.acquired && again.lease.token === lease.token);
    await sql(url, foreign);
    assert.equal(await leader.renew(lease, soon()), "renewed");
    await sql(url, foreign);
    await until("succeeded", async () => (await acquire(newcomer, "g")).acquired);
    assert.ok(performance.now() - start >= heartbeatTimeout);
    assert.equal(await leader.renew(lease, soon()), "lost");
  });

  test("renew() of a term that is over renews nothing of its successor", async () => {
    const table = newTable();
    const provider = open({ table });
    const lease = await lead(provider, "g");
    await provider.release(lease, soon());
    await lead(provider, "g");
    const before = await sql(url, `SELECT * FROM ${table}`);
    assert.equal(await provider.renew(lease, soon()), "lost");
    assert.equal(await provider.renew(lease, { ...soon(), metadata: { a: "b" } }), "lost");
    assert.equal(await provider.release(lease, soon()), "notHolder");
    assert.deepEqual(await sql(url, `SELECT * FROM ${table}`), before);
  });

  test("metadata that comes after newer of the same provider is dropped, and its lease is renewed", async () => {
    const table = newTable();
    const provider = open({ table });
    const lease = await lead(provider, "g", { metadata: { a: "newest" } });
    await sql(url, `UPDATE ${table} SET written = written + 1000`);
    const calls = [
      () => provider.renew(lease, { ...soon(), metadata: { a: "late" } }),
      () => acquire(provider, "g", { termId: lease.termId, metadata: { a: "late" } }),
    ];
    for (const call of calls) {
      await call();
      assert.deepEqual((await provider.read("g", soon()))?.metadata, { a: "newest" });
    }
    assert.equal(await calls[0]?.(), "renewed");
    // What another provider has counted says nothing.
    const other = open({ table });
    assert.equal(await other.renew(lease, { ...soon(), metadata: { a: "other" } }), "renewed");
    assert.deepEqual((await provider.read("g", soon()))?.metadata, { a: "other" });
  });

  test("a take-over that was undone, because another one won, is a lost race; a heartbeat is unknown", async () => {
    const table = newTable();
    const provider = open({ table });
    const lease = await lead(provider, "held");
    await provider.release(await lead(provider, "free"), soon());
    // What the server answers to the victim of a deadlock, and a cluster to whoever is late.
    for (const number of [1213, 3101]) {
      await sql(
        url,
        `CREATE TRIGGER undone_${table} BEFORE UPDATE ON ${table} FOR EACH ROW
  SIGNAL SQLSTATE '40001' SET MYSQL_ERRNO = ${number}`,
      );
      assert.deepEqual(await acquire(provider, "free"), { acquired: false, leader: null });
      await assert.rejects(provider.renew(lease, soon()), ProviderError);
      await sql(url, `DROP TRIGGER undone_${table}`);
      assert.equal(await provider.renew(lease, soon()), "renewed");
    }
    await lead(provider, "free");
  });

  test("every write of a lease changes its version", async () => {
    const table = newTable();
    const provider = open({ table });
    const seen = new Set<string>();
    const note = async () =>
      seen.add(String((await sql(url, `SELECT HEX(version) AS version FROM ${table}`))[0]?.version));
    const lease = await lead(provider, "g");
    await note();
    await provider.renew(lease, soon());
    await note();
    await acquire(provider, "g", { termId: lease.termId });
    await note();
    await provider.release(lease, soon());
    await note();
    assert.equal(seen.size, 4);
  });

  test("tokens have 64 bits", async () => {
    const table = newTable();
    const provider = open({ table });
    await provider.release(await lead(provider, "g"), soon());
    await sql(url, `UPDATE ${table} SET token = 9223372036854775000`);
    assert.equal((await lead(provider, "g")).token, 9223372036854775001n);
    assert.equal((await provider.read("g", soon()))?.token, 9223372036854775001n);
  });

  test("tokens grow, also when the table was emptied, dropped, or is an older one", async () => {
    const table = newTable();
    const provider = open({ table });
    let last = 0n;
    for (const harm of ["DO 0", `DELETE FROM ${table}`, `DROP TABLE ${table}`, `UPDATE ${table} SET token = 5`]) {
      await sql(url, harm);
      const lease = await lead(provider, "g");
      assert.ok(lease.token > last, `${lease.token} came after ${last}, by ${harm}`);
      last = lease.token;
      const again = await acquire(provider, "g", { termId: lease.termId });
      assert.ok(again.acquired && again.lease.token === last, "the same term has the same token");
      await provider.release(lease, soon());
      // The next term is one of the same microsecond at the earliest.
      const next = await lead(provider, "g");
      assert.ok(next.token > last);
      last = next.token;
      await provider.release(next, soon());
    }
  });

  test("a lease that was removed is lost, and its removal releases nothing", async () => {
    const table = newTable();
    const provider = open({ table });
    const lease = await lead(provider, "g");
    await sql(url, `DELETE FROM ${table}`);
    assert.equal(await provider.renew(lease, soon()), "lost");
    assert.equal(await provider.release(lease, soon()), "notHolder");
  });

  test("groups and terms are compared by their bytes", async () => {
    const table = newTable();
    const provider = open({ table });
    const long = "x".repeat(254);
    const groups = ["a", "A", "a ", "\u00e4", "a\u0308", "ss", "\u00df", "", `${long}y`, `${long}Y`, "0", "00", "0e1"];
    const leases = await Promise.all(
      groups.map((group) => lead(provider, group, { termId: `${group.slice(-9)}-Term` })),
    );
    assert.deepEqual((await provider.groups?.(soon()))?.sort(), [...groups].sort());
    assert.ok((await Promise.all(leases.map((lease) => provider.renew(lease, soon())))).every((o) => o === "renewed"));
    for (const lease of leases) {
      const other = { ...lease, termId: lease.termId.toLowerCase() };
      assert.equal(await provider.renew(other, soon()), "lost");
      assert.equal(await provider.release(other, soon()), "notHolder");
      assert.equal((await provider.read(lease.electionGroup, soon()))?.termId, lease.termId);
    }
  });

  test("a call that comes after the release of its term takes nothing", async () => {
    const table = newTable();
    const provider = open({ table, poolSize: 2 });
    await provider.release(await lead(provider, "g"), soon());
    const termId = randomUUID();
    let late: ReturnType<typeof acquire> | undefined;
    await whileLocked(url, `SELECT * FROM ${table} FOR UPDATE`, async () => {
      late = acquire(provider, "g", { termId });
      // It has seen a free row, and waits for it.
      await new Promise((resolve) => setTimeout(resolve, 300));
    });
    const first = await late;
    assert.ok(first?.acquired);
    await provider.release(first.lease, soon());
    // The same call, which is still on its way on another connection: as asked for before the release.
    await sql(url, `UPDATE ${table} SET released_call = released_call + 100`);
    assert.ok(!(await acquire(provider, "g", { termId })).acquired);
    assert.ok((await acquire(provider, "g")).acquired, "another term may");
  });

  test("a user without CREATE is told what is missing, and needs SELECT, INSERT and UPDATE", async () => {
    const schema = newTable();
    const user = `u${newTable()}`.slice(0, 30);
    const admin = await newSession(url);
    try {
      await admin.query(`CREATE DATABASE ${schema}; CREATE USER ${user}@'%' IDENTIFIED BY 'role-secret'`);
      await admin.query(`GRANT SELECT ON ${schema}.* TO ${user}@'%'`);
      const roleUrl = new URL(url);
      [roleUrl.username, roleUrl.password, roleUrl.pathname] = [user, "role-secret", `/${schema}`];
      const provider = open({ url: roleUrl });
      const refused = await acquire(provider, "g").then(() => null, (error) => error);
      assert.ok(refused instanceof ProviderError && refused.permanent);
      assert.match(refused.message, /needs SELECT, INSERT and UPDATE.*CREATE TABLE IF NOT EXISTS.*denied/s);
      assert.doesNotMatch(refused.message, /role-secret/);
      await assert.rejects(provider.healthCheck(soon()), /SELECT, INSERT and UPDATE/);
      // Nobody leads where there is no table, and a reader creates none.
      assert.equal(await provider.read("g", soon()), null);
      assert.deepEqual(await provider.groups?.(soon()), []);
      await lead(open({ schema }), "made-by-the-owner");
      await assert.rejects(acquire(provider, "g"), /SELECT, INSERT and UPDATE/);
      await admin.query(`GRANT INSERT ON ${schema}.multilock_leases TO ${user}@'%'`);
      await assert.rejects(provider.healthCheck(soon()), /SELECT, INSERT and UPDATE/);
      await admin.query(`GRANT UPDATE ON ${schema}.multilock_leases TO ${user}@'%'`);
      await provider.healthCheck(soon());
      const lease = await lead(provider, "g");
      assert.equal(await provider.renew(lease, soon()), "renewed");
      assert.equal(await provider.release(lease, soon()), "released");
      await assert.rejects(acquire(open({ schema, table: "no", autoCreate: false }), "g"), /`no` does not exist/);
    } finally {
      await admin.end();
    }
  });

  test("a server that is set read-only is not written, by an administrator either", async () => {
    const table = newTable();
    const provider = open({ table });
    const lease = await lead(provider, "g");
    await provider.release(await lead(provider, "free"), soon());
    const user = `u${newTable()}`.slice(0, 30);
    const plainUrl = new URL(url);
    [plainUrl.username, plainUrl.password] = [user, "role-secret"];
    const admin = await newSession(url);
    try {
      await admin.query(
        `CREATE USER ${user}@'%' IDENTIFIED BY 'role-secret'; GRANT SELECT, INSERT, UPDATE ON elect.* TO ${user}@'%'`,
      );
      const before = await admin.query(`SELECT * FROM ${table}`);
      await admin.query("SET GLOBAL read_only = 1");
      const readOnly = (error: unknown) =>
        error instanceof ProviderError && /read-only: a replica, or set so/.test(error.message);
      for (const each of [provider, open({ table, url: plainUrl })]) {
        await assert.rejects(acquire(each, "other"), readOnly);
        await assert.rejects(acquire(each, "free"), readOnly);
        await assert.rejects(each.renew(lease, soon()), readOnly);
        await assert.rejects(each.release(lease, soon()), readOnly);
        await assert.rejects(each.healthCheck(soon()), readOnly);
        assert.equal((await each.read("g", soon()))?.termId, lease.termId);
      }
      assert.deepEqual(await admin.query(`SELECT * FROM ${table}`), before);
    } finally {
      await admin.query("SET GLOBAL read_only = 0");
      await admin.end();
    }
    assert.equal(await provider.renew(lease, soon()), "renewed");
  });

  test("healthCheck() refuses a table that forgets, a server that flushes nothing, and a foreign table", async () => {
    const [forgetful, foreign] = [newTable(), newTable()];
    await lead(open({ table: forgetful }), "g");
    await sql(url, `ALTER TABLE ${forgetful} ENGINE = MyISAM`);
    await assert.rejects(open({ table: forgetful }).healthCheck(soon()), /kept by MyISAM, and leases need InnoDB/);
    await sql(url, `CREATE TABLE ${foreign} (id INT PRIMARY KEY)`);
    for (const call of [(p: ReturnType<typeof open>) => p.healthCheck(soon()), acquireG]) {
      await assert.rejects(call(open({ table: foreign })), (error) => {
        assert.ok(error instanceof ProviderError && error.permanent);
        assert.match(error.message, /is not as this version needs it/);
        return true;
      });
    }
    const [row] = await sql(url, "SELECT @@GLOBAL.innodb_flush_log_at_trx_commit AS flush");
    await sql(url, "SET GLOBAL innodb_flush_log_at_trx_commit = 0");
    try {
      await assert.rejects(open().healthCheck(soon()), /innodb_flush_log_at_trx_commit is 0/);
    } finally {
      await sql(url, `SET GLOBAL innodb_flush_log_at_trx_commit = ${row?.flush}`);
    }
    await open().healthCheck(soon());
  });
  const acquireG = (provider: ReturnType<typeof open>) => acquire(provider, "g");
}
