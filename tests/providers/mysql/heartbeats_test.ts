/** Heartbeats that travel together. */

import assert from "node:assert/strict";
import { after, test } from "node:test";
import type { MysqlOptions } from "../../../providers/mysql.ts";
import { ProviderError } from "../../../src/errors.ts";
import type { Lease } from "../../../src/provider.ts";
import { backend } from "../../servers/backend.ts";
import { acquire, lead, newTable, Providers, soon, sql, whileLocked } from "./support.ts";
import { until } from "../../until.ts";

const server = backend("mysql");
if (server !== null) testHeartbeats(server.url);

function testHeartbeats(url: string): void {
  const providers = new Providers();
  after(() => providers.close());
  const open = (options: MysqlOptions = {}) => providers.open({ url, ...options });

  test("renew() gives each lease its own outcome, when their heartbeats travel together", async () => {
    const provider = open({ table: newTable() });
    const [kept, gone, expired, other] = [
      await lead(provider, "a"),
      await lead(provider, "b"),
      await lead(provider, "c", { heartbeatTimeout: 100 }),
      await lead(provider, "d", { heartbeatTimeout: 30_000 }),
    ];
    await provider.release(gone, soon());
    const successor = await lead(provider, "b");
    await until("expired", async () => await provider.read("c", soon()) === null);
    const aborted = new AbortController();
    const calls = [
      provider.renew(kept, soon()),
      provider.renew(gone, soon()),
      provider.renew(expired, soon()),
      provider.renew(other, soon()),
      provider.renew(successor, { ...soon(), metadata: { quote: `'"\\` } }),
      provider.renew(kept, { signal: aborted.signal, metadata: { late: "1" } }),
      // The term of another lease renews nothing here.
      provider.renew({ ...kept, termId: other.termId }, soon()),
    ];
    aborted.abort(new Error("enough"));
    const results = await Promise.allSettled(calls);
    assert.deepEqual(results.map((each) => each.status === "fulfilled" ? each.value : each.reason.message), [
      ...["renewed", "lost", "lost", "renewed", "renewed", "enough", "lost"],
    ]);
    assert.deepEqual((await provider.read("b", soon()))?.metadata, { quote: `'"\\` });
    assert.ok(((await provider.read("d", soon()))?.expiresIn ?? Infinity) <= 30_000, "it has a timeout of its own");
  });

  test("renew() of a thousand leases touches no row of others", async () => {
    const table = newTable();
    const provider = open({ table });
    const leases: Lease[] = [];
    for (let i = 0; i < 1_000; i += 100) {
      const some = Array.from({ length: 100 }, (_, j) => lead(provider, `${"long-".repeat(20)}g${i + j}`));
      leases.push(...await Promise.all(some));
    }
    const others = [await lead(provider, "another"), await lead(provider, "one-more")];
    await whileLocked(
      url,
      `SELECT * FROM ${table} WHERE election_group IN ('another', 'one-more') FOR UPDATE`,
      async () => {
        for (const some of [leases, leases.slice(0, 900), leases.slice(0, 3), leases.slice(0, 1)]) {
          const outcomes = await Promise.all(some.map((lease) => provider.renew(lease, soon())));
          assert.ok(outcomes.every((outcome) => outcome === "renewed"), `${some.length}`);
        }
      },
    );
    for (const lease of others) assert.equal(await provider.renew(lease, soon()), "renewed");
  });

  test("renew() in a small table touches no row of others", async () => {
    const table = newTable();
    const provider = open({ table });
    const leases = [await lead(provider, "a"), await lead(provider, "b"), await lead(provider, "c")];
    await lead(provider, "z");
    await whileLocked(url, `SELECT * FROM ${table} WHERE election_group = 'z' FOR UPDATE`, async () => {
      const outcomes = await Promise.all(leases.map((lease) => provider.renew(lease, soon())));
      assert.deepEqual(outcomes, ["renewed", "renewed", "renewed"]);
    });
  });

  test("renew() fails for a row that another session has locked, and renews the others", async () => {
    const table = newTable();
    const provider = open({ table });
    const leases = [await lead(provider, "a"), await lead(provider, "b"), await lead(provider, "c")];
    const lock = `SELECT * FROM ${table} WHERE election_group = 'b' FOR UPDATE`;
    await whileLocked(url, lock, async () => {
      const results = await Promise.allSettled(leases.map((lease) => provider.renew(lease, soon())));
      assert.deepEqual(results.map(({ status }) => status), ["fulfilled", "rejected", "fulfilled"]);
      const [, locked] = results;
      assert.ok(locked?.status === "rejected" && locked.reason instanceof ProviderError);
      assert.match(locked.reason.message, /Cannot renew the lease in mysql "b": another session has locked/);
    });
    assert.equal(await provider.renew(leases[1] as Lease, soon()), "renewed");
  });

  test("renew() goes on, when followers wait for rows on every connection for calls", async () => {
    const table = newTable();
    const provider = open({ table, poolSize: 1 });
    const lease = await lead(provider, "mine");
    await provider.release(await lead(provider, "free"), soon());
    await whileLocked(url, `SELECT * FROM ${table} WHERE election_group = 'free' FOR UPDATE`, async () => {
      const looks = Array.from({ length: 3 }, () => acquire(provider, "free"));
      const settled = Promise.allSettled(looks).then(() => "looks");
      assert.equal(await Promise.race([provider.renew(lease, soon()), settled]), "renewed");
      await settled;
    });
  });

  test("of metadata that is given at the same time the last stays", async () => {
    const provider = open({ table: newTable() });
    const lease = await lead(provider, "g", { metadata: { i: "first" } });
    for (let round = 0; round < 5; round++) {
      const calls: Promise<unknown>[] = [];
      for (let i = 0; i < 20; i++) {
        calls.push(provider.renew(lease, { ...soon(), metadata: { i: `${round} ${i}` } }));
        // Some travel together, the others overlap.
        if (i % 3 === 0) await new Promise((resolve) => setImmediate(resolve));
      }
      // One that had been asked for before changes nothing any more.
      calls.push(acquire(provider, "g", { termId: lease.termId, metadata: { i: `${round} acquired` } }));
      await Promise.all(calls);
      assert.deepEqual((await provider.read("g", soon()))?.metadata, { i: `${round} acquired` });
    }
  });

  test("renew() fails alone, when a lease breaks a constraint of the user's table", async () => {
    const table = newTable();
    const provider = open({ table });
    const [plain, odd] = [await lead(provider, "a"), await lead(provider, "b")];
    await sql(url, `ALTER TABLE ${table} ADD CHECK (metadata NOT LIKE '%forbidden%')`);
    const results = await Promise.allSettled([
      provider.renew(plain, soon()),
      provider.renew(odd, { ...soon(), metadata: { text: "forbidden" } }),
    ]);
    assert.deepEqual(results.map(({ status }) => status), ["fulfilled", "rejected"]);
    assert.equal(await provider.renew(odd, soon()), "renewed");
  });
}
