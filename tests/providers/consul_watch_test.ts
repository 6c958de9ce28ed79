/**
 * Watching through Consul's blocking queries, where they do not block, where their log is replaced, and where they die.
 */

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { Looks } from "../../providers/consul/looks.ts";
import { encodeRecord, type TermRecord } from "../../providers/consul/record.ts";
import { sleep, systemClock } from "../../src/time/clock.ts";
import { VirtualClock } from "../../testing/virtual_clock.ts";
import { Proxy } from "../chaos/proxy.ts";
import { backend } from "../servers/backend.ts";
import { ask, newGroup, Opened, Post, request, soon, Watch, win } from "./consul/fixture.ts";
import { consulProvider } from "../../providers/consul.ts";
import { patience } from "../slowness.ts";
import { until } from "../until.ts";
import { checkIdle } from "./idle.ts";

test("a record under an index that was seen before is another one, after a snapshot was restored", async () => {
  const clock = new VirtualClock();
  const looks = new Looks(clock);
  const look = (record: TermRecord, session: string) =>
    looks.see("g", {
      status: 200,
      index: 7,
      date: null,
      body: JSON.stringify([{
        ...{ Key: "k", ModifyIndex: 7, Session: session, Flags: Number("3304740253564472344") },
        Value: btoa(new TextDecoder().decode(encodeRecord(record))),
      }]),
    });
  const [acquiredAt, participantId] = [new Date(0), "p"];
  const first = {
    ...{ participantId, termId: "a", token: null, heartbeatTimeout: 1_000, beat: 0, metadata: {} },
    ...{ acquiredAt, renewedAt: acquiredAt },
  };
  const seen = look(first, "s");
  await clock.advance(10);
  assert.equal(look(first, "s").since, seen.since, "the same keeps the time since which it stands");
  for (
    const [other, session] of [[{ ...first, termId: "b" }, "s"], [{ ...first, beat: 1 }, "s"], [first, "t"]] as const
  ) {
    const before = look(first, "s");
    await clock.advance(10);
    assert.notEqual(look(other, session).since, before.since);
  }
});

const server = backend("consul");
if (server !== null) testServer(server.url);

function testServer(url: string): void {
  const opened = new Opened(url);
  after(() => opened[Symbol.asyncDispose]());

  const unusable: readonly [string, (real: string | null, count: number) => string | null][] = [
    ["is missing", () => null],
    ["is 0", () => "0"],
    ["is negative", () => "-5"],
    ["is no number", () => "many"],
    ["does not grow", () => "1"],
    ["goes up and down", (_, count) => count % 2 === 0 ? "1" : "2"],
    // Never beyond the true one: behind such an index Consul waits, as it should.
    ["goes down each time", (real, count) => String(Math.max(1, Number(real) - count))],
  ];
  for (const [what, index] of unusable) {
    test(`watch() neither spins nor misses a release, when the index ${what}`, async () => {
      const post = new Post();
      post.index = index;
      const [leader, follower] = [opened.open(), opened.open({ fetch: post.fetch })];
      const lease = await win(leader, request(newGroup(), { heartbeatTimeout: 60_000 }));
      const watch = new Watch(follower, lease.electionGroup);
      await until("it is live", () => watch.hints === 1);
      const start = systemClock.monotonic();
      await sleep(systemClock, 2_500);
      const queries = post.count("index=");
      const seconds = (systemClock.monotonic() - start) / 1_000;
      assert.ok(queries <= 10 + 2 * seconds, `${queries} queries in ${seconds} s, while nothing changes`);
      await leader.release(lease, soon());
      await until("the release is seen", () => watch.hints === 2, 10_000);
      await watch.end();
    });
  }

  test("watch() of one group takes one query, however many wait, and tells all of them who leads", async () => {
    const post = new Post();
    const [leader, follower] = [opened.open(), opened.open({ fetch: post.fetch })];
    const lease = await win(leader, request(newGroup(), { heartbeatTimeout: 60_000 }));
    const watches = Array.from({ length: 20 }, () => new Watch(follower, lease.electionGroup));
    await until("all are live", () => watches.every(({ hints }) => hints >= 1));
    assert.ok(post.count("index=") <= 2, `${post.count("index=")} queries`);
    await leader.release(lease, soon());
    const next = await win(leader, request(lease.electionGroup, { heartbeatTimeout: 60_000, metadata: { a: "1" } }));
    await until("all know", () => watches.every(({ last }) => last?.leader?.termId === next.termId));
    const seen = await follower.read(lease.electionGroup, soon());
    assert.deepEqual({ ...watches[0]?.last?.leader, expiresIn: 0 }, { ...seen, expiresIn: 0 });
    await Promise.all(watches.map((watch) => watch.end()));
    await leader.release(next, soon());
    // The last to leave has ended it, and the next begins anew.
    const again = new Watch(follower, lease.electionGroup);
    await until("it is live", () => again.hints === 1);
    await again.end();
  });

  test("a follower sends 72 requests a minute with a lease of 3 s: a query for each heartbeat, and its looks", {
    timeout: patience(60_000),
  }, () => checkIdle(url, (url) => consulProvider({ url }), { leader: 90, follower: 75 }));

  test("watch() looks ten times a second at most, when the index grows all the time", async () => {
    const post = new Post();
    // As that of a key which is not there does with each write to others.
    post.index = (_, count) => String(count + 1);
    const watch = new Watch(opened.open({ fetch: post.fetch }), newGroup());
    const start = systemClock.monotonic();
    await sleep(systemClock, 2_000);
    const seconds = (systemClock.monotonic() - start) / 1_000;
    assert.ok(post.count("index=") <= 12 + 10 * seconds, `${post.count("index=")} queries in ${seconds} s`);
    await watch.end();
  });

  test("watch() goes on with the log that is there, when a snapshot was restored", async () => {
    const [leader, follower] = [opened.open(), opened.open()];
    const lease = await win(leader, request(newGroup(), { heartbeatTimeout: 60_000 }));
    const snapshot = await (await ask(url, "GET", "snapshot")).arrayBuffer();
    // The index of the key moves on, far beyond what the restored log has.
    for (let i = 0; i < 30; i++) assert.equal(await leader.renew(lease, soon()), "renewed");
    const watch = new Watch(follower, lease.electionGroup);
    await until("it is live", () => watch.hints === 1);
    await ask(url, "PUT", "snapshot", snapshot);
    const before = watch.hints;
    // Its old record, and so its session, are back: it can be given back, and that must be seen at once.
    await until("it is released", async () => await leader.release(lease, soon()).catch(() => "") === "released");
    await until("the release is seen", () => watch.hints > before, 8_000);
    await watch.end();
  });

  test("watch() notices within a lease that its connection is dead", async () => {
    const heartbeatTimeout = 4_000;
    const leader = opened.open();
    const lease = await win(leader, request(newGroup(), { heartbeatTimeout }));
    const proxy = await Proxy.start(url.replace("consul://", ""));
    const follower = opened.open({ url: `consul://${proxy.address}` });
    const watch = new Watch(follower, lease.electionGroup);
    await until("it is live", () => watch.hints === 1);
    // Its next query is on the way before the network takes everything.
    await sleep(systemClock, 200);
    proxy.mode = "blackhole";
    let why: unknown;
    watch.done.catch((error) => why = error);
    await until("it is noticed", () => why !== undefined, heartbeatTimeout * 1.5).finally(() => proxy.close());
    assert.match(String(why), /does not answer/);
    await leader.release(lease, soon());
  });
}
