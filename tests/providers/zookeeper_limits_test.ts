/** The ZooKeeper provider, when a server does not take what is asked of it: too long, or not allowed. */

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { zookeeperProvider } from "../../providers/zookeeper.ts";
import * as protocol from "../../providers/zookeeper/protocol.ts";
import type { Logger } from "../../src/logger.ts";
import type { Lease, Provider } from "../../src/provider.ts";
import { follow } from "../../testing/conformance/watch_cases.ts";
import { backend } from "../servers/backend.ts";
import { freePort } from "../servers/process.ts";
import { startZooKeeper } from "../servers/zookeeper.ts";
import { startProxy } from "./zookeeper/proxy.ts";
import { lose, newGroup, openRaw, pause, request, soon, win } from "./zookeeper/support.ts";
import { until } from "../until.ts";

const usual = backend("zookeeper");
if (usual !== null) {
  const narrow = await startZooKeeper({ properties: ["jute.maxbuffer=10000"] });
  after(() => narrow.stop());
  narrowServerTests(narrow.port, narrow.url);
  refusalTests(usual.url);
}

/** More than the narrow server takes, and within what the core allows. */
const LONG = { long: "x".repeat(30_000) };

/** Notes warnings. */
function warnings(): { readonly logger: Logger; readonly texts: string[] } {
  const texts: string[] = [];
  const warn = (message: string, { error }: Record<string, unknown> = {}) => void texts.push(`${message}: ${error}`);
  return { logger: { debug() {}, info() {}, warn }, texts };
}

/** Renews `lease` again and again while `work` lasts: each time it must succeed at the first try. */
async function undisturbed(provider: Provider, lease: Lease, work: () => Promise<void>): Promise<void> {
  let isOver = false;
  const renewing = (async () => {
    for (let times = 0; !isOver || times < 3; times++) {
      assert.equal(await provider.renew(lease, soon()), "renewed");
      await pause(2);
    }
  })();
  try {
    await Promise.race([work(), renewing]);
  } finally {
    isOver = true;
  }
  await renewing;
}

function narrowServerTests(port: number, url: string): void {
  test("acquire() grants the lease without its metadata, and disturbs no other, when the server hangs up on them", async () => {
    const { logger, texts } = warnings();
    await using provider = zookeeperProvider({ url, logger });
    await using observer = zookeeperProvider({ url });
    const other = await win(provider, request(newGroup()));
    await undisturbed(provider, other, async () => {
      const lease = await win(provider, request(newGroup(), { metadata: LONG }));
      const seen = await observer.read(lease.electionGroup, soon());
      assert.deepEqual([seen?.termId, seen?.metadata], [lease.termId, {}]);
      assert.equal(await provider.renew(lease, { ...soon(), metadata: { short: "y" } }), "renewed");
      assert.deepEqual((await observer.read(lease.electionGroup, soon()))?.metadata, { short: "y" });
    });
    assert.match(texts.join(), /others do not see the metadata of the leader: .*30\d\d\d bytes.*jute\.maxbuffer/);
  });

  test("acquire() grants a place in the queue without its metadata, when the server hangs up on them", async () => {
    await using provider = zookeeperProvider({ url });
    await using waiting = zookeeperProvider({ url });
    const lease = await win(provider, request(newGroup()));
    const { electionGroup } = lease;
    const asked = request(electionGroup, { participantId: "waiting", metadata: LONG });
    await lose(waiting, asked);
    const watcher = follow(waiting, electionGroup, "waiting") ?? assert.fail();
    await watcher.more(0);
    const hints = watcher.hints();
    assert.equal(await provider.release(lease, soon()), "released");
    await watcher.more(hints);
    const next = await win(waiting, asked);
    assert.equal((await provider.read(electionGroup, soon()))?.termId, next.termId);
    await watcher.stop();
  });

  test("renew() keeps the lease, disturbs no other and does not repeat itself, when the server hangs up on its metadata", async () => {
    await using proxy = await startProxy(port);
    await using provider = zookeeperProvider({ url: `zookeeper://127.0.0.1:${proxy.port}/elections` });
    const other = await win(provider, request(newGroup()));
    const lease = await win(provider, request(newGroup(), { metadata: { a: "b" } }));
    let connections = 0;
    proxy.onRequest = (type) => void (type === 0 && connections++);
    await undisturbed(provider, other, async () => {
      await assert.rejects(provider.renew(lease, { ...soon(), metadata: LONG }), /jute\.maxbuffer may be smaller/);
      assert.equal(connections, 1, "it had a connection of its own");
      for (let i = 0; i < 5; i++) {
        await assert.rejects(provider.renew(lease, { ...soon(), metadata: LONG }), /jute\.maxbuffer may be smaller/);
      }
      assert.equal(connections, 1, "what was hung up on is not sent again");
      assert.equal(await provider.renew(lease, soon()), "renewed");
      const fits = { fits: "z".repeat(4_000) };
      assert.equal(await provider.renew(lease, { ...soon(), metadata: fits }), "renewed");
      assert.deepEqual((await provider.read(lease.electionGroup, soon()))?.metadata, fits);
    });
    assert.equal(await provider.release(lease, soon()), "released");
  });

  test("renew() renews all that are due together, when the server takes no more than some of them at once", async () => {
    await using provider = zookeeperProvider({ url });
    const leases = await Promise.all(Array.from({ length: 300 }, () => win(provider, request(newGroup()))));
    for (let i = 0; i < 3; i++) {
      const answers = await Promise.all(leases.map((lease) => provider.renew(lease, soon())));
      assert.ok(answers.every((answer) => answer === "renewed"));
    }
  });
}

function refusalTests(url: string): void {
  test("renew() of leases that are due together is lost for one, and one that is gone costs no other its lease", async () => {
    await using provider = zookeeperProvider({ url });
    await using other = zookeeperProvider({ url });
    const leases = await Promise.all(Array.from({ length: 5 }, () => win(provider, request(newGroup()))));
    assert.equal(await other.release(leases[2] ?? assert.fail(), soon()), "released", "it is evicted");
    const answers = await Promise.all(leases.map((lease) => provider.renew(lease, soon())));
    assert.deepEqual(answers, ["renewed", "renewed", "lost", "renewed", "renewed"]);
  });

  test("renew() goes on over its own session, when it carries long metadata", async () => {
    await using proxy = await startProxy(Number(new URL(url.replace("zookeeper:", "http:")).port));
    await using provider = zookeeperProvider({ url: `zookeeper://127.0.0.1:${proxy.port}/elections` });
    const lease = await win(provider, request(newGroup()));
    // Each in a transaction of its own: that of the record comes from another session, and does not keep this one
    // alive.
    let transactions = 0;
    proxy.onRequest = (type) => void (type === 14 && transactions++);
    assert.equal(await provider.renew(lease, { ...soon(), metadata: LONG }), "renewed");
    assert.equal(transactions, 2);
  });

  test("acquire() and renew() reject before they ask the server, when metadata are beyond all measure", async () => {
    await using provider = zookeeperProvider({ url: `zookeeper://127.0.0.1:${await freePort()}/elections` });
    const metadata = { long: "\u20ac".repeat(200_000) };
    const asked = request(newGroup(), { metadata });
    await assert.rejects(
      provider.acquire(asked, soon()),
      /metadata must have at most 458752 bytes as JSON, got 600011/,
    );
    await using reachable = zookeeperProvider({ url });
    const lease = await win(reachable, { ...asked, metadata: {} });
    await assert.rejects(reachable.renew(lease, { ...soon(), metadata }), /metadata must have at most/);
    assert.equal(await reachable.renew(lease, soon()), "renewed");
  });

  test("renew() succeeds fifty times at once, with metadata of any length, and the last ones stay", async () => {
    await using provider = zookeeperProvider({ url });
    await using observer = zookeeperProvider({ url });
    const lease = await win(provider, request(newGroup(), { metadata: { i: "-1" } }));
    const lengths = { short: () => 10, long: () => 20_000, mixed: (i: number) => i % 3 === 1 ? 20_000 : 10 };
    for (const [what, lengthOf] of Object.entries(lengths)) {
      const answers = await Promise.all(Array.from({ length: 50 }, (_, i) => {
        const metadata = { i: `${i}`, text: "x".repeat(lengthOf(i)) };
        return provider.renew(lease, i % 5 === 4 ? soon() : { ...soon(), metadata });
      }));
      assert.deepEqual(new Set(answers), new Set(["renewed"]), what);
      assert.equal((await observer.read(lease.electionGroup, soon()))?.metadata.i, "48", what);
    }
    assert.equal(await provider.renew(lease, soon()), "renewed");
  });

  test("renew() of a lease that is gone is lost, and leaves the record of the next, when it carries metadata", async () => {
    await using other = zookeeperProvider({ url });
    for (const metadata of [{ short: "x" }, LONG]) {
      await using provider = zookeeperProvider({ url });
      const lease = await win(provider, request(newGroup()));
      assert.equal(await other.release(lease, soon()), "released", "it is evicted");
      const next = await win(other, request(lease.electionGroup, { metadata: { of: "the next" } }));
      assert.equal(await provider.renew(lease, { ...soon(), metadata }), "lost");
      const seen = await other.read(lease.electionGroup, soon());
      assert.deepEqual([seen?.termId, seen?.metadata], [next.termId, { of: "the next" }]);
    }
  });

  test("acquire() grants the lease without its metadata, when the server does not let it write the record", async () => {
    const { logger, texts } = warnings();
    await using provider = zookeeperProvider({ url, logger });
    await using raw = openRaw(url);
    const electionGroup = await groupWithoutRecord(provider, raw);
    const lease = await win(provider, request(electionGroup, { metadata: { a: "b" } }));
    assert.deepEqual((await provider.read(electionGroup, soon()))?.metadata, {});
    assert.match(texts.join(), /not authorized/);
    await assert.rejects(provider.renew(lease, { ...soon(), metadata: { a: "c" } }), /not authorized/);
    assert.equal(await provider.renew(lease, soon()), "renewed");
  });

  test("acquire() leaves nothing in the way of others, when the server refuses to let its place lead", async () => {
    await using holder = zookeeperProvider({ url });
    await using waiting = zookeeperProvider({ url });
    await using raw = openRaw(url);
    const electionGroup = await groupWithoutRecord(holder, raw);
    const lease = await win(holder, request(electionGroup));
    const asked = request(electionGroup, { participantId: "waiting" });
    await lose(waiting, asked);
    const watcher = follow(waiting, electionGroup, "waiting") ?? assert.fail();
    await watcher.more(0);
    const hints = watcher.hints();
    assert.equal(await holder.release(lease, soon()), "released");
    await watcher.more(hints);
    await assert.rejects(waiting.acquire(asked, soon()), /not authorized/);
    // At once, not when a lease of a minute has expired.
    await until("another leads", async () => (await holder.acquire(request(electionGroup), soon())).acquired);
    await watcher.stop();
  });
}

/** A group in which nodes can be made, but whose own data nobody may write. */
async function groupWithoutRecord(provider: Provider, raw: ReturnType<typeof openRaw>): Promise<string> {
  const electionGroup = newGroup();
  await provider.healthCheck(soon());
  const acl = [{ perms: 1 + 4 + 8, scheme: "world", id: "anyone" }];
  await raw.call(protocol.create(raw.path(electionGroup), new Uint8Array(0), acl, protocol.NodeKind.persistent));
  return electionGroup;
}
