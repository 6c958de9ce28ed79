/** Heartbeats over etcd: what they cost, and when they count. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { ProviderError } from "../../src/errors.ts";
import { backend } from "../servers/backend.ts";
import { etcdProgram, startEtcd } from "../servers/etcd.ts";
import { lose, request, soon, win } from "./asking.ts";
import { ask, Gateway, kept, keyOf, newGroup, Opened, type Sent } from "./etcd/support.ts";

const server = backend("etcd");
if (server !== null) testRenewals(server.url);

const isKeepAlive = ({ path }: Sent) => path === "lease/keepalive";
const isRead = ({ path, body }: Sent) => path === "kv/txn" && body.includes('"keys_only"') && !body.includes("compare");
const isPut = ({ path, body }: Sent) =>
  path === "kv/txn" && body.includes("request_put") && !body.includes("range_end");

/** Answers keepalives as a leader of an earlier Raft term would, that does not know of its successor. */
function asDeposed(gateway: Gateway): void {
  gateway.hook = async (sent, pass) => {
    const { status, text } = await pass();
    return { status, text: isKeepAlive(sent) ? text.replace(/"raft_term":"\d+"/, '"raft_term":"1"') : text };
  };
}

function testRenewals(url: string): void {
  test("heartbeats that are due together share one keepalive, and a hundred one read, and write nothing", async () => {
    await using opened = new Opened(url);
    await using gateway = await Gateway.to(url);
    const provider = opened.open({ url: gateway.url });
    const leases = await Promise.all(Array.from({ length: 150 }, () => win(provider, request(newGroup()))));
    gateway.sent.length = 0;
    const answers = await Promise.all(leases.map((lease) => provider.renew(lease, soon())));
    assert.deepEqual(new Set(answers), new Set(["renewed"]));
    assert.equal(gateway.sent.filter(isKeepAlive).length, 1);
    assert.equal(gateway.sent.filter(isRead).length, 2);
    assert.equal(gateway.sent.length, 3, "and nothing that would be written");
  });

  test("each operation takes the requests that the documentation names", async () => {
    await using opened = new Opened(url);
    await using gateway = await Gateway.to(url);
    const provider = opened.open({ url: gateway.url });
    const cost = async (work: () => Promise<unknown>) => {
      gateway.sent.length = 0;
      await work();
      return gateway.sent.map(({ path }) => path).sort();
    };
    const asked = request(newGroup());
    assert.deepEqual(await cost(() => win(provider, asked)), ["kv/txn", "lease/grant", "lease/keepalive"]);
    const lease = await win(provider, asked);
    assert.deepEqual(await cost(() => provider.renew(lease, soon())), ["kv/txn", "lease/keepalive"]);
    assert.deepEqual(await cost(() => provider.read(lease.electionGroup, soon())), ["kv/range"]);
    assert.deepEqual(await cost(() => provider.release(lease, soon())), ["kv/txn"]);
    const next = request(lease.electionGroup);
    assert.deepEqual(await cost(() => win(provider, next)), ["kv/txn", "lease/keepalive"]);
    assert.deepEqual(await cost(() => lose(provider, request(lease.electionGroup))), ["kv/range"]);
    assert.deepEqual(await cost(() => provider.groups?.(soon()) ?? Promise.resolve()), ["kv/range"]);
    assert.deepEqual(await cost(() => provider.healthCheck(soon())), ["kv/txn"]);
  });

  test("renew() counts for nothing, when a leader that was deposed has answered the keepalive", async () => {
    await using opened = new Opened(url);
    await using gateway = await Gateway.to(url);
    const provider = opened.open({ url: gateway.url });
    const lease = await win(provider, request(newGroup()));
    asDeposed(gateway);
    await assert.rejects(provider.renew(lease, soon()), /leader of the cluster changes/);
    gateway.hook = null;
    assert.equal(await provider.renew(lease, soon()), "renewed");
  });

  test("acquire() is not granted, when a leader that was deposed has answered the keepalive", async () => {
    await using opened = new Opened(url);
    await using gateway = await Gateway.to(url);
    const provider = opened.open({ url: gateway.url });
    asDeposed(gateway);
    const asked = request(newGroup());
    await assert.rejects(provider.acquire(asked, soon()), /leader of the cluster changes/);
    gateway.hook = null;
    const lease = await win(provider, asked);
    assert.equal((await provider.read(lease.electionGroup, soon()))?.token, lease.token);
  });

  test("acquire() is not granted before its session is known to live", async () => {
    await using opened = new Opened(url);
    await using gateway = await Gateway.to(url);
    const provider = opened.open({ url: gateway.url });
    gateway.hook = async (sent, pass) => isKeepAlive(sent) ? null : await pass();
    await assert.rejects(provider.acquire(request(newGroup()), soon()), ProviderError);
  });

  test("renew() is unknown, when only the keepalive or only the read is answered", async () => {
    await using opened = new Opened(url);
    await using gateway = await Gateway.to(url);
    const provider = opened.open({ url: gateway.url });
    const lease = await win(provider, request(newGroup()));
    for (const isLost of [isKeepAlive, isRead]) {
      gateway.hook = async (sent, pass) => isLost(sent) ? null : await pass();
      await assert.rejects(provider.renew(lease, soon()), ProviderError);
    }
    gateway.hook = null;
    assert.equal(await provider.renew(lease, soon()), "renewed");
  });

  test("a member that does not know the session yet ends no term whose key is there", async () => {
    await using opened = new Opened(url);
    await using gateway = await Gateway.to(url);
    const provider = opened.open({ url: gateway.url });
    const lease = await win(provider, request(newGroup()));
    gateway.hook = async (sent, pass) => {
      const { status, text } = await pass();
      return { status, text: isKeepAlive(sent) ? text.replace(/,"TTL":"\d+"/, "") : text };
    };
    await assert.rejects(provider.renew(lease, soon()), /does not know the session/);
    gateway.hook = null;
    assert.equal(await provider.renew(lease, soon()), "renewed");
    // No other term begins in it. The one that it holds goes on, and can be released.
    await win(provider, request(newGroup()));
    assert.equal(gateway.count("lease/grant"), 2);
    assert.equal(await provider.release(lease, soon()), "released");
    assert.equal(await provider.read(lease.electionGroup, soon()), null);
  });

  test("renew() is lost, when the session ends between the read and the keepalive", async () => {
    await using opened = new Opened(url);
    await using gateway = await Gateway.to(url);
    const provider = opened.open({ url: gateway.url });
    const lease = await win(provider, request(newGroup()));
    const { lease: ID } = await kept(url, lease);
    const late = gateway.hold(isKeepAlive);
    const read = Promise.withResolvers<void>();
    gateway.answered = (sent) => isRead(sent) && read.resolve();
    const renewing = provider.renew(lease, soon());
    await Promise.all([late.arrived, read.promise]);
    await ask(url, "lease/revoke", { ID });
    void late.letGo();
    assert.equal(await renewing, "lost");
  });

  test("a session lives for no less than the lease, in whole seconds", async () => {
    await using opened = new Opened(url);
    const lease = await win(opened.open(), request(newGroup(), { heartbeatTimeout: 3_100 }));
    const { lease: ID } = await kept(url, lease);
    const { grantedTTL } = await ask<{ grantedTTL: string }>(url, "lease/timetolive", { ID });
    assert.equal(grantedTTL, "4");
  });

  test("renew() is lost, when the key is not bound to the session any more, or was made anew", async () => {
    await using opened = new Opened(url);
    const provider = opened.open();
    const { ID: lease } = await ask<{ ID: string }>(url, "lease/grant", { TTL: "60" });
    const unbound = await win(provider, request(newGroup()));
    await ask(url, "kv/put", { key: keyOf(unbound), value: btoa("by hand"), lease });
    assert.equal(await provider.renew(unbound, soon()), "lost");
    const anew = await win(provider, request(newGroup()));
    const session = (await kept(url, anew)).lease;
    await ask(url, "kv/deleterange", { key: keyOf(anew) });
    await ask(url, "kv/put", { key: keyOf(anew), value: btoa("by hand"), lease: session });
    assert.equal(await provider.renew(anew, soon()), "lost");
    await ask(url, "kv/deleterange", { key: keyOf(anew) });
    await ask(url, "lease/revoke", { ID: lease });
  });

  test("metadata that was given up, and arrives late, does not replace what was written since", async () => {
    await using opened = new Opened(url);
    await using gateway = await Gateway.to(url);
    const provider = opened.open({ url: gateway.url });
    const lease = await win(provider, request(newGroup()));
    const late = gateway.hold(isPut);
    const giveUp = new AbortController();
    const renewing = provider.renew(lease, { signal: giveUp.signal, metadata: { state: "old" } });
    await late.arrived;
    giveUp.abort(new Error("the call is given up"));
    await assert.rejects(renewing, /given up/);
    assert.equal(await provider.renew(lease, { ...soon(), metadata: { state: "new" } }), "renewed");
    assert.doesNotMatch((await late.letGo()).text, /"succeeded":true/);
    assert.deepEqual((await provider.read(lease.electionGroup, soon()))?.metadata, { state: "new" });
  });

  test("metadata whose outcome is unknown is written again, whichever came first", async () => {
    await using opened = new Opened(url);
    await using gateway = await Gateway.to(url);
    const provider = opened.open({ url: gateway.url });
    const lease = await win(provider, request(newGroup(), { metadata: { state: "first" } }));
    gateway.hook = async (sent, pass) => {
      const answer = await pass();
      return isPut(sent) ? null : answer;
    };
    await assert.rejects(provider.renew(lease, { ...soon(), metadata: { state: "second" } }), ProviderError);
    gateway.hook = null;
    assert.equal(await provider.renew(lease, { ...soon(), metadata: { state: "first" } }), "renewed");
    assert.deepEqual((await provider.read(lease.electionGroup, soon()))?.metadata, { state: "first" });
    const before = await kept(url, lease);
    assert.equal(await provider.renew(lease, { ...soon(), metadata: { state: "first" } }), "renewed");
    assert.deepEqual(await kept(url, lease), before, "what is there already is not written");
  });

  test("renew() by another provider is refused: the one that acquired would not know of it", async () => {
    await using opened = new Opened(url);
    const [holder, other] = [opened.open(), opened.open()];
    const lease = await win(holder, request(newGroup()));
    await assert.rejects(other.renew(lease, soon()), (error) => error instanceof ProviderError && error.permanent);
    assert.equal(await holder.renew(lease, soon()), "renewed");
    assert.equal(await other.release(lease, soon()), "released");
    assert.equal(await other.renew(lease, soon()), "lost");
  });
}

if (server !== null && await etcdProgram("etcd").catch(() => null) !== null) {
  test("metadata that etcd refuses costs no lease, and leaves none where it was asked for", async () => {
    const small = await startEtcd({ args: ["--max-request-bytes", "2000"] });
    try {
      const told: string[] = [];
      const logger = { debug() {}, info() {}, warn: (message: string) => void told.push(message) };
      await using opened = new Opened(small.url);
      const provider = opened.open({ logger });
      const metadata = { large: "x".repeat(3_000) };
      const lease = await win(provider, request(newGroup(), { metadata: { small: "1" } }));
      assert.equal(await provider.renew(lease, { ...soon(), metadata }), "renewed");
      assert.equal(told.length, 1);
      assert.match(told[0] ?? "", /refuses the metadata/);
      assert.deepEqual((await provider.read(lease.electionGroup, soon()))?.metadata, { small: "1" });
      assert.equal(await provider.renew(lease, { ...soon(), metadata: { small: "2" } }), "renewed");
      const refused = request(newGroup(), { metadata });
      await assert.rejects(provider.acquire(refused, soon()), /too large/);
      assert.equal(await provider.read(refused.electionGroup, soon()), null);
      await win(provider, request(refused.electionGroup));
    } finally {
      await small.stop();
    }
  });

  test("a lease of etcd that is longer than asked is told", async () => {
    const slow = await startEtcd({ args: ["--heartbeat-interval", "500", "--election-timeout", "5000"] });
    try {
      const told: Record<string, unknown>[] = [];
      const logger = { debug() {}, info() {}, warn: (_: string, more?: object) => void told.push({ ...more }) };
      await using opened = new Opened(slow.url);
      await win(opened.open({ logger }), request(newGroup(), { heartbeatTimeout: 2_000 }));
      assert.deepEqual(told, [{ asked: 2_000, granted: 8_000 }]);
    } finally {
      await slow.stop();
    }
  });
}
