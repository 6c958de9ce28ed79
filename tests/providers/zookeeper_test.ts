/** The ZooKeeper provider against a real server. */

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import { type ZooKeeperOptions, zookeeperProvider } from "../../providers/zookeeper.ts";
import { ZooKeeperClient } from "../../providers/zookeeper/client.ts";
import * as protocol from "../../providers/zookeeper/protocol.ts";
import { parseTarget } from "../../providers/zookeeper/target.ts";
import { type Clock, systemClock } from "../../src/time/clock.ts";
import { ProviderError } from "../../src/errors.ts";
import type { AcquireRequest, Lease, Provider } from "../../src/provider.ts";
import { openProvider } from "../../src/registry.ts";
import { conformanceCases } from "../../testing/conformance.ts";
import { follow } from "../../testing/conformance/watch_cases.ts";
import { backend, detourTo } from "../servers/backend.ts";
import { until } from "../until.ts";

const soon = () => ({ signal: AbortSignal.timeout(10_000) });

test("zookeeperProvider() reads servers, root, credentials and settings from its URL", async () => {
  assert.deepEqual(parseTarget("zookeeper://a"), { servers: [{ host: "a", port: 2181 }], root: "/multilock" });
  assert.deepEqual(parseTarget("zookeeper://u:p%40ss:w@a:1,[::1]:2,10.0.0.3/x/y/?sessionTimeout=20s"), {
    servers: [{ host: "a", port: 1 }, { host: "::1", port: 2 }, { host: "10.0.0.3", port: 2181 }],
    root: "/x/y",
    credentials: "u:p@ss:w",
    sessionTimeout: 20_000,
  });
  const files = { ca: "/x/ca.pem", cert: "c", key: "k", servername: "zk" };
  assert.deepEqual(parseTarget(`zookeeper+tls://a,b:1/x?${new URLSearchParams(files)}`), {
    servers: [{ host: "a", port: 2281 }, { host: "b", port: 1 }],
    root: "/x",
    tls: files,
  });
  assert.deepEqual(parseTarget("zookeeper+tls://a").tls, {}, "the authorities of the runtime are trusted");
  await using provider = zookeeperProvider({ url: "zookeeper://a/r?sessionTimeout=11000" });
  assert.equal(provider.capabilities.maxTimeout, 10_000);
  await using opened = await openProvider("zookeeper://a,b");
  assert.equal(opened.name, "zookeeper");
});

test("zookeeperProvider() throws, when its URL or a setting is not usable, and tells no password", () => {
  const bad = [
    ...["zookeeper:a", "zookeeper://", "zookeeper://a,,b", "zookeeper://a:0", "zookeeper://a:65536", "zookeeper://a:b"],
    ...["zookeeper://a//x", "zookeeper://a/./x", "zookeeper://a/zookeeper/x", "zookeeper://a/%zz", "zookeeper://a/x#y"],
    ...["zookeeper://u@a", "zookeeper://u:@a", "zookeeper://u:secret@a?x=1", "zookeeper://u:secret@", "redis://a"],
    ...["zookeeper://u:secret/x@a", "zookeeper://u:secret?x@a"],
    ...["zookeeper://a?sessionTimeout=soon", "zookeeper://a?sessionTimeout=5s&sessionTimeout=6s", "zookeeper+ssl://a"],
    ...[
      "zookeeper://u:secret@a?ca=x",
      "zookeeper://a?servername=x",
      "zookeeper+tls://u:secret@a?cert=x",
      "zookeeper+tls://a?key=x",
    ],
  ];
  for (const url of bad) {
    assert.throws(() => zookeeperProvider({ url }), (error) => {
      assert.ok(error instanceof TypeError, `${url}: ${error}`);
      assert.ok(!error.message.includes("secret"), error.message);
      return true;
    });
  }
  assert.throws(
    () => zookeeperProvider({ url: "zookeeper://u:secret@a?sesionTimeout=20s" }),
    /did you mean "sessionTimeout"\?/,
  );
  assert.throws(
    () => zookeeperProvider({ url: "zookeeper://a?ca=x" }),
    /"ca" needs zookeeper\+tls:/,
  );
  const misspelt: Record<string, unknown> = { url: "zookeeper://u:secret@a", sesionTimeout: 20_000 };
  assert.throws(
    () => zookeeperProvider(misspelt as unknown as ZooKeeperOptions),
    /option "sesionTimeout".*"sessionTimeout"/,
  );
  assert.throws(() => zookeeperProvider({ url: "zookeeper://a?sessionTimeout=1s" }), RangeError);
  assert.throws(() => zookeeperProvider({ url: "zookeeper://a", sessionTimeout: 1.5 }), RangeError);
});

const zookeeper = backend("zookeeper");

if (zookeeper !== null) {
  const { url, faults } = zookeeper;
  const open = ({ clock }: { clock?: Clock } = {}) => zookeeperProvider({ url, ...(clock && { clock }) });
  for (
    const { name, run } of conformanceCases({
      name: "zookeeper",
      open,
      faults,
      ...detourTo("zookeeper", (detour) => zookeeperProvider({ url: detour })),
    })
  ) test(name, run);
  serverTests(url, open);
}

function request(electionGroup: string, changes: Partial<AcquireRequest> = {}): AcquireRequest {
  const termId = randomUUID();
  return { electionGroup, participantId: "p", termId, heartbeatTimeout: 60_000, metadata: {}, ...changes };
}

async function win(provider: Provider, asked: AcquireRequest): Promise<Lease> {
  const answer = await provider.acquire(asked, soon());
  assert.ok(answer.acquired, `"${asked.electionGroup}" is held`);
  return answer.lease;
}

async function lose(provider: Provider, asked: AcquireRequest): Promise<void> {
  assert.ok(!(await provider.acquire(asked, soon())).acquired, `"${asked.electionGroup}" is held`);
}

/** A provider's session seen from beside it: the nodes as they are. */
function openRaw(url: string, credentials?: string) {
  const { servers, root } = parseTarget(url);
  const client = new ZooKeeperClient({ servers, sessionTimeout: 10_000, clock: systemClock, credentials });
  const call = async <T>(operation: protocol.Operation<T>) => {
    await client.connected();
    return await client.call(operation, soon().signal);
  };
  return {
    call,
    path: (group: string) => `${root}/${group}`,
    nodes: async (group: string) => (await call(protocol.getChildren(`${root}/${group}`))).sort(),
    [Symbol.asyncDispose]: () => client.close(),
  };
}

/** Makes a transaction, at the end of the queue of `group`, and returns its number. */
async function mark(raw: ReturnType<typeof openRaw>, group: string): Promise<bigint> {
  const marking = protocol.create(`${raw.path(group)}/x`, new Uint8Array(0), protocol.OPEN_ACL, 3);
  return (await raw.call(marking)).stat.czxid;
}

function serverTests(url: string, open: (options?: { clock?: Clock }) => Provider): void {
  const group = () => `zk-${randomUUID()}`;

  test("acquire() makes an ephemeral node in Curator's layout, and its czxid the token", async () => {
    await using provider = open();
    await using raw = openRaw(url);
    const lease = await win(provider, request(group(), { participantId: "me", metadata: { a: "b" } }));
    const [name, ...others] = await raw.nodes(lease.electionGroup);
    assert.deepEqual(others, []);
    assert.equal(name, `_c_${lease.termId}-term-latch-0000000000`);
    assert.equal(await provider.renew(lease, { ...soon(), metadata: { a: "c" } }), "renewed");
    const { data, stat } = await raw.call(protocol.getData(`${raw.path(lease.electionGroup)}/${name}`));
    assert.equal(new TextDecoder().decode(data), "me", "Curator reads it as the participant's id");
    assert.equal(stat.czxid, lease.token);
    assert.equal(stat.version, 0, "a write would spend the watch of a Curator participant");
    assert.notEqual(stat.ephemeralOwner, 0n);
  });

  test("acquire() leaves no node, and then writes nothing more, when the lease is held and nobody watches", async () => {
    await using holder = open();
    await using provider = open();
    await using raw = openRaw(url);
    const { electionGroup } = await win(holder, request(group()));
    await lose(provider, request(electionGroup, { participantId: "other" }));
    assert.equal((await raw.nodes(electionGroup)).length, 1);
    const before = await mark(raw, electionGroup);
    for (let i = 0; i < 5; i++) await lose(provider, request(electionGroup, { participantId: `other-${i}` }));
    assert.equal(await mark(raw, electionGroup) - before, 1n, "no transaction but the mark");
  });

  test("watch() gives the place up, when it ends or its provider closes", async () => {
    await using holder = open();
    await using raw = openRaw(url);
    const { electionGroup } = await win(holder, request(group()));
    const stopping = open();
    const closing = open();
    for (const provider of [stopping, closing]) await lose(provider, request(electionGroup));
    const watchers = [stopping, closing].map((provider) => follow(provider, electionGroup, "p") ?? assert.fail());
    await until("both wait", async () => (await raw.nodes(electionGroup)).length === 3);
    await watchers[0]?.stop();
    await until("one is gone", async () => (await raw.nodes(electionGroup)).length === 2);
    await closing[Symbol.asyncDispose]();
    await until("both are gone", async () => (await raw.nodes(electionGroup)).length === 1);
    await watchers[1]?.stop().catch((error) => assert.ok(error instanceof ProviderError));
    await stopping[Symbol.asyncDispose]();
  });

  test("watch() gives the place up, when it is first and is not claimed", async () => {
    await using holder = open();
    await using idle = open();
    const lease = await win(holder, request(group()));
    const { electionGroup } = lease;
    await lose(idle, request(electionGroup, { participantId: "idle" }));
    await using raw = openRaw(url);
    const watcher = follow(idle, electionGroup, "idle") ?? assert.fail();
    await until("it waits", async () => (await raw.nodes(electionGroup)).length === 2);
    assert.equal(await holder.release(lease, soon()), "released");
    assert.equal(await holder.read(electionGroup, soon()), null, "to be first is not to lead");
    await until("another leads", async () => (await holder.acquire(request(electionGroup), soon())).acquired);
    const hints = watcher.hints();
    const leader = await holder.read(electionGroup, soon());
    assert.equal(await idle.release({ electionGroup, termId: leader?.termId ?? "" }, soon()), "released");
    await watcher.more(hints);
    await win(idle, request(electionGroup, { participantId: "idle" }));
    await watcher.stop();
  });

  test("acquire() keeps two elections of one participantId on one provider apart", async () => {
    await using provider = open();
    const holder = await win(provider, request(group(), { participantId: "first" }));
    const { electionGroup } = holder;
    for (let i = 0; i < 2; i++) await lose(provider, request(electionGroup));
    const watchers = [0, 1].map(() => follow(provider, electionGroup, "p") ?? assert.fail());
    await Promise.all(watchers.map((watcher) => watcher.more(0)));
    assert.equal(await provider.release(holder, soon()), "released");
    let token = 0n;
    for (let turn = 0; turn < 4; turn++) {
      const granted: Lease[] = [];
      await until("one of the two leads", async () => {
        const answers = await Promise.all([0, 1].map(() => provider.acquire(request(electionGroup), soon())));
        granted.push(...answers.flatMap((answer) => answer.acquired ? [answer.lease] : []));
        return granted.length > 0;
      });
      assert.equal(granted.length, 1);
      const [leading = assert.fail()] = granted;
      assert.ok(leading.token > token);
      token = leading.token;
      await lose(provider, request(electionGroup));
      assert.equal(await provider.renew(leading, soon()), "renewed");
      assert.equal(await provider.release(leading, soon()), "released");
    }
    await Promise.all(watchers.map((watcher) => watcher.stop()));
  });

  test("renew() shares one transaction with all that are due together", async () => {
    await using provider = open();
    await using raw = openRaw(url);
    const leases = await Promise.all(Array.from({ length: 40 }, () => win(provider, request(group()))));
    const aside = leases[0]?.electionGroup ?? "";
    const before = await mark(raw, aside);
    await Promise.all(leases.map((lease) => provider.renew(lease, soon())));
    assert.equal(await mark(raw, aside) - before, 2n, "one for the renewals, one for the mark");
  });

  test("release() and read() tell a foreign participant's node, which is not evicted", async () => {
    await using provider = open();
    await using raw = openRaw(url);
    const lease = await win(provider, request(group()));
    const { electionGroup } = lease;
    assert.equal(await provider.release(lease, soon()), "released");
    const guid = randomUUID();
    const prefix = `${raw.path(electionGroup)}/_c_${guid}-latch-`;
    const foreign = await raw.call(protocol.create(prefix, new TextEncoder().encode("java-1"), protocol.OPEN_ACL, 3));
    const leader = await provider.read(electionGroup, soon());
    assert.deepEqual([leader?.leaderId, leader?.termId, leader?.token], ["java-1", guid, foreign.stat.czxid]);
    await lose(provider, request(electionGroup));
    await assert.rejects(provider.release({ electionGroup, termId: guid }, soon()), /java-1 leads through Curator/);
    assert.deepEqual((await raw.nodes(electionGroup)).length, 1);
  });

  test("acquire() rejects, when the server grants no session that is long enough", async () => {
    await using provider = open();
    const asked = request(group(), { heartbeatTimeout: 115_000 });
    await assert.rejects(
      provider.acquire(asked, soon()),
      /needs a session of 126500 ms, and the server grants 120000 ms/,
    );
    await using raw = openRaw(url);
    await assert.rejects(raw.nodes(asked.electionGroup), /no such node/);
  });

  test("zookeeperProvider() keeps its nodes to itself, when it has credentials", async () => {
    const secured = url.replace("//", "//user:s3cret@").replace(/\/[^/]*$/, `/secured-${randomUUID()}`);
    await using provider = zookeeperProvider({ url: secured });
    await using peer = zookeeperProvider({ url: secured });
    await using stranger = zookeeperProvider({ url: secured.replace("s3cret", "guess") });
    await provider.healthCheck(soon());
    const lease = await win(provider, request(group(), { metadata: { a: "b" } }));
    assert.equal((await peer.read(lease.electionGroup, soon()))?.termId, lease.termId);
    const refused = [
      () => stranger.read(lease.electionGroup, soon()),
      () => stranger.acquire(request(lease.electionGroup), soon()),
      () => stranger.release(lease, soon()),
      () => stranger.healthCheck(soon()),
    ];
    for (const call of refused) {
      await assert.rejects(call(), (error) => {
        assert.ok(error instanceof ProviderError && /not authorized/.test(error.message), `${call}: ${error}`);
        assert.ok(!/guess|s3cret/.test(error.message), error.message);
        return true;
      });
    }
    assert.equal(await peer.release(lease, soon()), "released");
  });

  test("a provider leaves no timer behind, when it is closed", async () => {
    const timers = new Set<() => void>();
    const clock: Clock = {
      ...systemClock,
      setTimer(callback, delayMs) {
        const cancel = systemClock.setTimer(() => (timers.delete(cancel), callback()), delayMs);
        timers.add(cancel);
        return () => (timers.delete(cancel), cancel());
      },
    };
    const provider = open({ clock });
    const lease = await win(provider, request(group()));
    await lose(provider, request(lease.electionGroup, { participantId: "waiting" }));
    const watcher = follow(provider, lease.electionGroup, "waiting") ?? assert.fail();
    await watcher.more(0);
    assert.ok(timers.size > 0);
    await provider[Symbol.asyncDispose]();
    await watcher.stop().catch(() => {});
    assert.equal(timers.size, 0);
    await assert.rejects(provider.read(lease.electionGroup, soon()), /it was closed/);
  });
}
