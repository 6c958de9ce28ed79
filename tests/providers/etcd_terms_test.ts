/** Terms that share a session of etcd: what one does late, or does not do any more, must not hurt the others. */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Lease, Provider } from "../../src/provider.ts";
import { sleep, systemClock } from "../../src/time/clock.ts";
import { backend } from "../servers/backend.ts";
import { lose, request, soon, win } from "./asking.ts";
import { ask, Gateway, isAcquire, isDelete, isFence, kept, newGroup, Opened, type Sent } from "./etcd/support.ts";
import { until } from "../until.ts";

/** The shortest lease. */
const SHORT_MS = 2_000;

const server = backend("etcd");
if (server !== null) testTerms(server.url);

/** Renews a lease in the background, so that its session lives. */
async function keeping<T>(provider: Provider, lease: Lease, work: () => Promise<T>): Promise<T> {
  const over = new AbortController();
  const renewing = (async () => {
    while (!over.signal.aborted) {
      await provider.renew(lease, soon()).catch(() => {});
      await sleep(systemClock, SHORT_MS / 8);
    }
  })();
  try {
    return await work();
  } finally {
    over.abort();
    await renewing;
  }
}

function testTerms(url: string): void {
  test("the token is the revision that created the key, and each prefix has elections of its own", async () => {
    await using opened = new Opened(url);
    const group = newGroup();
    const [here, there] = [opened.open(), opened.open({ url: `${url}/${newGroup()}/deep` })];
    const lease = await win(here, request(group));
    assert.equal(lease.token, BigInt((await kept(url, lease)).create_revision));
    await here.renew(lease, { ...soon(), metadata: { written: "since" } });
    assert.equal((await here.read(group, soon()))?.token, lease.token);
    assert.equal(await there.read(group, soon()), null);
    const other = await win(there, request(group));
    assert.ok(other.token > lease.token);
    assert.deepEqual(await there.groups?.(soon()), [group]);
    assert.equal(await there.release(other, soon()), "released");
    assert.equal(await here.renew(lease, soon()), "renewed");
  });

  test("a term that is not renewed frees its group, while others keep its session alive", async () => {
    await using opened = new Opened(url);
    const [provider, other] = [opened.open(), opened.open()];
    const held = await win(provider, request(newGroup(), { heartbeatTimeout: SHORT_MS }));
    const left = await win(provider, request(newGroup(), { heartbeatTimeout: SHORT_MS }));
    const start = systemClock.monotonic();
    await keeping(provider, held, async () => {
      await until("it is free", async () => await other.read(left.electionGroup, soon()) === null);
      assert.ok(systemClock.monotonic() - start > SHORT_MS * 0.99, "a lease lives as long as promised");
      assert.equal(await provider.renew(left, soon()), "lost");
    });
    assert.equal(await provider.renew(held, soon()), "renewed", "the other must not notice");
  });

  test("acquire() that arrives when nobody waits for it any more leaves nothing, however its session lives", async () => {
    await using opened = new Opened(url);
    await using gateway = await Gateway.to(url);
    const provider = opened.open({ url: gateway.url });
    const held = await win(provider, request(newGroup(), { heartbeatTimeout: SHORT_MS }));
    const wanted = request(newGroup(), { heartbeatTimeout: SHORT_MS });
    const late = gateway.hold(isAcquire);
    const giveUp = new AbortController();
    const acquiring = provider.acquire(wanted, { signal: giveUp.signal });
    await late.arrived;
    giveUp.abort(new Error("the call is given up"));
    await assert.rejects(acquiring, /given up/);
    await keeping(provider, held, async () => {
      await until("its time is over, and the fence is up", () => gateway.sent.some(isFence));
      await sleep(systemClock, 200);
      const { text } = await late.letGo();
      assert.doesNotMatch(text, /"succeeded":true/);
      assert.equal(await provider.read(wanted.electionGroup, soon()), null);
      // The fence stops what was sent before, and nothing else.
      const lease = await win(provider, request(wanted.electionGroup, { heartbeatTimeout: SHORT_MS }));
      assert.equal(await provider.release(lease, soon()), "released");
    });
  });

  test("release() of a term without an answer stops the acquire that is still on its way", async () => {
    await using opened = new Opened(url);
    await using gateway = await Gateway.to(url);
    const provider = opened.open({ url: gateway.url });
    const wanted = request(newGroup());
    const late = gateway.hold(isAcquire);
    const giveUp = new AbortController();
    const acquiring = provider.acquire(wanted, { signal: giveUp.signal });
    await late.arrived;
    giveUp.abort(new Error("the call is given up"));
    await assert.rejects(acquiring, /given up/);
    assert.equal(await provider.release(wanted, soon()), "notHolder");
    assert.doesNotMatch((await late.letGo()).text, /"succeeded":true/);
    assert.equal(await provider.read(wanted.electionGroup, soon()), null);
  });

  test("acquire() learns of a fence whose raising was not answered", async () => {
    await using opened = new Opened(url);
    await using gateway = await Gateway.to(url);
    const provider = opened.open({ url: gateway.url });
    // Both the acquire and what raises the fence behind it are carried out, and not answered, once each.
    const lost = new Set<string>();
    gateway.hook = async (sent, pass) => {
      const answer = await pass();
      const what = isAcquire(sent) ? "acquire" : isFence(sent) ? "fence" : null;
      if (what === null || lost.has(what)) return answer;
      lost.add(what);
      return null;
    };
    const wanted = request(newGroup());
    await assert.rejects(provider.acquire(wanted, soon()));
    await assert.rejects(provider.release(wanted, soon()));
    // In the same session, before the provider comes to try again.
    const next = await win(provider, request(newGroup()));
    assert.equal(await provider.renew(next, soon()), "renewed");
    await until("the lease is free", async () => await provider.read(wanted.electionGroup, soon()) === null);
  });

  test("release() finds the lease of a term whose acquire was carried out and not answered", async () => {
    await using opened = new Opened(url);
    await using gateway = await Gateway.to(url);
    const provider = opened.open({ url: gateway.url });
    gateway.hook = async (sent, pass) => {
      const answer = await pass();
      return isAcquire(sent) ? null : answer;
    };
    const wanted = request(newGroup());
    await assert.rejects(provider.acquire(wanted, soon()));
    gateway.hook = null;
    assert.equal((await opened.open().read(wanted.electionGroup, soon()))?.termId, wanted.termId);
    assert.equal(await provider.release(wanted, soon()), "released");
    assert.equal(await opened.open().read(wanted.electionGroup, soon()), null);
  });

  test("acquire() finds its own lease, when its first answer was lost", async () => {
    await using opened = new Opened(url);
    await using gateway = await Gateway.to(url);
    const provider = opened.open({ url: gateway.url });
    let lost = 0;
    gateway.hook = async (sent, pass) => {
      const answer = await pass();
      return isAcquire(sent) && lost++ === 0 ? null : answer;
    };
    const wanted = request(newGroup(), { metadata: { a: "1" } });
    await assert.rejects(provider.acquire(wanted, soon()));
    const before = await opened.open().read(wanted.electionGroup, soon());
    const lease = await win(provider, wanted);
    assert.equal(lease.token, before?.token);
    assert.equal(lease.acquiredAt.getTime(), before?.leadershipAcquiredAt.getTime());
    assert.equal(await provider.renew(lease, soon()), "renewed");
  });

  test("a deletion that arrives late deletes nothing that its term has acquired since", async () => {
    await using opened = new Opened(url);
    await using gateway = await Gateway.to(url);
    const provider = opened.open({ url: gateway.url });
    const wanted = request(newGroup());
    const lease = await win(provider, wanted);
    const late = gateway.hold(isDelete);
    const giveUp = new AbortController();
    const releasing = provider.release(lease, { signal: giveUp.signal });
    await late.arrived;
    giveUp.abort(new Error("the call is given up"));
    await assert.rejects(releasing, /given up/);
    // The provider goes on by itself until it is done, and then the term begins anew.
    const again = await win(provider, wanted);
    assert.ok(again.token > lease.token);
    assert.doesNotMatch((await late.letGo()).text, /"succeeded":true/);
    assert.equal(await provider.renew(again, soon()), "renewed");
  });

  test("acquire() and release() of one term may meet at any point, and leave nothing behind", async () => {
    await using opened = new Opened(url);
    await using gateway = await Gateway.to(url);
    const [provider, leader] = [opened.open({ url: gateway.url }), opened.open()];
    for (const isHeld of [isAcquire, ({ path }: Sent) => path === "kv/range"]) {
      // Asked once without an answer, the term is known; and the group is known to be led, so that it looks first.
      const wanted = request(newGroup());
      const before = await win(leader, request(wanted.electionGroup));
      await lose(provider, request(wanted.electionGroup));
      gateway.hook = (sent, pass) => isAcquire(sent) ? Promise.resolve(null) : pass();
      await leader.release(before, soon());
      await assert.rejects(provider.acquire(wanted, soon()));
      gateway.hook = null;
      const again = await win(leader, request(wanted.electionGroup));
      await lose(provider, request(wanted.electionGroup));
      await leader.release(again, soon());
      const late = gateway.hold(isHeld);
      const acquiring = provider.acquire(wanted, soon());
      await late.arrived;
      const freed = await provider.release(wanted, soon());
      void late.letGo();
      const answer = await acquiring;
      assert.equal(freed, "notHolder");
      assert.ok(answer.acquired, "what comes after the release is another try");
      assert.equal(await provider.renew(answer.lease, soon()), "renewed");
      assert.equal(await provider.release(wanted, soon()), "released");
      assert.equal(await provider.read(wanted.electionGroup, soon()), null);
      await win(provider, request(wanted.electionGroup));
    }
  });

  test("renew() is lost from when the deletion of the key has begun", async () => {
    await using opened = new Opened(url);
    await using gateway = await Gateway.to(url);
    const provider = opened.open({ url: gateway.url });
    const lease = await win(provider, request(newGroup()));
    const late = gateway.hold(isDelete);
    const releasing = provider.release(lease, soon());
    await late.arrived;
    assert.equal(await provider.renew(lease, soon()), "lost");
    await late.letGo();
    assert.equal(await releasing, "released");
  });

  test("acquire() begins a new session, when the one that there was is gone", async () => {
    await using opened = new Opened(url);
    const provider = opened.open();
    const lease = await win(provider, request(newGroup()));
    await ask(url, "lease/revoke", { ID: (await kept(url, lease)).lease });
    assert.equal(await provider.renew(lease, soon()), "lost");
    const again = await win(provider, request(lease.electionGroup));
    assert.ok(again.token > lease.token);
    assert.equal(await provider.renew(again, soon()), "renewed");
    // And again, when nobody has noticed yet.
    await ask(url, "lease/revoke", { ID: (await kept(url, again)).lease });
    await win(provider, request(lease.electionGroup));
  });

  test("a term that asks for longer than before gets a session that lives as long", async () => {
    await using opened = new Opened(url);
    const provider = opened.open();
    const wanted = request(newGroup(), { heartbeatTimeout: SHORT_MS });
    const lease = await win(provider, wanted);
    const longer = await win(provider, { ...wanted, heartbeatTimeout: 30_000 });
    assert.ok(longer.token > lease.token);
    const { lease: ID } = await kept(url, longer);
    const { grantedTTL } = await ask<{ grantedTTL: string }>(url, "lease/timetolive", { ID });
    assert.equal(grantedTTL, "30");
  });

  test("elections of one timeout share one session; closing ends it, unless a term may rely on it", async () => {
    await using opened = new Opened(url);
    const [idle, leading] = [opened.open(), opened.open()];
    const leases = await Promise.all([1, 2, 3].map(() => win(idle, request(newGroup()))));
    const sessions = await Promise.all(leases.map(async (lease) => (await kept(url, lease)).lease));
    assert.equal(new Set(sessions).size, 1);
    const longer = await win(idle, request(newGroup(), { heartbeatTimeout: 20_000 }));
    assert.notEqual((await kept(url, longer)).lease, sessions[0]);
    await Promise.all([...leases, longer].map((lease) => idle.release(lease, soon())));
    const led = await win(leading, request(newGroup()));
    const needed = (await kept(url, led)).lease;
    await Promise.all([idle, leading].map((provider) => provider[Symbol.asyncDispose]()));
    const { leases: left = [] } = await ask<{ leases?: { ID: string }[] }>(url, "lease/leases", {});
    assert.ok(!left.some(({ ID }) => sessions.includes(ID)), "nobody needed it");
    assert.ok(left.some(({ ID }) => ID === needed), "its holder may still lead");
    await lose(opened.open(), request(led.electionGroup));
  });

  test("waiting and losing write nothing, and take one request each", async () => {
    await using opened = new Opened(url);
    await using gateway = await Gateway.to(url);
    const lease = await win(opened.open(), request(newGroup()));
    const follower = opened.open({ url: gateway.url });
    await lose(follower, request(lease.electionGroup));
    gateway.sent.length = 0;
    for (let i = 0; i < 3; i++) await lose(follower, request(lease.electionGroup));
    await follower.read(lease.electionGroup, soon());
    assert.deepEqual(gateway.sent.map(({ path }) => path), Array(4).fill("kv/range"));
  });
}
