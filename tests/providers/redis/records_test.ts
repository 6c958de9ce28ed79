/** Records that somebody edited, and what concurrent and late calls make of a record. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { backend } from "../../servers/backend.ts";
import { delay, request, soon, stage, win } from "./stage.ts";
import { until } from "../../until.ts";

const server = backend("redis");
if (server !== null) testServer(server.url);

function testServer(url: string): void {
  const { admin, open } = stage(url);

  test("a record that somebody edited is an error that says so, or is mended by the holder; never a search without rest", async () => {
    for (const field of ["token", "renewedAt", "expiresAt", "heartbeatTimeout", "beats", "acquiredAt"]) {
      for (const edit of [(key: string) => admin.hdel(key, field), (key: string) => admin.hset(key, field, "soon")]) {
        const prefix = `edit-${crypto.randomUUID()}:`;
        const provider = open({ prefix });
        const lease = await win(provider, "group", { heartbeatTimeout: 500 });
        await edit(`${prefix}{group}`);
        await assert.rejects(provider.acquire(request("group"), soon()), /is not a lease/, field);
        await assert.rejects(provider.read("group", soon()), /is not a lease/, field);
        assert.equal(await provider.renew(lease, soon()), "renewed");
        if (field === "token" || field === "acquiredAt") {
          assert.equal(await provider.release(lease, soon()), "released");
        }
        await win(open({ prefix }), field === "token" || field === "acquiredAt" ? "group" : "other");
        const held = await provider.read("group", soon());
        assert.ok(held === null || held.expiresIn !== null && held.expiresIn <= 30_000);
      }
    }
  });

  test("a lease whose end somebody put off is looked at with rest, and ends a lease after the last heartbeat", async () => {
    const prefix = `edit-${crypto.randomUUID()}:`;
    const [holder, follower] = [open({ prefix }), open({ prefix })];
    await win(holder, "group", { heartbeatTimeout: 1_000 });
    await admin.hset(`${prefix}{group}`, "expiresAt", String(9e15));
    const seenAt = performance.now();
    let looks = 0;
    const lease = await until("the lease is free", async () => {
      const answer = await follower.acquire(request("group", { heartbeatTimeout: 1_000 }), soon());
      if (answer.acquired) return answer.lease;
      looks++;
      const { expiresIn } = answer.leader ?? {};
      assert.ok(typeof expiresIn === "number" && expiresIn >= 1 && expiresIn <= 1_001, `${expiresIn}`);
      await delay(expiresIn);
      return null;
    });
    assert.ok(performance.now() - seenAt >= 1_000 - 20, "a dead leader's lease must be kept for a whole lease");
    assert.ok(looks <= 5, `a follower looked ${looks} times in a second`);
    assert.equal((await holder.read("group", soon()))?.token, lease.token);
  });

  test("an expiry that somebody set on the key is taken away by the next heartbeat", async () => {
    const prefix = `edit-${crypto.randomUUID()}:`;
    const provider = open({ prefix, socketTimeout: "10s" });
    const lease = await win(provider, "group");
    for (
      const beat of [
        () => provider.renew(lease, soon()),
        () => provider.acquire(request("group", { termId: lease.termId }), soon()),
      ]
    ) {
      await admin.pexpire(`${prefix}{group}`, 60_000);
      await beat();
      assert.equal(await admin.pttl(`${prefix}{group}`), -1);
    }
  });

  test("a token that somebody deleted comes back above that of the record", async () => {
    const prefix = `edit-${crypto.randomUUID()}:`;
    const provider = open({ prefix });
    const lease = await win(provider, "group", { heartbeatTimeout: 100 });
    const ahead = 2n ** 52n;
    await admin.hset(`${prefix}{group}`, "token", String(ahead));
    await admin.del(`${prefix}{group}:token`);
    const next = await until("the lease is free", async () => {
      const answer = await provider.acquire(request("group"), soon());
      return answer.acquired ? answer.lease : null;
    });
    assert.equal(next.token, ahead + 1n);
    assert.equal(await provider.renew(lease, soon()), "lost");
  });

  test("heartbeats move lastHeartbeat and the version on, and no call shortens a lease", async () => {
    const prefix = `beat-${crypto.randomUUID()}:`;
    const provider = open({ prefix });
    const key = `${prefix}{group}`;
    const lease = await win(provider, "group", { heartbeatTimeout: 60_000 });
    const look = async () => {
      const [renewedAt, expiresAt, beats] = await admin.hmget(key, "renewedAt", "expiresAt", "beats");
      return { renewedAt: Number(renewedAt), expiresAt: Number(expiresAt), beats: Number(beats) };
    };
    const calls = [
      () => provider.renew(lease, soon()),
      () => provider.renew(lease, { ...soon(), metadata: { a: "b" } }),
      () => provider.acquire(request("group", { termId: lease.termId, heartbeatTimeout: 60_000 }), soon()),
    ];
    for (const call of calls) {
      const before = await look();
      const seen = await provider.read("group", soon());
      await delay(2);
      await call();
      const after = await look();
      assert.ok(after.renewedAt > before.renewedAt);
      assert.ok(after.expiresAt > before.expiresAt);
      assert.equal(after.beats, before.beats + 1);
      const now = await provider.read("group", soon());
      assert.ok(Number(now?.lastHeartbeat) > Number(seen?.lastHeartbeat), "lastHeartbeat must move");
    }
    // One that asks for less than what has been granted takes nothing away.
    const before = await look();
    await provider.renew({ ...lease, heartbeatTimeout: 1_000 }, soon());
    await provider.acquire(request("group", { termId: lease.termId, heartbeatTimeout: 1_000 }), soon());
    assert.equal((await look()).expiresAt, before.expiresAt);
  });

  test("a lease whose time is over is lost to its term, and a term that asks again gets a larger token", async () => {
    const prefix = `over-${crypto.randomUUID()}:`;
    // Of itself it would follow the lease, and a busy machine takes longer for an answer.
    const provider = open({ prefix, socketTimeout: "10s" });
    const lease = await win(provider, "group", { heartbeatTimeout: 100 });
    await delay(150);
    assert.equal(await provider.renew(lease, soon()), "lost");
    assert.equal(await provider.release(lease, soon()), "notHolder");
    const next = await win(provider, "other", { heartbeatTimeout: 100 });
    await delay(150);
    const again = await win(provider, "other", { termId: next.termId });
    assert.ok(again.token > next.token);
  });

  test("a take-over is conditional on the version that was seen to stand still", async () => {
    const prefix = `aba-${crypto.randomUUID()}:`;
    const [holder, follower] = [open({ prefix }), open({ prefix })];
    const lease = await win(holder, "group", { heartbeatTimeout: 1_500 });
    const rival = request("group", { heartbeatTimeout: 1_500 });
    assert.equal((await follower.acquire(rival, soon())).acquired, false);
    // The follower looks away for longer than a lease, and the holder lives.
    for (const end = performance.now() + 1_700; performance.now() < end; await delay(200)) {
      assert.equal(await holder.renew(lease, soon()), "renewed");
    }
    assert.equal(await holder.renew(lease, soon()), "renewed");
    assert.equal((await follower.acquire(rival, soon())).acquired, false);
    // A server that lost its last writes may count as far again; it was another heartbeat all the same.
    const key = `${prefix}{group}`;
    const beats = await admin.hget(key, "beats");
    await delay(1_600 / 2);
    await admin.hset(key, "beats", Number(beats) - 1);
    assert.equal(await holder.renew(lease, soon()), "renewed");
    assert.equal(await admin.hget(key, "beats"), beats);
    await delay(1_600 / 2);
    assert.equal((await follower.acquire(rival, soon())).acquired, false, "the holder renewed 0.8 s ago");
  });

  test("an answer that is none of our scripts' is an error, and not a loss", async () => {
    const prefix = `beat-${crypto.randomUUID()}:`;
    const provider = open({ prefix });
    const lease = await win(provider, "group");
    const { RENEW } = await import("../../../providers/redis/scripts.ts");
    const original = RENEW.sha;
    try {
      for (const text of ["return 'QUEUED'", "return {'QUEUED', '1'}", "return {}", "return 1"]) {
        (RENEW as { sha: string }).sha = String(await admin.script("LOAD", text));
        await assert.rejects(provider.renew(lease, soon()), /not one of our scripts'/, text);
      }
    } finally {
      (RENEW as { sha: string }).sha = original;
    }
    assert.equal(await provider.renew(lease, soon()), "renewed");
  });
}
