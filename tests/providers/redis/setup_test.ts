/** What must be said and heard on each connection before a lease is written over it. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { backend } from "../../servers/backend.ts";
import { startRedis } from "../../servers/redis.ts";
import { administrator, delay, LONG, request, soon, stage, startProxy, win } from "./stage.ts";
import { until } from "../../until.ts";

/** As the documentation has it. */
const RIGHTS =
  "+evalsha +eval +time +exists +hmget +hset +persist +get +set +sadd +del +publish +subscribe +unsubscribe";

const server = backend("redis");
if (server !== null) testServer(server.url);

function testServer(url: string): void {
  const { admin, open } = stage(url);

  /** Runs `work` with a user who has `rights` on `prefix`. */
  async function withUser(
    rights: string,
    work: (of: { url: URL; user: string; prefix: string }) => Promise<void>,
  ): Promise<void> {
    const [user, prefix] = [`u${crypto.randomUUID().slice(0, 8)}`, `acl-${crypto.randomUUID()}:`];
    const limits = [`~${prefix}*`, `&${prefix}*`, "-@all", ...rights.split(" ")];
    await admin.call("acl", "setuser", user, "on", ">s3cret", ...limits);
    const limited = new URL(url);
    limited.username = user;
    limited.password = "s3cret";
    try {
      await work({ url: limited, user, prefix });
    } finally {
      await admin.call("acl", "deluser", user);
    }
  }

  test("a user with the documented rights can lead, and healthCheck() names each right that is missing", () =>
    withUser(`${RIGHTS} +sscan`, async ({ url, user, prefix }) => {
      const provider = open({ url, prefix });
      await provider.healthCheck(soon());
      const lease = await win(provider, "group");
      assert.equal(await provider.renew(lease, { ...soon(), metadata: { a: "b" } }), "renewed");
      assert.deepEqual(await provider.groups?.(soon()), ["group"]);
      const hints = provider.watch?.("group", soon())[Symbol.asyncIterator]();
      await hints?.next();
      assert.equal(await provider.release(lease, soon()), "released");
      await hints?.next();
      await hints?.return?.();
      for (const right of RIGHTS.split(" ").map((each) => each.slice(1)).filter((each) => each !== "evalsha")) {
        await admin.call("acl", "setuser", user, `-${right}`);
        await assert.rejects(provider.healthCheck(soon()), new RegExp(`\\b${right}\\b`, "i"), `without ${right}`);
        await admin.call("acl", "setuser", user, `+${right}`);
      }
      await provider.healthCheck(soon());
    }));

  for (const right of ["hset", "persist", "set"]) {
    test(`acquire() leaves nothing that nobody can renew, when the user lacks ${right}`, () =>
      withUser(RIGHTS.replace(`+${right} `, ""), async ({ url, prefix }) => {
        await assert.rejects(open({ url, prefix }).acquire(request("half"), soon()), /can't run|no permissions/);
        assert.equal(await admin.exists(`${prefix}{half}`), 0);
      }));
  }

  test("release() has released, when the user may not publish", () =>
    withUser(RIGHTS.replace(" +publish", ""), async ({ url, prefix }) => {
      const provider = open({ url, prefix });
      const lease = await win(provider, "group");
      assert.equal(await provider.release(lease, soon()), "released");
      assert.equal(await provider.read("group", soon()), null);
      await win(provider, "group");
    }));

  test("no lease is written, when SELECT is refused: by the user's rights, or by the server", () =>
    withUser(RIGHTS, async ({ url: limited, user, prefix }) => {
      const elsewhere = new URL(limited);
      elsewhere.pathname = "/5";
      const beyond = new URL(url);
      beyond.pathname = "/77";
      for (const target of [elsewhere, beyond]) {
        const provider = open({ url: target, prefix });
        await assert.rejects(provider.healthCheck(soon()), /SELECT was refused/);
        await assert.rejects(provider.acquire(request("group"), soon()), /SELECT was refused/);
        await assert.rejects(
          async () => await provider.watch?.("group", soon())[Symbol.asyncIterator]().next(),
          /SELECT/,
        );
        assert.equal(await admin.exists(`${prefix}{group}`), 0, "the lease must not be in database 0");
      }
      await admin.call("acl", "setuser", user, "+select");
      const provider = open({ url: elsewhere, prefix });
      await win(provider, "group");
      assert.equal(await admin.exists(`${prefix}{group}`), 0);
      // The right is taken away, and the connection is lost: the next one must notice.
      await admin.call("acl", "setuser", user, "-select");
      await assert.rejects(provider.healthCheck(soon()), /SELECT was refused/, "also while an old connection lives");
      await admin.call("client", "kill", "user", user);
      await until("the connection is lost", async () => {
        return await provider.acquire(request("later"), soon()).then(
          () => false,
          (error) => /SELECT/.test(error.message),
        );
      });
      assert.equal(await admin.exists(`${prefix}{later}`), 0);
    }));

  test(
    "no lease is written to database 0, when the server is busy while a connection selects another",
    LONG,
    async () => {
      const redis = await startRedis({ args: ["--busy-reply-threshold", "50"] });
      const [busy, killer] = [administrator(redis.url), administrator(redis.url)];
      try {
        await killer.ping();
        const provider = open({ url: `${redis.url}/5`, prefix: "busy:" });
        const script = busy.eval("while true do end", 0).catch(() => {});
        await delay(200);
        await assert.rejects(provider.acquire(request("group"), soon(2_000)), /BUSY/);
        await killer.script("KILL");
        await script;
        await win(provider, "group");
        assert.equal(await busy.exists("busy:{group}"), 0);
        await busy.select(5);
        assert.equal(await busy.exists("busy:{group}"), 1);
      } finally {
        busy.disconnect();
        killer.disconnect();
        await redis.stop();
      }
    },
  );

  test("calls reject, when the server refuses the password, or has none to compare it with", LONG, async () => {
    const redis = await startRedis();
    try {
      const { port } = new URL(redis.url);
      for (const login of [":s3cret", "nobody:s3cret", "default:"]) {
        const provider = open({ url: `redis://${login}@127.0.0.1:${port}` });
        const refused = (error: unknown) => {
          assert.ok(error instanceof Error);
          assert.match(error.message, /AUTH was refused/);
          assert.doesNotMatch(error.message, /s3cret/);
          return true;
        };
        if (login === "default:") await win(provider, "group");
        else await assert.rejects(provider.acquire(request("group"), soon()), refused);
      }
    } finally {
      await redis.stop();
    }
  });

  test("the set-up is repeated on each connection, and nothing is sent before its answer", async () => {
    await using proxy = await startProxy(url);
    const provider = open({ url: `${proxy.url}/3`, prefix: "select:" });
    await win(provider, crypto.randomUUID());
    proxy.cut();
    await until("the next connection works", () => win(provider, crypto.randomUUID()).then(() => true, () => false));
    assert.equal(proxy.connections(), 2);
    const keys = await admin.keys("select:*");
    assert.deepEqual(keys, [], "all leases must be in database 3");
  });
}
