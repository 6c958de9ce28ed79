/** Heartbeats of the PostgreSQL provider: what they wait for, and what becomes of each that travels with others. */

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { buildStatements } from "../../../providers/postgres/statements.ts";
import type { Lease } from "../../../src/provider.ts";
import { backend } from "../../servers/backend.ts";
import {
  acquire,
  lead,
  newClient,
  newPool,
  newTable,
  Providers,
  soon,
  sql,
  took,
  wait,
  whileLocked,
} from "./support.ts";
import { until } from "../../until.ts";

/** What a call gets that others must not hold up: on a busy machine, too, much less than they would. */
const timely = () => ({ signal: AbortSignal.timeout(5_000) });

const server = backend("postgres");
if (server !== null) testHeartbeats(server.url);

function testHeartbeats(url: string): void {
  const providers = new Providers();
  after(() => providers.close());

  /** Makes rows of groups that nobody holds, as after many elections. */
  const makeRows = (table: string, prefix: string, count: number) =>
    sql(
      url,
      `INSERT INTO ${table} SELECT '${prefix}' || i, 1, '', 'gone', now(), now(), 100, now(), '{}' FROM generate_series(1, $1) i`,
      [count],
    );

  for (const pool of ["its own", "a user's pool of 10", "a user's pool of 2"]) {
    test(`renew() does not wait behind followers whose rows somebody has locked, with ${pool}`, async (t) => {
      const table = newTable();
      const max = Number(/\d+$/.exec(pool)?.[0]);
      const users = max > 0 ? newPool({ connectionString: url, max }) : undefined;
      const provider = providers.open(users ? { pool: users, table } : { url, table });
      t.after(async () => {
        // A pool cannot end before what it gave has come back.
        await provider[Symbol.asyncDispose]();
        await users?.end();
      });
      const leases = [await lead(provider, "a"), await lead(provider, "b")];
      await makeRows(table, "old", 300);
      const stop = new AbortController();
      await whileLocked(url, `DELETE FROM ${table} WHERE election_group LIKE 'old%'`, async () => {
        // One that waits for its row does so for a second, and all ask again and again.
        const looks = Array.from({ length: 300 }, async (_, i) => {
          for (; !stop.signal.aborted; await wait(Math.random() * 100)) {
            await acquire(provider, `old${i + 1}`, stop).catch(() => {});
          }
        });
        const others = [provider.groups?.(stop), provider.healthCheck(stop)];
        for (const each of [...looks, ...others]) Promise.resolve(each).catch(() => {});
        await until("waiting", async () => (await sql(url, "SELECT FROM pg_locks WHERE NOT granted")).length > 0);
        // Together and alone, again and again.
        for (let i = 0; i < 5; i++) {
          const time = await took(async () => {
            const outcomes = await Promise.all(leases.map((lease) => provider.renew(lease, timely())));
            assert.deepEqual(outcomes, ["renewed", "renewed"]);
            assert.equal(await provider.renew(leases[0] as Lease, timely()), "renewed");
          });
          assert.ok(time < 4_000, `${Math.round(time)} ms`);
        }
        // A leader that goes is not left in office for the sake of those that look.
        const time = await took(() => provider.release(leases[1] as Lease, timely()));
        assert.ok(time < 5_000, `release took ${Math.round(time)} ms`);
        stop.abort(new Error("enough"));
      });
      await provider.release(leases[0] as Lease, soon());
    });
  }

  test("renew() keeps its connection, when the application takes all others", async (t) => {
    const pool = newPool({ connectionString: url, max: 3 });
    const provider = providers.open({ pool, table: newTable(), listen: false });
    t.after(async () => {
      await provider[Symbol.asyncDispose]();
      await pool.end();
    });
    const lease = await lead(provider, "g");
    await until("kept", () => pool.totalCount > pool.idleCount);
    const taken: { release(): void }[] = [await pool.connect(), await pool.connect()];
    try {
      for (let i = 0; i < 3; i++) assert.equal(await provider.renew(lease, timely()), "renewed");
    } finally {
      for (const client of taken) client.release();
    }
    await provider.release(lease, soon());
    // Nothing is kept when there is no lease, and the pool can end.
    assert.equal(pool.idleCount, pool.totalCount);
  });

  test("renew() leaves the rows alone that are locked, however many, and renews the others", async () => {
    const table = newTable();
    const provider = providers.open({ url, table });
    const locked = await Promise.all(Array.from({ length: 100 }, (_, i) => lead(provider, `locked${i}`)));
    const healthy = await lead(provider, "healthy");
    await whileLocked(url, `SELECT FROM ${table} WHERE election_group LIKE 'locked%' FOR UPDATE`, async () => {
      const stop = new AbortController();
      let refused = 0;
      // Each by itself, in statements of their own, again and again: none may hold the connections of the heartbeats.
      const failing = locked.map(async (lease) => {
        while (!stop.signal.aborted) {
          await wait(Math.random() * 100);
          await assert.rejects(provider.renew(lease, stop), /another session has locked the row|enough/);
          refused++;
        }
      });
      await until("busy", () => refused >= 10);
      for (let i = 0; i < 10; i++) {
        const time = await took(async () => assert.equal(await provider.renew(healthy, timely()), "renewed"));
        assert.ok(time < 2_000, `${Math.round(time)} ms`);
        await wait(20);
      }
      stop.abort(new Error("enough"));
      await Promise.all(failing);
    });
    for (const lease of locked) assert.equal(await provider.renew(lease, soon()), "renewed");
  });

  test("renew() sends the 1,001st heartbeat, too", async () => {
    const table = newTable();
    const provider = providers.open({ url, table });
    await provider.read("any", soon());
    const first = await lead(provider, "g1");
    const count = 2_003;
    await sql(
      url,
      `INSERT INTO ${table} SELECT 'g' || i, token, term_id, participant_id, acquired_at, heartbeat_at, timeout_ms, expires_at,
        metadata FROM ${table}, generate_series(2, $1) i WHERE election_group = 'g1'`,
      [count],
    );
    const [before] = await sql(url, "SELECT clock_timestamp()::text AS at");
    const leases = Array.from({ length: count }, (_, i) => ({ ...first, electionGroup: `g${i + 1}` }));
    const outcomes = await Promise.all(leases.map((lease) => provider.renew(lease, soon())));
    assert.ok(outcomes.every((outcome) => outcome === "renewed"));
    const [late] = await sql(url, `SELECT count(*)::int AS n FROM ${table} WHERE heartbeat_at > $1`, [before?.at]);
    assert.equal(late?.n, count);
  });

  test("renew() tells each lease its own outcome, when callers leave while the batch is under way", async () => {
    const table = newTable();
    const provider = providers.open({ url, table });
    const names = ["a", "b", "c", "d", "e"];
    const leases = new Map<string, Lease>();
    for (const name of names) leases.set(name, await lead(provider, name));
    const lease = (name: string) => leases.get(name) as Lease;
    await provider.release(lease("b"), soon());
    await provider.release(lease("c"), soon());
    const leaving = new AbortController();
    let calls: Promise<string>[] = [];
    // The statement waits for the table, so that callers can leave after it was sent.
    await whileLocked(url, `LOCK TABLE ${table} IN ACCESS EXCLUSIVE MODE`, async () => {
      calls = names.map((name) => provider.renew(lease(name), name < "c" ? leaving : soon()));
      for (const call of calls) call.catch(() => {});
      await until("sent", async () => (await sql(url, "SELECT FROM pg_locks WHERE NOT granted")).length > 0);
      leaving.abort(new Error("left"));
    });
    const results = await Promise.allSettled(calls);
    const told = results.map((each) => each.status === "fulfilled" ? each.value : each.reason.message);
    assert.deepEqual(told, ["left", "left", "lost", "renewed", "renewed"]);
  });

  test("renew() fails alone, when a lease breaks a constraint of the user's table", async () => {
    const table = newTable();
    const provider = providers.open({ url, table });
    const leases = await Promise.all(Array.from({ length: 50 }, (_, i) => lead(provider, `g${i}`)));
    await sql(url, `ALTER TABLE ${table} ADD CHECK (metadata NOT LIKE '%forbidden%')`);
    const metadata = { x: "forbidden" };
    const results = await Promise.allSettled(
      leases.map((lease, i) => provider.renew(lease, { ...soon(), ...(i % 20 === 7 && { metadata }) })),
    );
    results.forEach((result, i) => {
      if (i % 20 !== 7) assert.equal(result.status === "fulfilled" && result.value, "renewed", `g${i}`);
      else assert.match(result.status === "rejected" ? result.reason.message : "", /violates check constraint/);
    });
    // The lease itself is not hurt.
    assert.equal(await provider.renew(leases[7] as Lease, soon()), "renewed");
  });

  test("renew() with metadata that the table refuses costs no heartbeat of the same lease", async () => {
    const table = newTable();
    const provider = providers.open({ url, table });
    const lease = await lead(provider, "g", { metadata: { x: "allowed" } });
    const other = await lead(provider, "h");
    await sql(url, `ALTER TABLE ${table} ADD CHECK (metadata NOT LIKE '%forbidden%')`);
    for (const others of [[], [other]]) {
      const refused = provider.renew(lease, { ...soon(), metadata: { x: "forbidden" } });
      const heartbeats = [lease, ...others].map((each) => provider.renew(each, soon()));
      await assert.rejects(refused, /violates check constraint/);
      assert.ok((await Promise.all(heartbeats)).every((outcome) => outcome === "renewed"));
    }
    assert.deepEqual((await provider.read("g", soon()))?.metadata, { x: "allowed" });
  });

  test("renew() and a repeated acquire() never shorten a lease, nor move its last heartbeat back", async () => {
    const table = newTable();
    const provider = providers.open({ url, table });
    const lease = await lead(provider, "g", { termId: "t", heartbeatTimeout: 60_000 });
    // As a later call of the same term has left it: a second ahead of what the clock says.
    const ahead = (interval: string) =>
      sql(
        url,
        `UPDATE ${table} SET expires_at = expires_at + interval '${interval}', heartbeat_at = heartbeat_at + interval '${interval}'`,
      );
    const times = async () => {
      const [row] = await sql(
        url,
        `SELECT extract(epoch FROM expires_at)::float8 AS expiry, extract(epoch FROM heartbeat_at)::float8 AS heartbeat,
          extract(epoch FROM expires_at - clock_timestamp())::float8 AS remaining FROM ${table} WHERE election_group = 'g'`,
      );
      return { expiry: Number(row?.expiry), heartbeat: Number(row?.heartbeat), remaining: Number(row?.remaining) };
    };
    const other = await lead(provider, "other");
    const calls: (() => Promise<unknown>)[] = [
      () => provider.renew(lease, soon()),
      () => Promise.all([provider.renew(lease, soon()), provider.renew(other, soon())]),
      () => acquire(provider, "g", { termId: "t", heartbeatTimeout: 60_000 }),
      () => acquire(provider, "g", { termId: "t", heartbeatTimeout: 1_000 }),
      () => provider.renew({ ...lease, heartbeatTimeout: 1_000 }, soon()),
    ];
    await ahead("10 seconds");
    for (const [i, call] of calls.entries()) {
      const before = await times();
      await call();
      const after = await times();
      assert.ok(after.expiry >= before.expiry, `call ${i} made the lease shorter`);
      assert.ok(after.heartbeat >= before.heartbeat, `call ${i} moved the last heartbeat back`);
    }
    // What lies hours ahead was written by a clock that has been set back. It would keep a dead leader in office.
    for (const [i, call] of calls.entries()) {
      await ahead("1 hour");
      await call();
      const { remaining } = await times();
      assert.ok(remaining > 0 && remaining <= 60, `after call ${i} the lease has ${remaining} s left`);
    }
    // Another term gets no more than it asks for, whatever its predecessor had.
    await ahead("10 seconds");
    await provider.release(lease, soon());
    await lead(provider, "g", { heartbeatTimeout: 1_000 });
    assert.ok((await times()).remaining <= 1);
  });

  test("renew() counts from when it got the row, not from when its statement began", async () => {
    const table = newTable();
    const provider = providers.open({ url, table });
    const lease = await lead(provider, "g", { heartbeatTimeout: 2_000 });
    const { renewLocked, acquire: acquiring } = buildStatements("public", table);
    const statements: [string, unknown[]][] = [
      [renewLocked.text, [["g"], [lease.termId], [2_000], [null], [null], [null], "10s"]],
      [acquiring.text, ["g", lease.termId, "p", 2_000, "{}", "10s", null, null, "a", 1]],
    ];
    for (const [text, values] of statements) {
      const waiting = await newClient(url);
      let done: Promise<unknown> = Promise.resolve();
      await whileLocked(url, `SELECT FROM ${table} FOR UPDATE`, async () => {
        done = waiting.query(text, values);
        await wait(1_000);
      });
      await done;
      const [row] = await sql(
        url,
        `SELECT extract(epoch FROM expires_at - clock_timestamp())::float8 AS left FROM ${table}`,
      );
      assert.ok(Number(row?.left) > 1.2, `${row?.left} s of 2 s are left right after the renewal`);
      await waiting.end();
    }
  });

  test("renew() that arrives when its lease has expired renews nothing, unless its caller is there to confirm it", async () => {
    const table = newTable();
    const provider = providers.open({ url, table });
    const { termId } = await lead(provider, "g", { heartbeatTimeout: 100 });
    await until("expired", async () => await provider.read("g", soon()) === null);
    // As a server that has stalled carries them out, long after the term is over on its leader's side.
    const { renew, renewOne } = buildStatements("public", table);
    const before = await sql(url, `SELECT * FROM ${table}`);
    await sql(url, renewOne.text, ["g", termId, 60_000, null, "1s"]);
    await sql(url, renew.text, [["g"], [termId], [60_000], [null], [null], [null]]);
    assert.deepEqual(await sql(url, `SELECT * FROM ${table}`), before);
  });

  test("release() of an expired lease frees it for those that do not believe the clock", async () => {
    const table = newTable();
    const provider = providers.open({ url, table });
    const lease = await lead(provider, "g", { heartbeatTimeout: 100 });
    await until("expired", async () => await provider.read("g", soon()) === null);
    assert.equal(await provider.release(lease, soon()), "released");
    assert.deepEqual(await sql(url, `SELECT term_id FROM ${table}`), [{ term_id: "" }]);
  });

  test("acquire() that arrives after its own release gets nothing, and the next one does", async () => {
    const table = newTable();
    const provider = providers.open({ url, table });
    const early = new AbortController();
    await provider.release(await lead(provider, "g", { termId: "t" }), soon());
    let late: Promise<unknown> = Promise.resolve();
    // The statement of a call that its caller has given up waits for the row, and the release overtakes it.
    await whileLocked(url, `SELECT FROM ${table} FOR UPDATE`, async () => {
      late = acquire(provider, "g", { termId: "t", signal: early.signal }).catch(() => {});
      await until("waiting", async () => (await sql(url, "SELECT FROM pg_locks WHERE NOT granted")).length > 0);
    });
    await late;
    await provider.release({ electionGroup: "g", termId: "t" }, soon());
    const { acquire: acquiring } = buildStatements("public", table);
    const [row] = await sql(url, `SELECT released_by, released_call::int FROM ${table}`);
    const again = (call: number) =>
      sql(url, acquiring.text, ["g", "t", "p", 60_000, "{}", "1s", null, null, row?.released_by, call]);
    assert.deepEqual(await again(Number(row?.released_call)), []);
    assert.equal(await provider.read("g", soon()), null);
    // Another's is not late, nor is one that was asked for since.
    await lead(provider, "g", { termId: "t" });
    await providers.open({ url, table }).release({ electionGroup: "g", termId: "t" }, soon());
    await lead(provider, "g", { termId: "t" });
  });
}
