/** Looks and releases of the PostgreSQL provider that travel together: each is decided as if it had come alone. */

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { LeaderElection } from "../../../mod.ts";
import { buildStatements } from "../../../providers/postgres/statements.ts";
import type { Lease } from "../../../src/provider.ts";
import { backend } from "../../servers/backend.ts";
import { until } from "../../until.ts";
import { acquire, lead, newTable, Providers, soon, sql, wait, whileLocked } from "./support.ts";

const server = backend("postgres");
if (server !== null) testJoined(server.url);

function testJoined(url: string): void {
  const providers = new Providers();
  after(() => providers.close());

  /** How many statements about `table` the server has executed; null where it does not count. */
  async function statements(table: string): Promise<number | null> {
    try {
      await sql(url, "CREATE EXTENSION IF NOT EXISTS pg_stat_statements");
      const counted = "SELECT coalesce(sum(calls), 0)::int AS calls FROM pg_stat_statements WHERE query LIKE $1";
      return Number((await sql(url, counted, [`%${table}%`]))[0]?.calls);
    } catch {
      return null;
    }
  }

  test("acquire() and release() send one statement for a thousand groups, when they are asked for together", async (t) => {
    const table = newTable();
    const provider = providers.open({ url, table });
    // The table is made by whoever comes first.
    await lead(provider, "first");
    const groups = Array.from({ length: 1_000 }, (_, i) => `g${i}`);
    const ask = () => Promise.all(groups.map((group) => acquire(provider, group)));
    const leases: Lease[] = [];
    const rounds: [string, () => Promise<void>][] = [
      ["won", async () => {
        for (const answer of await ask()) if (answer.acquired) leases.push(answer.lease);
        assert.deepEqual(leases.map(({ token }) => token), groups.map(() => 1n));
      }],
      ["held", async () => {
        for (const [i, answer] of (await ask()).entries()) {
          assert.equal(!answer.acquired && answer.leader?.termId, leases[i]?.termId);
        }
      }],
      ["released", async () => {
        const outcomes = await Promise.all(leases.map((lease) => provider.release(lease, soon())));
        assert.ok(outcomes.every((outcome) => outcome === "released"));
      }],
      ["won again", async () => {
        for (const answer of await ask()) assert.equal(answer.acquired && answer.lease.token, 2n);
      }],
    ];
    for (const [name, round] of rounds) {
      const before = await statements(table);
      await round();
      const counted = await statements(table);
      if (before === null || counted === null) return t.skip("the server has no pg_stat_statements");
      assert.equal(counted - before, 1, `${name}: ${counted - before} statements`);
    }
  });

  test("acquire() gives each group its own answer, when many are asked for together", async () => {
    const table = newTable();
    const provider = providers.open({ url, table });
    const held = await lead(provider, "held");
    await lead(provider, "expired", { heartbeatTimeout: 100 });
    await provider.release(await lead(provider, "released"), soon());
    await lead(provider, "again", { termId: "again" });
    await lead(provider, "locked", { heartbeatTimeout: 100 });
    await until("expired", async () => await provider.read("locked", soon()) === null);
    const gone = new AbortController();
    await whileLocked(url, `SELECT FROM ${table} WHERE election_group = 'locked' FOR UPDATE`, async () => {
      const answers = Promise.allSettled([
        acquire(provider, "new", { metadata: { quote: `'"\\{},` } }),
        acquire(provider, "held"),
        acquire(provider, "expired"),
        acquire(provider, "released"),
        acquire(provider, "again", { termId: "again" }),
        acquire(provider, "contended"),
        acquire(provider, "contended"),
        acquire(provider, "locked"),
        acquire(provider, "left", { signal: gone.signal }),
      ]);
      gone.abort(new Error("left"));
      const told = (await answers).map((each) => {
        if (each.status === "rejected") return /has locked|left/.exec(each.reason.message)?.[0];
        return each.value.acquired ? each.value.lease.token : each.value.leader?.termId ?? "raced";
      });
      const contended = told.splice(5, 2);
      assert.deepEqual(told, [1n, held.termId, 2n, 2n, 1n, "has locked", "left"]);
      assert.equal(contended.filter((each) => each === 1n).length, 1, String(contended));
      assert.equal(contended.filter((each) => typeof each === "string").length, 1, String(contended));
    });
    assert.deepEqual((await provider.read("new", soon()))?.metadata, { quote: `'"\\{},` });
    // A call that was given up before it was sent is never sent.
    assert.equal(await provider.read("left", soon()), null);
  });

  test("acquire() of many together gets a row that was locked for a moment", async () => {
    const table = newTable();
    const provider = providers.open({ url, table });
    await provider.release(await lead(provider, "passing"), soon());
    // More than once: on a busy machine, that moment may be too long.
    await until("granted", async () => {
      let passing: ReturnType<typeof acquire> | undefined;
      await whileLocked(url, `SELECT FROM ${table} WHERE election_group = 'passing' FOR UPDATE`, async () => {
        passing = acquire(provider, "passing");
        passing.catch(() => {});
        await acquire(provider, "beside");
      });
      return await passing?.then(({ acquired }) => acquired, () => false) === true;
    });
  });

  test("acquire() fails alone, when a row of those that were asked for together breaks a constraint", async () => {
    const table = newTable();
    const provider = providers.open({ url, table });
    await lead(provider, "first");
    await sql(url, `ALTER TABLE ${table} ADD CHECK (election_group <> 'bad')`);
    const answers = await Promise.allSettled(["a", "bad", "b"].map((group) => acquire(provider, group)));
    assert.deepEqual(answers.map((each) => each.status === "fulfilled" && each.value.acquired), [true, false, true]);
    assert.ok(answers[1]?.status === "rejected" && /check constraint/.test(answers[1].reason.message));
  });

  test("acquire() is not held up by those that wait for rows which another session has locked", async () => {
    const table = newTable();
    const provider = providers.open({ url, table });
    const lockedGroups = Array.from({ length: 40 }, (_, i) => `locked${i}`);
    for (const lease of await Promise.all([...lockedGroups, "free"].map((group) => lead(provider, group)))) {
      await provider.release(lease, soon());
    }
    const lock = `SELECT FROM ${table} WHERE election_group LIKE 'locked%' FOR UPDATE`;
    await whileLocked(url, lock, async () => {
      const answered: string[] = [];
      const ask = (group: string) =>
        acquire(provider, group).catch((error) => error).then((answer) => (answered.push(group), answer));
      const calls: ReturnType<typeof ask>[] = [];
      for (const group of [...lockedGroups, "free"]) {
        calls.push(ask(group));
        // Each in a turn of its own.
        await new Promise((resolve) => setImmediate(resolve));
      }
      const answers = await Promise.all(calls);
      assert.equal(answers.at(-1)?.acquired, true);
      assert.ok(answered.indexOf("free") < lockedGroups.length / 2, String(answered));
      for (const refused of answers.slice(0, -1)) assert.match(refused.message, /has locked the row/);
    });
  });

  test("acquire() fails alone, when a policy refuses the row of one of those that were asked for together", async () => {
    const [table, role] = [newTable(), `role_${newTable()}`];
    await lead(providers.open({ url, table }), "first");
    for (
      const statement of [
        `CREATE ROLE ${role} LOGIN PASSWORD 'secret'`,
        `GRANT SELECT, INSERT, UPDATE ON ${table} TO ${role}`,
        `ALTER TABLE ${table} ENABLE ROW LEVEL SECURITY`,
        `CREATE POLICY own ON ${table} USING (true) WITH CHECK (election_group <> 'theirs')`,
      ]
    ) await sql(url, statement);
    const own = Object.assign(new URL(url), { username: role, password: "secret" });
    const provider = providers.open({ url: own.href, table });
    const answers = await Promise.allSettled(["a", "theirs", "b"].map((group) => acquire(provider, group)));
    assert.deepEqual(answers.map((each) => each.status === "fulfilled" && each.value.acquired), [true, false, true]);
    assert.ok(answers[1]?.status === "rejected" && /row-level security policy/.test(answers[1].reason.message));
    await sql(url, `DROP TABLE ${table}`);
    await sql(url, `DROP ROLE ${role}`);
  });

  test("release() of many together frees none that another holds, and is held up by no locked row", async () => {
    const table = newTable();
    const provider = providers.open({ url, table });
    const leases = await Promise.all(["a", "b", "locked"].map((group) => lead(provider, group)));
    const other = { electionGroup: "b", termId: "other" };
    await whileLocked(url, `SELECT FROM ${table} WHERE election_group = 'locked' FOR UPDATE`, async () => {
      const [a, b, locked] = await Promise.allSettled(
        [leases[0] as Lease, other, leases[2] as Lease].map((each) => provider.release(each, soon())),
      );
      assert.deepEqual([a, b].map((each) => each?.status === "fulfilled" && each.value), ["released", "notHolder"]);
      assert.ok(locked?.status === "rejected" && /has locked the row/.test(locked.reason.message));
    });
    assert.equal((await provider.read("b", soon()))?.termId, leases[1]?.termId);
    assert.equal((await provider.read("locked", soon()))?.termId, leases[2]?.termId);
  });

  test("acquire() of many together goes by what each has seen, and by what came before it", async () => {
    const table = newTable();
    const provider = providers.open({ url, table });
    for (const group of ["early", "late", "still", "moved"]) await lead(provider, group, { heartbeatTimeout: 100 });
    for (const group of ["overtaken", "after"]) {
      await provider.release(await lead(provider, group, { termId: "t" }), soon());
    }
    await until("expired", async () => await provider.read("moved", soon()) === null);
    await sql(url, `UPDATE ${table} SET released_by = 'me t', released_call = 5 WHERE term_id = ''`);
    const [{ version } = {}] = await sql(
      url,
      `SELECT xmin::text || ' ' || extract(epoch FROM heartbeat_at)::text AS version FROM ${table}
        WHERE election_group = 'still'`,
    );
    const now = Date.now();
    const cases: [group: string, stale: unknown, earliest: number | null, latest: number | null, call: number][] = [
      // A clock that is behind or ahead of what is believed ends nothing, and neither does a version of long ago.
      ["early", null, now + 3_600_000, null, 9],
      ["late", null, null, now - 3_600_000, 9],
      ["still", version, now + 3_600_000, null, 9],
      ["moved", "1 2", now + 3_600_000, null, 9],
      // A call that its own release has overtaken gets nothing; the next one does.
      ["overtaken", null, null, null, 5],
      ["after", null, null, null, 6],
    ];
    const column = (index: number) => cases.map((each) => each[index]);
    const all = (value: unknown) => cases.map(() => value);
    const { text } = buildStatements("public", table).acquireMany;
    const answers = await sql(url, text, [
      ...[column(0), all("t"), all("p"), all(60_000), all("{}"), column(1), column(2), column(3), column(4)],
      ...["me", "1s"],
    ]);
    // Each is told, also the one that gets nothing.
    assert.deepEqual(answers.map(({ ordinal }) => Number(ordinal)).sort(), [1, 2, 3, 4, 5, 6]);
    const rows = await sql(url, `SELECT election_group FROM ${table} WHERE term_id = 't' ORDER BY election_group`);
    assert.deepEqual(rows.map((row) => row.election_group), ["after", "still"]);
  });

  test("many who follow by one provider listen on one connection, and ask nothing while it lives", async (t) => {
    const table = newTable();
    const [leading, following] = [providers.open({ url, table }), providers.open({ url, table })];
    const groups = Array.from({ length: 200 }, (_, i) => `g${i}`);
    const timing = { heartbeatTimeout: 90_000, heartbeatInterval: 30_000, electionInterval: 500, logger: null };
    const [leaders, followers] = [leading, following].map((provider) =>
      groups.map((electionGroup) => new LeaderElection(provider, { electionGroup, ...timing }))
    );
    assert.ok(leaders && followers);
    try {
      await Promise.all(leaders.map((election) => election.start()));
      await Promise.all(followers.map((election) => election.start()));
      const { channel } = buildStatements("public", table);
      const listening = "SELECT count(*)::int AS n FROM pg_stat_activity WHERE query = $1";
      const listeners = async () => Number((await sql(url, listening, [`LISTEN "${channel}"`]))[0]?.n);
      await until("one listens", async () => await listeners() > 0);
      if (await statements(table) === null) return t.skip("the server has no pg_stat_statements");
      // Each looks once more when it begins to listen; polling would be 400 looks a second, without an end.
      await until("nobody asks any more", async () => {
        const before = await statements(table);
        await wait(2_000);
        return await statements(table) === before;
      });
      assert.equal(await listeners(), 1);
      assert.ok(followers.every(({ isLeader, status }) => !isLeader && status.currentLeader !== null));
    } finally {
      for (const elections of [followers, leaders]) await Promise.all(elections.map((election) => election.stop()));
    }
  });
}
