/** The server's wall clock is set, while leases live. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { redisProvider } from "../../../providers/redis.ts";
import type { Provider } from "../../../src/provider.ts";
import { backend } from "../../servers/backend.ts";
import { type ClockedRedis, startClockedRedis } from "../../servers/redis_clock.ts";
import { administrator, delay, LONG, request, soon, win } from "./stage.ts";
import { until } from "../../until.ts";

const LEASE = { heartbeatTimeout: 2_000 };

if (backend("redis") !== null) {
  test(
    "a server's clock that is set forward ends no lease early, for those who watched",
    LONG,
    () => onServer(forward),
  );
  test(
    "a server's clock that is set back and then forward between two looks ends no lease early",
    LONG,
    () => onServer(backAndForth),
  );
  test("a server's clock that is set back keeps nobody in longer than a lease", LONG, () => onServer(backward));
  test(
    "a heartbeat after the clock was set back grants one lease by the new clock",
    LONG,
    () => onServer(renewedAfter),
  );
  test("tokens grow, when the clock is set back and forward", LONG, () => onServer(tokens));
  test("a process that never asked before believes a clock that was set forward", LONG, () => onServer(newcomer));
  test("a release is one, when the clock was set forward", LONG, () => onServer(release));
}

interface Cast {
  readonly server: ClockedRedis;
  open(): Provider;
}

async function onServer(work: (cast: Cast) => Promise<void>): Promise<void> {
  const server = await startClockedRedis();
  const opened: Provider[] = [];
  try {
    await work({
      server,
      open() {
        const provider = redisProvider({ url: server.url, prefix: "clock:" });
        opened.push(provider);
        return provider;
      },
    });
  } finally {
    for (const provider of opened) await provider[Symbol.asyncDispose]();
    await server.stop();
  }
}

async function forward({ server, open }: Cast): Promise<void> {
  const [holder, follower, observer] = [open(), open(), open()];
  const lease = await win(holder, "group", LEASE);
  const rival = request("group", LEASE);
  assert.equal((await follower.acquire(rival, soon())).acquired, false);
  await observer.read("group", soon());
  let renewedAt = performance.now();
  for (const seconds of [60, 3_600, 365 * 86_400]) {
    await server.setClock(seconds);
    const held = await follower.acquire(rival, soon());
    // The machine may have stalled for a whole lease, and then nothing can be said.
    if (performance.now() - renewedAt < 1_900) {
      assert.ok(!held.acquired, "a lease that lives must not be granted to another");
      assert.ok(held.leader?.expiresIn && held.leader.expiresIn <= 2_002, `${held.leader?.expiresIn}`);
      assert.equal((await observer.read("group", soon()))?.termId, lease.termId);
    }
    renewedAt = performance.now();
    assert.equal(await holder.renew(lease, soon()), "renewed", "a healthy leader must not be deposed");
    await delay(300);
  }
  // It dies.
  const next = await until("the lease is free", async () => {
    const answer = await follower.acquire(rival, soon());
    return answer.acquired && answer.lease;
  });
  const lived = performance.now() - renewedAt;
  assert.ok(lived >= 1_980, `it was taken ${lived} ms after its last heartbeat`);
  assert.ok(lived < 8_000, `nobody led for ${lived} ms`);
  assert.ok(next.token > lease.token);
  assert.equal(await holder.renew(lease, soon()), "lost");
}

async function backAndForth({ server, open }: Cast): Promise<void> {
  const lasting = { heartbeatTimeout: 5_000 };
  const [holder, follower, observer] = [open(), open(), open()];
  const lease = await win(holder, "group", lasting);
  const rival = request("group", lasting);
  assert.equal((await follower.acquire(rival, soon())).acquired, false);
  await observer.read("group", soon());
  await server.setClock(-300);
  let renewedAt = performance.now();
  assert.equal(await holder.renew(lease, soon()), "renewed");
  await server.setClock(-290);
  const answers = [await follower.acquire(rival, soon()), await follower.acquire(rival, soon())];
  const seen = await observer.read("group", soon());
  // The machine may have stalled for a whole lease, and then nothing can be said.
  if (performance.now() - renewedAt < 4_900) {
    for (const { acquired } of answers) assert.ok(!acquired, "a lease that lives must not be granted to another");
    assert.equal(seen?.termId, lease.termId);
  }
  renewedAt = performance.now();
  assert.equal(await holder.renew(lease, soon()), "renewed", "a healthy leader must not be deposed");
  await until("the lease is free", async () => (await follower.acquire(rival, soon())).acquired, 15_000);
  const lived = performance.now() - renewedAt;
  assert.ok(lived >= 4_950 && lived < 12_000, `it was taken after ${lived} ms`);
}

async function backward({ server, open }: Cast): Promise<void> {
  const [dead, follower, newcomer] = [open(), open(), open()];
  const lease = await win(dead, "group", LEASE);
  const grantedAt = performance.now();
  assert.equal((await follower.acquire(request("group", LEASE), soon())).acquired, false);
  await server.setClock(-3_600);
  const seen = await newcomer.read("group", soon());
  assert.ok(seen?.expiresIn && seen.expiresIn <= 2_002, `expiresIn is ${seen?.expiresIn}`);
  const next = await until("the lease is free", async () => {
    const answer = await follower.acquire(request("group", LEASE), soon());
    return answer.acquired && answer.lease;
  }, 10_000);
  const lived = performance.now() - grantedAt;
  assert.ok(lived >= 1_980 && lived < 8_000, `it was taken after ${lived} ms`);
  assert.ok(next.token > lease.token);
  // It leads for a whole lease by the new clock, and an observer that saw nothing else frees it on time, too.
  assert.equal(await follower.renew(next, soon()), "renewed");
  assert.equal((await newcomer.read("group", soon()))?.termId, next.termId);
  await until("a dead leader is not reported", async () => await newcomer.read("group", soon()) === null, 10_000);
}

async function renewedAfter({ server, open }: Cast): Promise<void> {
  const holder = open();
  const admin = administrator(server.url);
  try {
    const lease = await win(holder, "group", LEASE);
    await server.setClock(-3_600);
    const calls = [
      () => holder.renew(lease, soon()),
      () => holder.acquire(request("group", { ...LEASE, termId: lease.termId }), soon()),
    ];
    for (const [step, call] of calls.entries()) {
      await server.setClock(-3_600 * (step + 1));
      await call();
      const [expiresAt, renewedAt] = await admin.hmget("clock:{group}", "expiresAt", "renewedAt");
      const [seconds = 0] = await admin.time();
      assert.equal(Number(expiresAt) - Number(renewedAt), 2_000_000, "a lease from now, by the clock as it is");
      assert.ok(Math.abs(Number(renewedAt) / 1_000_000 - seconds) < 5);
    }
  } finally {
    admin.disconnect();
  }
}

async function tokens({ server, open }: Cast): Promise<void> {
  let last = 0n;
  for (const seconds of [0, 100, -100, -7_200, 50]) {
    await server.setClock(seconds);
    const provider = open();
    const lease = await win(provider, "group", LEASE);
    assert.ok(lease.token > last, `${lease.token} came after ${last}`);
    last = lease.token;
    await provider.release(lease, soon());
  }
}

/** What remains, as the documentation says. Its token is larger, and the older term is told. */
async function newcomer({ server, open }: Cast): Promise<void> {
  const holder = open();
  const lease = await win(holder, "group", LEASE);
  await server.setClock(60);
  const next = await win(open(), "group", LEASE);
  assert.ok(next.token > lease.token);
  assert.equal(await holder.renew(lease, soon()), "lost");
}

async function release({ server, open }: Cast): Promise<void> {
  const [holder, follower] = [open(), open()];
  const lease = await win(holder, "group", LEASE);
  assert.equal((await follower.acquire(request("group", LEASE), soon())).acquired, false);
  await server.setClock(60);
  assert.equal(await holder.release(lease, soon()), "released");
  await win(follower, "group", LEASE);
}
