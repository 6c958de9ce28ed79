/**
 * The PostgreSQL provider on pools that users bring: their parsers, their size, their transactions, and what is left
 * behind.
 */

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { postgresProvider } from "../../../providers/postgres.ts";
import type { Lease } from "../../../src/provider.ts";
import { LeaderElection } from "../../../src/election.ts";
import { ProviderError } from "../../../src/errors.ts";
import { backend } from "../../servers/backend.ts";
import {
  acquire,
  type Client,
  lead,
  newPool,
  newTable,
  type Pool,
  Providers,
  soon,
  sql,
  wait,
  whileLocked,
} from "./support.ts";
import { until } from "../../until.ts";

test("postgresProvider() refuses a pool of one connection, and says why", () => {
  const pool = newPool({ connectionString: "postgres://127.0.0.1:1/none", max: 1 });
  assert.throws(
    () => postgresProvider({ pool }),
    (error) =>
      error instanceof RangeError &&
      /pool of 1 connection: heartbeats need one.*max: 2.*give the provider a URL/.test(error.message),
  );
});

const silent = { debug() {}, info() {}, warn() {}, error() {} };
const server = backend("postgres");
if (server !== null) testPools(server.url);

function testPools(url: string): void {
  const providers = new Providers();
  const pools: Pool[] = [];
  after(async () => {
    await providers.close();
    // A pool that did not get all clients back never ends; the test that kept them has failed by then.
    for (const pool of pools) await Promise.race([pool.end(), wait(1_000)]);
  });
  function userPool(options: Readonly<Record<string, unknown>> = {}): Pool {
    const pool = newPool({ connectionString: url, ...options });
    pools.push(pool);
    return pool;
  }

  const parsers: Readonly<Record<string, Readonly<Record<string, unknown>>>> = {
    "leaves everything as text": { types: { getTypeParser: () => String } },
    "makes objects of everything": { types: { getTypeParser: () => (value: unknown) => ({ value }) } },
    "asks for binary": { binary: true },
  };
  for (const [what, options] of Object.entries(parsers)) {
    test(`every operation works, when the user's pool ${what}`, async () => {
      const provider = providers.open({ pool: userPool(options), table: newTable() });
      await provider.healthCheck(soon());
      const lease = await lead(provider, "g", { metadata: { a: "b" } });
      const other = await lead(provider, "h");
      assert.equal(lease.token, 1n);
      assert.ok(Math.abs(lease.acquiredAt.getTime() - new Date().getTime()) < 3_600_000);
      assert.equal(await provider.renew(lease, soon()), "renewed");
      const batch = [provider.renew(lease, soon()), provider.renew(other, soon())];
      assert.deepEqual(await Promise.all(batch), ["renewed", "renewed"]);
      assert.equal(await provider.renew({ ...lease, termId: "x" }, soon()), "lost");
      const held = await acquire(provider, "g");
      assert.ok(!held.acquired);
      for (const leader of [held.leader, await provider.read("g", soon())]) {
        assert.ok(leader !== null && leader.expiresIn !== null && leader.lastHeartbeat !== null);
        assert.deepEqual([leader.leaderId, leader.termId, leader.token], ["p", lease.termId, 1n]);
        assert.deepEqual(leader.metadata, { a: "b" });
        assert.ok(leader.expiresIn > 30_000 && leader.expiresIn <= 60_000);
      }
      assert.deepEqual((await provider.groups?.(soon()))?.sort(), ["g", "h"]);
      const stop = new AbortController();
      const hints = provider.watch?.("g", stop)[Symbol.asyncIterator]();
      assert.equal((await hints?.next())?.done, false);
      const hint = hints?.next();
      assert.equal(await provider.release(lease, soon()), "released");
      assert.equal((await hint)?.done, false);
      stop.abort();
      await hints?.next();
      await provider.release(other, soon());
    });
  }

  for (const max of [2, 3, 4]) {
    test(`a follower takes over, and the application is served, on a pool of ${max} with two providers`, async () => {
      const table = newTable();
      const pool = userPool({ max });
      const leader = providers.open({ url, table });
      const lease = await lead(leader, "g");
      const options = {
        electionGroup: "g",
        heartbeatTimeout: "3s",
        electionInterval: "1s",
        lockTimeout: "2s",
        logger: silent,
      } as const;
      const followers = [1, 2].map((i) =>
        new LeaderElection(providers.open({ pool, table }), { ...options, participantId: `follower${i}` })
      );
      for (const follower of followers) await follower.start();
      await leader.release(lease, soon());
      await until("taken over", () => followers.some(({ isLeader }) => isLeader));
      assert.equal((await pool.query("SELECT 1")).rows.length, 1);
      // And so it stays, over several heartbeats.
      await until("renewed", async () => {
        const info = await leader.read("g", soon());
        return info !== null && Number(info.lastHeartbeat) > Number(info.leadershipAcquiredAt) + 1_500;
      });
      await pool.query("SELECT 1");
      for (const follower of followers) await follower.stop();
    });
  }

  test("two leaders on a pool of 2 keep one connection between them, and leave the other to calls", async () => {
    const pool = userPool({ max: 2 });
    const [first, second] = [providers.open({ pool, table: newTable() }), providers.open({ pool, table: newTable() })];
    const leases = [await lead(first, "g"), await lead(second, "g")];
    await until("kept", () => pool.totalCount - pool.idleCount === 1);
    for (let i = 0; i < 3; i++) {
      const renewals = [first, second].map((provider, j) => provider.renew(leases[j] as Lease, soon()));
      assert.deepEqual(await Promise.all(renewals), ["renewed", "renewed"]);
      await second.read("g", soon());
      await pool.query("SELECT 1");
    }
    // It is kept until the last lease has gone: given back, or lost, or with its provider closed.
    await first[Symbol.asyncDispose]();
    assert.equal(pool.totalCount - pool.idleCount, 1);
    await second.release(leases[1] as Lease, soon());
    assert.equal(pool.idleCount, pool.totalCount);
    const lease = await lead(second, "h", { heartbeatTimeout: 100 });
    await until("kept again", () => pool.totalCount - pool.idleCount === 1);
    await until("expired", async () => await second.read("h", soon()) === null);
    assert.equal(await second.renew(lease, soon()), "lost");
    assert.equal(pool.idleCount, pool.totalCount);
  });

  test("watch() takes no connection that calls need, and is gone where there is none to spare", async () => {
    assert.equal(providers.open({ pool: userPool({ max: 2 }) }).watch, undefined);
    const pool = userPool({ max: 3 });
    const [first, second] = [providers.open({ pool, table: newTable() }), providers.open({ pool, table: newTable() })];
    const stop = new AbortController();
    const hints = first.watch?.("g", stop)[Symbol.asyncIterator]();
    assert.equal((await hints?.next())?.done, false);
    const refused = second.watch?.("g", soon())[Symbol.asyncIterator]().next();
    await assert.rejects(
      async () => await refused,
      (error) => error instanceof ProviderError && /to spare/.test(error.message),
    );
    assert.equal(second.watch, undefined);
    assert.equal(second.capabilities.watch, false);
    await lead(second, "g");
    // The one that has ended leaves its place to others.
    stop.abort();
    await hints?.next();
    const third = providers.open({ pool, table: newTable() });
    const live = third.watch?.("g", soon())[Symbol.asyncIterator]();
    assert.equal((await live?.next())?.done, false);
  });

  test("watch() leaves no client behind that listens", async () => {
    const pool = userPool({ max: 3 });
    const table = newTable();
    const provider = providers.open({ pool, table });
    for (let i = 0; i < 3; i++) {
      const stop = new AbortController();
      const hints = provider.watch?.("g", stop)[Symbol.asyncIterator]();
      await hints?.next();
      const next = hints?.next();
      stop.abort();
      await next;
    }
    await until("given back", () => pool.idleCount === pool.totalCount);
    const clients = await Promise.all([1, 2, 3].map(() => pool.connect() as Promise<Client>));
    for (const client of clients) {
      assert.deepEqual((await client.query("SELECT pg_listening_channels()")).rows, []);
      client.release();
    }
  });

  test("acquire() grants nothing in a transaction that somebody has left open", async () => {
    const pool = userPool({ max: 2 });
    const table = newTable();
    const provider = providers.open({ pool, table });
    await lead(provider, "first");
    await provider.release({ electionGroup: "first", termId: "none" }, soon());
    for (const begin of ["BEGIN", "BEGIN; SELECT 1/0"]) {
      await until("idle", () => pool.idleCount > 0);
      const client: Client = await pool.connect();
      await client.query(begin).catch(() => {});
      client.release();
      const answer = await acquire(provider, `after ${begin.length}`).catch((error) => error);
      if (answer instanceof Error) assert.match(answer.message, /transaction/);
      // Whatever was granted, others can see.
      const rows = await sql(url, `SELECT FROM ${table} WHERE election_group = $1`, [`after ${begin.length}`]);
      assert.equal(rows.length, answer instanceof Error ? 0 : 1);
      // The client does not come again.
      await lead(provider, `again ${begin.length}`);
    }
  });

  test("acquire() and renew() work on, when the table's columns change under prepared statements", async () => {
    const table = newTable();
    const pool = userPool({ max: 6 });
    const provider = providers.open({ pool, table });
    const lease = await lead(provider, "g");
    // On every connection of the pool.
    const everywhere = () =>
      Promise.all(Array.from({ length: 12 }, (_, i) => i % 2 ? provider.read("g", soon()) : acquire(provider, "g")));
    await everywhere();
    await provider.renew(lease, soon());
    for (
      const change of ["participant_id TYPE varchar(255)", 'term_id TYPE text COLLATE "C"', "metadata TYPE varchar"]
    ) {
      await sql(url, `ALTER TABLE ${table} ALTER COLUMN ${change}`);
      await everywhere();
      assert.equal(await provider.renew(lease, soon()), "renewed");
    }
    // Dropped, the table is made again, and its tokens begin again, as documented.
    await sql(url, `DROP TABLE ${table}`);
    assert.equal(await provider.read("g", soon()), null);
    await lead(provider, "g");
  });

  test("renew() goes on, when the connection that is kept for it breaks while nobody uses it", async () => {
    for (const options of [{ url }, { pool: userPool({ max: 6 }) }]) {
      const provider = providers.open({ ...options, table: newTable() });
      const lease = await lead(provider, "g");
      const mine = "usename = current_user AND state = 'idle' AND query LIKE '%renewed%' AND pid <> pg_backend_pid()";
      for (let i = 0; i < 3; i++) {
        assert.equal(await provider.renew(lease, soon()), "renewed");
        await sql(url, `SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE ${mine}`);
        // Unheard, the news of it would end the process.
        await new Promise((resolve) => setTimeout(resolve, 50));
      }
      await provider.release(lease, soon());
    }
  });

  test("a connection whose call was given up is not used again", async () => {
    for (const options of [{ url, poolSize: 1 }, { pool: userPool({ max: 2 }) }]) {
      const table = newTable();
      const provider = providers.open({ ...options, table, statementTimeout: "30s", listen: false });
      await provider.release(await lead(provider, "g"), soon());
      await whileLocked(url, `LOCK TABLE ${table} IN ACCESS EXCLUSIVE MODE`, async () => {
        await assert.rejects(acquire(provider, "g", { signal: AbortSignal.timeout(100) }));
        // Behind the statement that waits it would have to wait, too.
        await provider.healthCheck({ signal: AbortSignal.timeout(5_000) });
      });
    }
  });

  test("acquire() leaves no client checked out, when it is aborted while it waits for one", async () => {
    const pool = userPool({ max: 3 });
    const provider = providers.open({ pool, table: newTable(), listen: false });
    const taken: Client[] = await Promise.all([1, 2, 3].map(() => pool.connect() as Promise<Client>));
    for (let i = 0; i < 5; i++) {
      await assert.rejects(acquire(provider, "g", { signal: AbortSignal.timeout(20) }));
    }
    for (const client of taken) client.release();
    await until("given back", () => pool.idleCount === pool.totalCount && pool.waitingCount === 0);
    assert.equal(await provider.read("g", soon()), null);
    await lead(provider, "g");
  });

  test("[Symbol.asyncDispose]() gives back what it kept of a user's pool", async () => {
    const pool = userPool({ max: 3 });
    const provider = postgresProvider({ pool, table: newTable() });
    await lead(provider, "g");
    const hints = provider.watch?.("g", soon())[Symbol.asyncIterator]();
    await hints?.next();
    await until("kept", () => pool.totalCount - pool.idleCount >= 2);
    await provider[Symbol.asyncDispose]();
    await until("given back", () => pool.idleCount === pool.totalCount);
    await assert.rejects(acquire(provider, "g"), /the provider is closed/);
    assert.equal((await pool.query("SELECT 1")).rows.length, 1);
  });
}
