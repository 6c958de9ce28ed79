/** The Redis provider against a real server. */

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { Redis } from "ioredis";
import { type RedisOptions, redisProvider } from "../../providers/redis.ts";
import { ProviderError } from "../../src/errors.ts";
import type { AcquireRequest, Lease, Provider } from "../../src/provider.ts";
import { openProvider } from "../../src/registry.ts";
import { conformanceCases } from "../../testing/conformance.ts";
import { backend, detourTo } from "../servers/backend.ts";

test("redisProvider() throws, when its settings are not usable", () => {
  assert.throws(() => redisProvider({ url: "postgres://h" }), TypeError);
  assert.throws(
    () => redisProvider({ url: "redis://u:secret@h/zero" }),
    (error) => error instanceof TypeError && !/secret/.test(error.message),
  );
  assert.throws(() => redisProvider({ url: "redis://h?socketTimeout=soon" }), /socketTimeout/);
});

const server = backend("redis");
if (server !== null) testServer(server.url);

function testServer(url: string): void {
  const { faults } = backend("redis") ?? { faults: {} };
  for (
    const { name, run } of conformanceCases({
      name: "redis",
      open: () => redisProvider({ url }),
      faults,
      ...detourTo("redis", (detour) => redisProvider({ url: detour })),
    })
  ) {
    test(name, run);
  }

  /** An administrator's own connection. */
  const admin = new Redis(url, { lazyConnect: true });
  // The server that the cases killed may take a moment.
  admin.on("error", () => {});
  const opened: Provider[] = [];
  after(async () => {
    admin.disconnect();
    for (const provider of opened) await provider[Symbol.asyncDispose]();
  });

  function open(options: RedisOptions = {}): Provider {
    const provider = redisProvider({ url, prefix: `t${crypto.randomUUID().slice(0, 8)}:`, ...options });
    opened.push(provider);
    return provider;
  }

  test("every operation is one command", async () => {
    const provider = open();
    const first = await win(provider, "warm-up");
    await provider.read("warm-up", soon());
    await provider.renew(first, soon());
    await provider.release(first, soon());
    // By now the server knows the scripts.
    const seen = await commandsSeen(async () => {
      const lease = await win(provider, "group");
      await provider.acquire(request("group"), soon());
      await provider.renew(lease, soon());
      await provider.renew(lease, { ...soon(), metadata: { a: "b" } });
      await provider.read("group", soon());
      await provider.release(lease, soon());
      await provider.read("group", soon());
    });
    assert.deepEqual(seen, Array(7).fill("evalsha"));
  });

  /** The commands that clients sent while `work` ran; what scripts call is left out. */
  async function commandsSeen(work: () => Promise<void>): Promise<string[]> {
    await admin.ping();
    const monitor = await admin.monitor();
    const seen: string[] = [];
    let done = () => {};
    const finished = new Promise<void>((resolve) => done = resolve);
    monitor.on("monitor", (_time: string, [command = "", argument]: string[], source: string) => {
      if (source === "lua") return;
      if (argument === "the end") done();
      else seen.push(command.toLowerCase());
    });
    await work();
    await admin.echo("the end");
    await finished;
    monitor.disconnect();
    return seen;
  }

  test("acquire() and renew() set the expiry that was asked for, and nothing that vanishes by itself", async () => {
    const prefix = `ttl-${crypto.randomUUID()}:`;
    const provider = open({ prefix });
    const key = `${prefix}{group}`;
    const remaining = async () => {
      const [expiresAt, [seconds = 0, micros = 0]] = await Promise.all([admin.hget(key, "expiresAt"), admin.time()]);
      return Number(expiresAt) / 1_000 - seconds * 1_000 - micros / 1_000;
    };
    const lease = await win(provider, "group", { heartbeatTimeout: 60_000 });
    const fresh = await remaining();
    assert.ok(fresh > 50_000 && fresh <= 60_000, `${fresh}`);
    await admin.hset(key, "expiresAt", Number(await admin.hget(key, "expiresAt")) - 40_000_000);
    assert.equal(await provider.renew(lease, soon()), "renewed");
    const renewed = await remaining();
    assert.ok(renewed > 50_000 && renewed <= 60_000, `${renewed}`);
    // A key with an expiry is gone when the server's clock is set forward.
    assert.equal(await admin.pttl(key), -1, "the lease must not expire by itself");
    assert.equal(await admin.pttl(`${key}:token`), -1, "the token must never expire");
  });

  test("acquire() grants a larger token, when the server was emptied", async () => {
    const prefix = `flush-${crypto.randomUUID()}:`;
    const provider = open({ prefix });
    const lease = await win(provider, "group");
    await admin.del(`${prefix}{group}`, `${prefix}{group}:token`);
    assert.equal(await provider.renew(lease, soon()), "lost");
    const next = await win(provider, "group");
    assert.ok(next.token > lease.token, `${next.token} came after ${lease.token}`);
  });

  test("acquire() counts on from the last token, when it is ahead of the server's clock", async () => {
    const prefix = `ahead-${crypto.randomUUID()}:`;
    const provider = open({ prefix });
    const ahead = 2n ** 52n;
    await admin.set(`${prefix}{group}:token`, String(ahead));
    assert.equal((await win(provider, "group")).token, ahead + 1n);
    await admin.set(`${prefix}{full}:token`, String(2n ** 53n - 1n));
    await assert.rejects(provider.acquire(request("full"), soon()), /not a number that an election wrote/);
  });

  test("calls say that a foreign value is in the way, and work when it has gone", async () => {
    const prefix = `foreign-${crypto.randomUUID()}:`;
    const provider = open({ prefix });
    const key = `${prefix}{group}`;
    const lease = { ...request("group"), token: 1n, acquiredAt: new Date(0) };
    for (const write of [() => admin.set(key, "theirs"), () => admin.hset(key, "theirs", "1")]) {
      await write();
      const inTheWay = (error: unknown) =>
        error instanceof ProviderError && error.message.includes(`"${key}" is not a lease`);
      await assert.rejects(provider.acquire(request("group"), soon()), inTheWay);
      await assert.rejects(provider.read("group", soon()), inTheWay);
      await admin.del(key);
    }
    await admin.set(key, "theirs");
    await assert.rejects(provider.renew(lease, soon()), /is not a lease/);
    await assert.rejects(provider.release(lease, soon()), /is not a lease/);
    assert.equal(await admin.get(key), "theirs", "what is not ours must stay");
    await admin.del(key);
    await admin.lpush(`${key}:token`, "theirs");
    await assert.rejects(provider.acquire(request("group"), soon()), /is not a lease/);
    assert.equal(await admin.exists(key), 0, "without a token there must be no lease");
    await admin.del(`${key}:token`);
    await win(provider, "group");
  });

  test("calls reject, when the server has become a replica, and work when it is a primary again", async () => {
    const provider = open();
    const lease = await win(provider, "group");
    await admin.call("replicaof", "127.0.0.1", "1");
    try {
      await assert.rejects(provider.acquire(request("free"), soon()), /READONLY/);
      await assert.rejects(provider.renew(lease, soon()), /READONLY/);
      await assert.rejects(provider.release(lease, soon()), /READONLY/);
      await assert.rejects(provider.healthCheck(soon()), /READONLY/);
    } finally {
      await admin.call("replicaof", "no", "one");
    }
    assert.equal(await provider.renew(lease, soon()), "renewed");
    await provider.healthCheck(soon());
  });

  test("acquire() rejects and renew() goes on, when memory is short", async () => {
    const prefix = `oom-${crypto.randomUUID()}:`;
    const provider = open({ prefix });
    const lease = await win(provider, "group");
    await admin.config("SET", "maxmemory", "1");
    try {
      await assert.rejects(provider.acquire(request("other"), soon()), /OOM|memory/);
      assert.equal(await admin.exists(`${prefix}{other}`), 0);
      assert.equal(await provider.renew(lease, { ...soon(), metadata: { a: "b" } }), "renewed");
      assert.deepEqual({ ...(await provider.read("group", soon()))?.metadata }, { a: "b" });
      assert.equal(await provider.release(lease, soon()), "released");
    } finally {
      await admin.config("SET", "maxmemory", "0");
    }
    await win(provider, "other");
  });

  test("calls work, when the server has forgotten the scripts", async () => {
    const provider = open();
    const lease = await win(provider, "group");
    await admin.script("FLUSH");
    assert.equal(await provider.renew(lease, soon()), "renewed");
    assert.equal((await provider.read("group", soon()))?.token, lease.token);
    assert.equal(await provider.release(lease, soon()), "released");
  });

  test("healthCheck() says that the server may evict leases, which keys without an expiry are by some policies", async () => {
    const provider = open();
    const policy = String((await admin.config("GET", "maxmemory-policy") as string[])[1]);
    await admin.config("SET", "maxmemory", "1gb");
    try {
      await admin.config("SET", "maxmemory-policy", "allkeys-lru");
      await assert.rejects(provider.healthCheck(soon()), /maxmemory-policy is "allkeys-lru"/);
      await admin.config("SET", "maxmemory-policy", "volatile-lru");
      await provider.healthCheck(soon());
    } finally {
      await admin.config("SET", "maxmemory-policy", policy);
      await admin.config("SET", "maxmemory", "0");
    }
    await provider.healthCheck(soon());
  });

  test("calls reject without the password, when it is wrong, and say that it is", async () => {
    const wrong = new URL(url);
    wrong.username = "nobody";
    wrong.password = "s3cret-and-wrong";
    const provider = open({ url: wrong });
    await assert.rejects(provider.healthCheck(soon()), (error) => {
      assert.ok(error instanceof ProviderError);
      assert.match(error.message, /WRONGPASS|invalid username-password/);
      assert.doesNotMatch(error.message, /s3cret/);
      return true;
    });
  });

  test("providers of different prefixes and databases do not meet", async () => {
    const elsewhere = new URL(url);
    elsewhere.pathname = "/7";
    const prefix = `odd*[prefix]?${crypto.randomUUID()}:`;
    const providers = [open({ prefix }), open({ prefix: `${prefix}x` }), open({ prefix, url: elsewhere })];
    for (const provider of providers) await win(provider, "group");
    await win(open({ prefix }), "second");
    assert.deepEqual((await providers[0]?.groups?.(soon()))?.sort(), ["group", "second"]);
    assert.deepEqual(await providers[1]?.groups?.(soon()), ["group"]);
    assert.deepEqual(await providers[2]?.groups?.(soon()), ["group"]);
  });

  test("openProvider() takes the settings from the URL", async () => {
    const prefix = `url-${crypto.randomUUID()}:`;
    const provider = await openProvider(`${url}/7?prefix=${encodeURIComponent(prefix)}&socketTimeout=2s`);
    opened.push(provider);
    await win(provider, "group");
    await admin.select(7);
    assert.equal(await admin.exists(`${prefix}{group}`), 1);
    await admin.select(0);
  });

  test("a provider has two connections, however many elections and watches it serves", async () => {
    const before = await connections();
    const provider = open();
    const stop = new AbortController();
    await Promise.all(Array.from({ length: 50 }, (_, i) => win(provider, `group-${i}`)));
    const watches = Array.from(
      { length: 50 },
      (_, i) => provider.watch?.(`group-${i}`, { signal: stop.signal })[Symbol.asyncIterator](),
    );
    await Promise.all(watches.map((watch) => watch?.next()));
    assert.equal(await connections() - before, 2);
    stop.abort();
    await Promise.all(watches.map((watch) => watch?.next()));
  });

  async function connections(): Promise<number> {
    return String(await admin.call("client", "list")).trim().split("\n").length;
  }
}

function request(electionGroup: string, changes: Partial<AcquireRequest> = {}): AcquireRequest {
  const termId = crypto.randomUUID();
  return { electionGroup, participantId: "tester", termId, heartbeatTimeout: 30_000, metadata: {}, ...changes };
}

async function win(provider: Provider, electionGroup: string, changes: Partial<AcquireRequest> = {}): Promise<Lease> {
  const answer = await provider.acquire(request(electionGroup, changes), soon());
  assert.ok(answer.acquired, `"${electionGroup}" must be free`);
  return answer.lease;
}

function soon(): { signal: AbortSignal } {
  return { signal: AbortSignal.timeout(10_000) };
}
