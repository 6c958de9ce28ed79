/**
 * The statements of the SQL Server provider where time decides: late ones, ones that wait, a clock that is stepped, and
 * transactions that nobody commits. Each is translated to PostgreSQL and runs there, where PostgreSQL can be had.
 */

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import pg from "pg";
import { type SqlServerOptions, sqlserverProvider } from "../../providers/sqlserver.ts";
import { type Clock, systemClock } from "../../src/time/clock.ts";
import type { Acquired, AcquireRequest, Lease, Provider } from "../../src/provider.ts";
import { postgresServer } from "../servers/postgres.ts";
import { driver, poolOn, type TsqlOptions } from "./sqlserver/tsql_on_postgres.ts";

const HOUR = 3_600_000;
const soon = () => ({ signal: AbortSignal.timeout(20_000) });
/** The pools keep timers for their idle connections until they are ended. */
const options = { sanitizeOps: false, sanitizeResources: false };

/** What a test works with. */
interface Stage {
  /** Opens a provider whose T-SQL runs as `tsql` says. */
  open(tsql?: TsqlOptions, more?: SqlServerOptions): Provider;
  /** Asks PostgreSQL itself. */
  sql(text: string, values?: unknown[]): Promise<Record<string, unknown>[]>;
  /** The row of a group. */
  row(electionGroup: string): Promise<{ version: string; expires: number; heartbeat: number; token: number }>;
}

let server: { url: string; stop(): Promise<void> } | null = null;
let isMissing = false;

async function urlOfServer(): Promise<string | null> {
  if (server === null && !isMissing) {
    try {
      await postgresServer.install();
      server = await postgresServer.start();
    } catch (error) {
      console.error(`SKIPPED: the statements of SQL Server on PostgreSQL: ${error}`);
      isMissing = true;
    }
  }
  return server?.url ?? null;
}

Deno.test.afterAll(() => server?.stop());

function test(name: string, run: (stage: Stage) => Promise<void>): void {
  Deno.test(name, options, async () => {
    const url = await urlOfServer();
    if (url === null) return;
    const ends: (() => PromiseLike<unknown>)[] = [];
    const { Client } = pg as unknown as { Client: new (url: string) => PgClient };
    const client = new Client(url);
    await client.connect();
    ends.push(() => client.end());
    try {
      await run({
        open(tsql, more) {
          const pool = poolOn(url, tsql);
          const provider = sqlserverProvider({ pool, driver, ...more });
          ends.unshift(() => provider[Symbol.asyncDispose](), () => pool.end());
          return provider;
        },
        sql: async (text, values = []) => (await client.query(text, values)).rows,
        async row(electionGroup) {
          const ms = (column: string) => `(extract(epoch FROM ${column}) * 1000)::float8`;
          const { rows: [row] } = await client.query(
            `SELECT version, token::int, ${ms("expires_at")} AS expires, ${ms("heartbeat_at")} AS heartbeat
             FROM dbo.multilock_leases WHERE election_group = $1`,
            [electionGroup],
          );
          assert.ok(row !== undefined);
          return row as never;
        },
      });
    } finally {
      for (const end of ends) await end();
    }
  });
}

interface PgClient {
  connect(): Promise<void>;
  query(text: string, values: unknown[]): Promise<{ rows: Record<string, unknown>[] }>;
  end(): Promise<void>;
}

function requestFor(electionGroup: string, changes: Partial<AcquireRequest> = {}): AcquireRequest {
  const [participantId, termId] = [`p-${randomUUID()}`, randomUUID()];
  return { electionGroup, participantId, termId, heartbeatTimeout: 60_000, metadata: {}, ...changes };
}

async function win(provider: Provider, request: AcquireRequest): Promise<Lease> {
  const answer = await provider.acquire(request, soon());
  assert.ok(answer.acquired, "the lease must be granted");
  return (answer as Acquired).lease;
}

/** Holds back the next statement that matches, once armed. */
class Gate {
  #pattern: RegExp | null = null;
  #release = () => {};
  #held = () => {};

  readonly hold = (statement: string): Promise<void> => {
    if (this.#pattern === null || !this.#pattern.test(statement)) return Promise.resolve();
    this.#pattern = null;
    this.#held();
    return new Promise((resolve) => this.#release = resolve);
  };

  /** Resolves when a statement is held back. */
  arm(pattern: RegExp): Promise<void> {
    this.#pattern = pattern;
    return new Promise((resolve) => this.#held = resolve);
  }

  open(): void {
    this.#release();
  }
}

/** A monotonic clock that a test moves. */
function handClock(): Clock & { pass(ms: number): void } {
  let now = 1_000;
  return { ...systemClock, monotonic: () => now, pass: (ms) => now += ms };
}

const pause = (ms: number) => new Promise((resolve) => setTimeout(resolve, ms));

const CALLS: Readonly<Record<string, (provider: Provider, request: AcquireRequest, lease: Lease) => Promise<unknown>>> =
  {
    "renew()": (provider, _, lease) => provider.renew(lease, soon()),
    "renew() with metadata": (provider, _, lease) => provider.renew(lease, { ...soon(), metadata: { a: "b" } }),
    "acquire()": (provider, request) => win(provider, request).then(() => "renewed"),
  };

for (const [late, callLate] of Object.entries(CALLS)) {
  for (const [punctual, callInTime] of Object.entries(CALLS)) {
    test(`${late} shortens no lease, when it lands after a later ${punctual} of its term`, async ({ open, row }) => {
      const gate = new Gate();
      const [slow, quick] = [open({ hold: gate.hold }), open()];
      const request = requestFor(randomUUID());
      const lease = await win(slow, request);
      const held = gate.arm(/^UPDATE/);
      const answer = callLate(slow, request, lease);
      await held;
      await pause(50);
      assert.equal(await callInTime(quick, request, lease), "renewed");
      const before = await row(lease.electionGroup);
      gate.open();
      assert.equal(await answer, "renewed");
      const after = await row(lease.electionGroup);
      assert.equal(after.expires, before.expires, "the later expiry must stay");
      assert.equal(after.heartbeat, before.heartbeat, "the later heartbeat must stay");
      assert.notEqual(after.version, before.version, "a write must change the version");
      assert.equal(after.token, Number(lease.token));
    });
  }
}

for (const late of ["renew() with metadata", "acquire()"] as const) {
  test(`${late} leaves newer metadata alone, when it lands after it`, async ({ open }) => {
    const gate = new Gate();
    const [holder, other] = [open({ hold: gate.hold }), open()];
    const request = requestFor(randomUUID(), { metadata: { is: "old" } });
    const lease = await win(holder, request);
    const held = gate.arm(/^UPDATE/);
    const answer = CALLS[late]?.(holder, request, lease);
    await held;
    const metadata = { is: "new" };
    assert.equal(await holder.renew(lease, { ...soon(), metadata }), "renewed");
    gate.open();
    assert.equal(await answer, "renewed");
    assert.deepEqual((await other.read(lease.electionGroup, soon()))?.metadata, metadata);
    // What another client writes counts nevertheless, and so does the next term.
    assert.equal(await other.renew(lease, { ...soon(), metadata: { is: "other" } }), "renewed");
    assert.deepEqual((await holder.read(lease.electionGroup, soon()))?.metadata, { is: "other" });
    await holder.release(lease, soon());
    await win(holder, requestFor(lease.electionGroup, { metadata: { is: "next" } }));
    assert.deepEqual((await other.read(lease.electionGroup, soon()))?.metadata, { is: "next" });
  });
}

test("acquire() writes its own metadata, when it lands after another term of its provider", async ({ open }) => {
  const gate = new Gate();
  const provider = open({ hold: gate.hold });
  const group = randomUUID();
  await win(provider, requestFor(randomUUID()));
  const held = gate.arm(/^UPDATE/);
  const answer = win(provider, requestFor(group, { metadata: { is: "late" } }));
  await held;
  await provider.release(await win(provider, requestFor(group, { metadata: { is: "other" } })), soon());
  gate.open();
  await answer;
  assert.deepEqual((await provider.read(group, soon()))?.metadata, { is: "late" });
});

test("renew() moves the expiry and the heartbeat on, when nothing is late", async ({ open, row }) => {
  const provider = open();
  const request = requestFor(randomUUID());
  const lease = await win(provider, request);
  let before = await row(lease.electionGroup);
  for (const call of Object.values(CALLS)) {
    await pause(20);
    await call(provider, request, lease);
    const after = await row(lease.electionGroup);
    assert.ok(after.expires >= before.expires + 15 && after.heartbeat >= before.heartbeat + 15);
    assert.notEqual(after.version, before.version);
    before = after;
  }
  await provider.release(lease, soon());
  assert.notEqual((await row(lease.electionGroup)).version, before.version, "a release must change the version");
});

test("renew() keeps the longer lease, when it asks for less", async ({ open, row }) => {
  const [provider, clock] = [open(), handClock()];
  const request = requestFor(randomUUID());
  const lease = await win(provider, request);
  const before = await row(lease.electionGroup);
  assert.equal(await provider.renew({ ...lease, heartbeatTimeout: 1_000 }, soon()), "renewed");
  await win(provider, { ...request, heartbeatTimeout: 1_000 });
  assert.equal((await row(lease.electionGroup)).expires, before.expires);
  // Nor does it make a standstill shorter.
  const observer = open({}, { clock });
  await observer.read(lease.electionGroup, soon());
  clock.pass(59_000);
  assert.ok(await observer.read(lease.electionGroup, soon()) !== null);
});

test("acquire() is granted from before it waited, when its statement was held back", async ({ open, row }) => {
  const gate = new Gate();
  const provider = open({ hold: gate.hold });
  const request = requestFor(randomUUID(), { heartbeatTimeout: 1_000 });
  await provider.read(request.electionGroup, soon());
  const held = gate.arm(/^UPDATE/);
  const answer = provider.acquire(request, soon());
  await held;
  const heldAt = systemClock.wall();
  await pause(400);
  gate.open();
  assert.ok((await answer).acquired);
  assert.ok((await row(request.electionGroup)).expires < heldAt + 1_000 + 200, "what it waited must not count");
});

test("renew() is lost, when only a call that asked for less was granted", async ({ open }) => {
  const gates = [new Gate(), new Gate()] as const;
  const [first, second] = gates.map(({ hold }) => open({ hold })) as [Provider, Provider];
  const lease = await win(first, requestFor(randomUUID(), { heartbeatTimeout: 2_000 }));
  await pause(1_000);
  const held = gates[0].arm(/^UPDATE/);
  const early = first.renew(lease, soon());
  await held;
  // By now the lease has expired, and the second call finds nothing to renew; then the first one lands.
  await pause(1_200);
  const looking = gates[1].arm(/^SELECT 1 AS held/);
  const late = second.renew(lease, soon());
  await looking;
  gates[0].open();
  assert.equal(await early, "renewed");
  gates[1].open();
  assert.equal(await late, "lost", "the row holds less than this call asked for");
});

test("acquire() is granted no more than its row holds", async ({ open }) => {
  const gates = [new Gate(), new Gate()] as const;
  const [first, second] = gates.map(({ hold }) => open({ hold })) as [Provider, Provider];
  const group = randomUUID();
  const other = await win(first, requestFor(group));
  const request = requestFor(group, { heartbeatTimeout: 1_000 });
  // The second call finds another term's lease; before it looks who leads, that is released and a call that began
  // earlier lands.
  const looking = gates[1].arm(/^SELECT participant_id/);
  const waiting = gates[0].arm(/^SELECT 1 FROM/);
  const early = first.acquire(request, soon());
  await waiting;
  await pause(300);
  const late = second.acquire(request, soon());
  await looking;
  await second.release(other, soon());
  gates[0].open();
  assert.ok((await early).acquired);
  gates[1].open();
  assert.ok(!(await late).acquired, "the row holds less than this call asked for");
});

test("renew() and release() change nothing, when another term holds the lease", async ({ open, row }) => {
  const provider = open();
  const lease = await win(provider, requestFor(randomUUID()));
  const before = await row(lease.electionGroup);
  const stranger = { ...lease, termId: randomUUID() };
  assert.equal(await provider.renew(stranger, soon()), "lost");
  assert.equal(await provider.renew(stranger, { ...soon(), metadata: { a: "b" } }), "lost");
  assert.equal(await provider.release(stranger, soon()), "notHolder");
  assert.deepEqual(await row(lease.electionGroup), before);
  assert.equal(await provider.renew(lease, soon()), "renewed");
});

test("renew() is lost, when it lands after a take-over", async ({ open }) => {
  const gate = new Gate();
  const [slow, other] = [open({ hold: gate.hold }), open()];
  const lease = await win(slow, requestFor(randomUUID(), { heartbeatTimeout: 300 }));
  const held = gate.arm(/^UPDATE/);
  const late = slow.renew(lease, soon());
  await held;
  await pause(350);
  const next = await win(other, requestFor(lease.electionGroup));
  gate.open();
  assert.equal(await late, "lost");
  assert.equal((await other.read(lease.electionGroup, soon()))?.termId, next.termId);
  assert.ok(next.token > lease.token);
});

test("acquire() takes nothing, when another is granted between its look and its write", async ({ open }) => {
  const gate = new Gate();
  const [winner, contender] = [open(), open({ hold: gate.hold })];
  const group = randomUUID();
  await winner.release(await win(winner, requestFor(group)), soon());
  const held = gate.arm(/^UPDATE/);
  const answer = contender.acquire(requestFor(group), soon());
  await held;
  const lease = await win(winner, requestFor(group));
  gate.open();
  const refused = await answer;
  assert.ok(!refused.acquired && refused.leader?.termId === lease.termId);
  assert.equal(await winner.renew(lease, soon()), "renewed");
});

test("acquire() waits for a standstill and no longer, when the clock was set back by an hour", async ({ open, row }) => {
  const [clock, late] = [handClock(), handClock()];
  const step = { clockOffset: () => -HOUR };
  const lease = await win(open(), requestFor(randomUUID(), { heartbeatTimeout: 15_000 }));
  const observer = open(step, { clock });
  const request = requestFor(lease.electionGroup);
  const first = await observer.acquire(request, soon());
  assert.ok(!first.acquired && first.leader !== null);
  assert.ok((first.leader.expiresIn ?? 0) <= 15_015 && (first.leader.expiresIn ?? 0) > 14_000, "never over a lease");
  clock.pass(14_900);
  assert.ok(!(await observer.acquire(request, soon())).acquired);
  clock.pass(200);
  assert.equal(await observer.read(lease.electionGroup, soon()), null, "it has stood still for a lease");
  const newcomer = open(step, { clock: late });
  assert.ok(!(await newcomer.acquire(requestFor(lease.electionGroup), soon())).acquired);
  const next = await win(observer, request);
  assert.ok(next.token > lease.token);
  // The new lease counts by the clock as it is now, and not by that of the lease before.
  const { expires, heartbeat } = await row(lease.electionGroup);
  assert.ok(Math.max(expires - 60_000, heartbeat) < systemClock.wall() - HOUR + 10_000);
  late.pass(500);
  const seen = await newcomer.read(lease.electionGroup, soon());
  assert.equal(seen?.termId, next.termId);
  assert.ok((seen?.expiresIn ?? Infinity) <= 60_060);
});

test("acquire() takes over nothing, when a failover brought back an older row, renewed as often since", async ({ open, sql }) => {
  const clock = handClock();
  const [holder, observer] = [open(), open({}, { clock })];
  const lease = await win(holder, requestFor(randomUUID(), { heartbeatTimeout: 15_000 }));
  const columns = ["version", "expires_at", "heartbeat_at", "written"];
  const [older] = await sql(
    `SELECT ${columns.map((each) => `${each}::text`)} FROM dbo.multilock_leases WHERE election_group = $1`,
    [lease.electionGroup],
  );
  for (let i = 0; i < 2; i++) await holder.renew(lease, soon());
  assert.ok(!(await observer.acquire(requestFor(lease.electionGroup), soon())).acquired);
  const [version, expires, heartbeat, written] = columns.map((each) => older?.[each]);
  await sql(
    `UPDATE dbo.multilock_leases SET version = $2, expires_at = $3::timestamp, heartbeat_at = $4::timestamp,
       written = $5::bigint WHERE election_group = $1`,
    [lease.electionGroup, version, expires, heartbeat, written],
  );
  for (let i = 0; i < 2; i++) await holder.renew(lease, soon());
  clock.pass(14_000);
  assert.ok(!(await observer.acquire(requestFor(lease.electionGroup), soon())).acquired);
  clock.pass(1_100);
  assert.ok(!(await observer.acquire(requestFor(lease.electionGroup), soon())).acquired, "it has not stood still");
});

test("acquire() takes over nothing, when a renewal ends the standstill before it writes", async ({ open }) => {
  const [gate, clock] = [new Gate(), handClock()];
  const step = { clockOffset: () => -HOUR };
  const holder = open();
  const lease = await win(holder, requestFor(randomUUID(), { heartbeatTimeout: 15_000 }));
  const observer = open({ ...step, hold: gate.hold }, { clock });
  const request = requestFor(lease.electionGroup);
  await observer.read(lease.electionGroup, soon());
  clock.pass(16_000);
  const held = gate.arm(/^UPDATE/);
  const answer = observer.acquire(request, soon());
  await held;
  // Also where the time of the heartbeat does not change, for the clock was set back.
  assert.equal(await open(step).renew(lease, soon()), "renewed");
  gate.open();
  assert.ok(!(await answer).acquired, "the row is not the one that stood still");
  clock.pass(14_900);
  assert.ok(!(await observer.acquire(request, soon())).acquired, "the standstill begins anew");
  assert.equal(await holder.renew(lease, soon()), "renewed");
});

test("acquire() waits for a standstill, when the clock was set forwards by an hour", async ({ open }) => {
  const clock = handClock();
  let clockOffset = 0;
  const observer = open({ clockOffset: () => clockOffset }, { clock });
  const lease = await win(open(), requestFor(randomUUID(), { heartbeatTimeout: 15_000 }));
  const request = requestFor(lease.electionGroup);
  assert.ok(!(await observer.acquire(request, soon())).acquired);
  clockOffset = HOUR;
  clock.pass(1_000);
  for (const ms of [0, 7_000, 6_900]) {
    clock.pass(ms);
    const held = await observer.acquire(request, soon());
    assert.ok(!held.acquired, "the holder counts by the clock as it was");
    assert.equal(held.leader?.termId, lease.termId);
    assert.equal((await observer.read(lease.electionGroup, soon()))?.termId, lease.termId);
  }
  clock.pass(1_200);
  await win(observer, request);
});

test("acquire() waits for a standstill, when the clock was set back and then forwards", async ({ open }) => {
  const clock = handClock();
  let clockOffset = 0;
  const tsql = { clockOffset: () => clockOffset };
  const [holder, observer] = [open(tsql), open(tsql, { clock })];
  const request = requestFor(randomUUID(), { heartbeatTimeout: 15_000 });
  const first = await win(holder, request);
  const rival = requestFor(first.electionGroup);
  assert.ok(!(await observer.acquire(rival, soon())).acquired);
  clockOffset = -300_000;
  await holder.release(first, soon());
  const lease = await win(holder, requestFor(first.electionGroup, { heartbeatTimeout: 15_000 }));
  clockOffset = -280_000;
  for (const ms of [0, 7_500, 7_400]) {
    clock.pass(ms);
    const held = await observer.acquire(rival, soon());
    assert.ok(!held.acquired, "the holder counts by the clock as it was");
    assert.equal(held.leader?.termId, lease.termId);
  }
  clock.pass(200);
  await win(observer, rival);
});

test("acquire() takes over, when the lease has expired by a clock that went on evenly", async ({ open }) => {
  const observer = open();
  const lease = await win(open(), requestFor(randomUUID(), { heartbeatTimeout: 400 }));
  assert.ok(!(await observer.acquire(requestFor(lease.electionGroup), soon())).acquired);
  const deadline = AbortSignal.timeout(10_000);
  while (!(await observer.acquire(requestFor(lease.electionGroup), soon())).acquired) {
    assert.ok(!deadline.aborted, "not taken over in time");
    await pause(20);
  }
});

test("release() frees the lease for all at once, when a step of the clock has ended it", async ({ open }) => {
  let clockOffset = 0;
  const tsql = { clockOffset: () => clockOffset };
  const [holder, other] = [open(tsql), open(tsql)];
  const lease = await win(holder, requestFor(randomUUID()));
  await other.read(lease.electionGroup, soon());
  clockOffset = HOUR;
  assert.equal(await holder.renew(lease, soon()), "lost");
  assert.ok(!(await other.acquire(requestFor(lease.electionGroup), soon())).acquired);
  assert.equal(await holder.release(lease, soon()), "released");
  await win(other, requestFor(lease.electionGroup));
});

test("a lease is everybody's, when the connections open transactions by themselves", async ({ open }) => {
  const [implicit, other] = [open({ implicitTransactions: true }), open()];
  const lease = await win(implicit, requestFor(randomUUID()));
  assert.equal((await other.read(lease.electionGroup, soon()))?.termId, lease.termId);
  assert.ok(!(await other.acquire(requestFor(lease.electionGroup), soon())).acquired);
  assert.equal(await implicit.renew(lease, soon()), "renewed");
  assert.equal(await other.renew(lease, soon()), "renewed", "no lock must be left");
  await open({ implicitTransactions: true }).healthCheck(soon());
  assert.ok((await open({ implicitTransactions: true }).groups?.(soon()))?.includes(lease.electionGroup));
  assert.equal(await open({ implicitTransactions: true }).release(lease, soon()), "released");
  assert.equal(await other.read(lease.electionGroup, soon()), null);
});

test("calls fail and write nothing, when somebody has left a transaction open", async ({ open }) => {
  const [leftOpen, other] = [open({ leftOpen: true }), open()];
  const lease = await win(other, requestFor(randomUUID()));
  const free = requestFor(randomUUID());
  for (
    const call of [
      () => leftOpen.acquire(free, soon()),
      () => leftOpen.renew(lease, soon()),
      () => leftOpen.renew(lease, { ...soon(), metadata: {} }),
      () => leftOpen.release(lease, soon()),
      () => leftOpen.healthCheck(soon()),
    ]
  ) {
    await assert.rejects(call, /somebody has left a transaction open/);
  }
  assert.equal(await other.renew(lease, soon()), "renewed");
  await win(other, free);
});

for (const duplicate of [2601, 2627] as const) {
  test(`acquire() takes error ${duplicate} for another's row, when two insert the first`, async ({ open }) => {
    const gates = [new Gate(), new Gate()];
    const providers = gates.map(({ hold }) => open({ hold, duplicate }));
    const group = randomUUID();
    await providers[0]?.healthCheck(soon());
    const held = gates.map((gate) => gate.arm(/^INSERT/));
    const answers = providers.map((provider) => provider.acquire(requestFor(group), soon()));
    await Promise.all(held);
    for (const gate of gates) gate.open();
    const granted = (await Promise.all(answers)).filter(({ acquired }) => acquired);
    assert.equal(granted.length, 1);
  });
}

test("the table is made, when the server is Babelfish and has no number for a missing one", async ({ open }) => {
  const names = { schema: `s${randomUUID()}`, table: `t${randomUUID()}` };
  const providers = Array.from({ length: 5 }, () => open({ babelfish: true }, names));
  assert.equal(await providers[0]?.read("g", soon()), null, "reading makes none");
  const answers = await Promise.all(providers.map((provider) => provider.acquire(requestFor("g"), soon())));
  assert.equal(answers.filter(({ acquired }) => acquired).length, 1);
  const cautious = open({ babelfish: true }, { ...names, table: "none", autoCreate: false });
  await assert.rejects(cautious.acquire(requestFor("g"), soon()), /does not exist. It is made by: BEGIN TRY/);
});
