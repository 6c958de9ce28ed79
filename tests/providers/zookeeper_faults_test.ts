/** The ZooKeeper provider, when requests and answers are lost on the way to a real server. */

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import { zookeeperProvider } from "../../providers/zookeeper.ts";
import { systemClock } from "../../src/time/clock.ts";
import type { AcquireRequest, Provider } from "../../src/provider.ts";
import { follow } from "../../testing/conformance/watch_cases.ts";
import { ZooKeeperClient } from "../../providers/zookeeper/client.ts";
import { getChildren, remove } from "../../providers/zookeeper/protocol.ts";
import { backend } from "../servers/backend.ts";
import { type Proxy, startProxy } from "./zookeeper/proxy.ts";
import { until } from "../until.ts";

/** Request types as they go over the wire. */
const CREATE = 15;
const GET_DATA = 4;
const MULTI = 14;

const zookeeper = backend("zookeeper");
if (zookeeper !== null) faultTests(Number(new URL(zookeeper.url.replace("zookeeper:", "http:")).port));

const soon = () => ({ signal: AbortSignal.timeout(10_000) });

function request(electionGroup: string, changes: Partial<AcquireRequest> = {}): AcquireRequest {
  const termId = randomUUID();
  return { electionGroup, participantId: "p", termId, heartbeatTimeout: 3_000, metadata: {}, ...changes };
}

async function lose(provider: Provider, asked: AcquireRequest): Promise<void> {
  assert.ok(!(await provider.acquire(asked, soon())).acquired, `"${asked.electionGroup}" is held`);
}

/** Makes the nodes in which those of the group will be. */
async function prepare(provider: Provider, electionGroup: string): Promise<void> {
  const answer = await provider.acquire(request(electionGroup), soon());
  assert.ok(answer.acquired);
  assert.equal(await provider.release(answer.lease, soon()), "released");
}

/** Cuts the connection when the answer to the next request of `type` comes: it has been carried out by then. */
function loseAnswerTo(proxy: Proxy, type: number): void {
  proxy.onRequest = (each) => {
    if (each !== type) return;
    proxy.onRequest = () => {};
    proxy.onReply = () => {
      proxy.onReply = () => true;
      return false;
    };
  };
}

function faultTests(port: number): void {
  const direct = () => zookeeperProvider({ url: `zookeeper://127.0.0.1:${port}/faults` });
  const through = (proxy: Proxy) => zookeeperProvider({ url: `zookeeper://127.0.0.1:${proxy.port}/faults` });
  const raw = () =>
    new ZooKeeperClient({ servers: [{ host: "127.0.0.1", port }], sessionTimeout: 10_000, clock: systemClock });
  const nodesOf = async (client: ZooKeeperClient, group: string) => {
    await client.connected();
    return await client.call(getChildren(`/faults/${group}`), soon().signal);
  };

  test("acquire() finds its node again, when the answer to its creation was lost with the connection", async () => {
    await using proxy = await startProxy(port);
    await using provider = through(proxy);
    await using other = direct();
    const asked = request(`lost-${randomUUID()}`);
    await prepare(provider, asked.electionGroup);
    loseAnswerTo(proxy, CREATE);
    await assert.rejects(provider.acquire(asked, soon()), /connection was lost/);
    await lose(other, request(asked.electionGroup));
    const answer = await provider.acquire(asked, soon());
    assert.ok(answer.acquired, "it is its own node that is in the way");
    assert.equal((await other.read(asked.electionGroup, soon()))?.token, answer.lease.token);
    assert.equal(await provider.renew(answer.lease, soon()), "renewed");
    assert.equal(await provider.release(answer.lease, soon()), "released");
    assert.equal(await other.read(asked.electionGroup, soon()), null, "it had made one node, not two");
  });

  test("acquire() is granted, when the leader releases while it is about to be refused", async () => {
    await using proxy = await startProxy(port);
    await using provider = through(proxy);
    await using other = direct();
    const held = request(`meanwhile-${randomUUID()}`);
    const leading = await other.acquire(held, soon());
    assert.ok(leading.acquired);
    // By then its node has been made, and that of the leader been seen before it.
    proxy.onRequest = async (type) => {
      if (type !== MULTI) return;
      proxy.onRequest = () => {};
      assert.equal(await other.release(leading.lease, soon()), "released");
    };
    const answer = await provider.acquire(request(held.electionGroup), soon());
    assert.ok(answer.acquired, "others may have seen its node lead");
    assert.equal((await other.read(held.electionGroup, soon()))?.token, answer.lease.token);
  });

  test("acquire() leaves nothing for longer than its lease, when it is not repeated", async () => {
    await using proxy = await startProxy(port);
    await using provider = through(proxy);
    await using other = direct();
    const kept = request(`orphan-${randomUUID()}`);
    assert.ok((await provider.acquire(kept, soon())).acquired);
    const orphan = request(`orphan-${randomUUID()}`);
    await prepare(provider, orphan.electionGroup);
    loseAnswerTo(proxy, CREATE);
    await assert.rejects(provider.acquire(orphan, soon()));
    await lose(other, request(orphan.electionGroup));
    // The session lives on: the node does not go with it.
    await until("the session is attached again", async () => {
      return (await provider.acquire(kept, soon()).catch(() => null))?.acquired === true;
    });
    await until("the orphan is gone", async () => {
      return (await other.acquire(request(orphan.electionGroup), soon())).acquired;
    });
  });

  test("acquire() writes nothing later, when it was given up before its request got through", async () => {
    await using proxy = await startProxy(port);
    await using provider = through(proxy);
    await using other = direct();
    const group = `never-${randomUUID()}`;
    await provider.healthCheck(soon());
    const asked = request(group, { heartbeatTimeout: 15_000 });
    const stall = Promise.withResolvers<void>();
    proxy.onRequest = (type) => type === CREATE ? stall.promise.then(() => false) : undefined;
    await assert.rejects(provider.acquire(asked, { signal: AbortSignal.timeout(100) }));
    stall.resolve();
    proxy.onRequest = () => {};
    await until("the session is attached again", () => provider.healthCheck(soon()).then(() => true, () => false));
    assert.equal(await other.read(group, soon()), null);
    assert.ok((await other.acquire(request(group), soon())).acquired);
  });

  test("renew() and release() are not carried out twice, when their answers are lost", async () => {
    await using proxy = await startProxy(port);
    await using provider = through(proxy);
    await using other = direct();
    const asked = request(`answers-${randomUUID()}`);
    const answer = await provider.acquire(asked, soon());
    assert.ok(answer.acquired);
    loseAnswerTo(proxy, MULTI);
    await assert.rejects(provider.renew(answer.lease, soon()));
    await until("it is renewed", async () => {
      return await provider.renew(answer.lease, soon()).catch(() => "unknown") === "renewed";
    });
    loseAnswerTo(proxy, 2);
    await assert.rejects(provider.release(answer.lease, soon()));
    const next = await other.acquire(request(asked.electionGroup), soon());
    assert.ok(next.acquired, "the release was carried out");
    await until("the release is answered", async () => {
      return await provider.release(answer.lease, soon()).catch(() => "unknown") === "notHolder";
    });
    assert.equal(await other.renew(next.lease, soon()), "renewed", "the successor is left alone");
  });

  test("release() is carried out when there is a connection again, when there was none", async () => {
    await using proxy = await startProxy(port);
    await using provider = through(proxy);
    await using other = direct();
    const answer = await provider.acquire(request(`late-${randomUUID()}`, { heartbeatTimeout: 60_000 }), soon());
    assert.ok(answer.acquired);
    proxy.onRequest = () => false;
    await assert.rejects(provider.release(answer.lease, { signal: AbortSignal.timeout(300) }));
    proxy.onRequest = () => {};
    // Long before the lease or the session could expire.
    await until("the lease is free", async () => {
      return (await other.acquire(request(answer.lease.electionGroup), soon())).acquired;
    });
  });

  test("watch() hints, when the node before is gone between the list and the watch", async () => {
    await using proxy = await startProxy(port);
    await using provider = through(proxy);
    await using other = direct();
    const client = raw();
    const held = await other.acquire(request(`between-${randomUUID()}`), soon());
    assert.ok(held.acquired);
    const { electionGroup } = held.lease;
    await lose(provider, request(electionGroup));
    proxy.onRequest = async (type) => {
      if (type !== GET_DATA) return;
      const nodes = (await nodesOf(client, electionGroup)).filter((name) => name.includes("-term-"));
      for (const name of nodes) await client.call(remove(`/faults/${electionGroup}/${name}`), soon().signal);
    };
    const watcher = follow(provider, electionGroup, "p") ?? assert.fail();
    await watcher.more(0);
    proxy.onRequest = () => {};
    assert.ok((await provider.acquire(request(electionGroup), soon())).acquired, "it is first");
    await watcher.stop();
    await client.close();
  });

  test("watch() keeps its place and hints, when the connection is lost for a while", async () => {
    await using proxy = await startProxy(port);
    await using provider = through(proxy);
    await using other = direct();
    const client = raw();
    const held = await other.acquire(request(`gap-${randomUUID()}`, { heartbeatTimeout: 30_000 }), soon());
    assert.ok(held.acquired);
    const { electionGroup } = held.lease;
    await lose(provider, request(electionGroup, { heartbeatTimeout: 30_000 }));
    const watcher = follow(provider, electionGroup, "p") ?? assert.fail();
    // The hint says that it has its place and knows it: that the node exists is known to the server first.
    await watcher.more(0);
    await until("it waits", async () => (await nodesOf(client, electionGroup)).length === 2);
    const before = (await nodesOf(client, electionGroup)).sort();
    const hints = watcher.hints();
    proxy.onRequest = proxy.onReply = () => false;
    // Whatever it says now is cut off.
    await assert.rejects(provider.read(electionGroup, soon()));
    await new Promise((resolve) => setTimeout(resolve, 300));
    proxy.onRequest = () => {};
    proxy.onReply = () => true;
    await watcher.more(hints);
    assert.deepEqual((await nodesOf(client, electionGroup)).sort(), before, "the place is the same");
    assert.equal(await other.release(held.lease, soon()), "released");
    await until("it leads", async () => {
      return (await provider.acquire(request(electionGroup, { heartbeatTimeout: 30_000 }), soon())).acquired;
    });
    await watcher.stop();
    await client.close();
  });

  test("a session that expires behind a silent connection is a lost lease, when that is learned late", async () => {
    await using proxy = await startProxy(port);
    await using provider = through(proxy);
    await using other = direct();
    const answer = await provider.acquire(request(`silent-${randomUUID()}`, { heartbeatTimeout: 1_000 }), soon());
    assert.ok(answer.acquired);
    const stall = Promise.withResolvers<void>();
    proxy.stalled = stall.promise;
    const renewal = provider.renew(answer.lease, { signal: AbortSignal.timeout(700) }).catch(() => "unknown");
    let next = await other.acquire(request(answer.lease.electionGroup), soon());
    await until("the other leads", async () => {
      if (!next.acquired) next = await other.acquire(request(answer.lease.electionGroup), soon());
      return next.acquired;
    });
    assert.equal(await renewal, "unknown");
    stall.resolve();
    proxy.stalled = Promise.resolve();
    let late = "unknown";
    await until("it is learned", async () => {
      late = await provider.renew(answer.lease, soon()).catch(() => "unknown");
      return late !== "unknown";
    });
    assert.equal(late, "lost");
    assert.ok(next.acquired && await other.renew(next.lease, soon()) === "renewed");
  });
}
