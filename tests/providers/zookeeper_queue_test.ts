/** The queue of the ZooKeeper provider: who is told of what, at what cost, and who keeps a place. */

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import { zookeeperProvider } from "../../providers/zookeeper.ts";
import * as protocol from "../../providers/zookeeper/protocol.ts";
import { inOrder } from "../../providers/zookeeper/latch.ts";
import { LatchQueue } from "../../providers/zookeeper/latch_queue.ts";
import { LatchSession } from "../../providers/zookeeper/latch_session.ts";
import { noteReaction, patienceFor, placeOf } from "../../providers/zookeeper/place.ts";
import { parseTarget } from "../../providers/zookeeper/target.ts";
import { systemClock } from "../../src/time/clock.ts";
import { LeaderElection } from "../../src/election.ts";
import type { Lease, Provider } from "../../src/provider.ts";
import { follow, type Watcher } from "../../testing/conformance/watch_cases.ts";
import { backend } from "../servers/backend.ts";
import { checkIdle } from "./idle.ts";
import { startProxy } from "./zookeeper/proxy.ts";
import { lose, newGroup, openRaw, pause, request, soon, win } from "./zookeeper/support.ts";
import { until } from "../until.ts";

/** Request types as they go over the wire. */
const CREATE = 15;
const GET_DATA = 4;
const GET_CHILDREN = 12;

test("patienceFor() waits as long as the participant needs, and for no one longer than half a session", () => {
  assert.equal(patienceFor(0, 16_500), 1_000);
  assert.equal(patienceFor(2_000, 16_500), 5_000);
  assert.equal(patienceFor(null, 16_500), 6_000, "as long as a health check may take by default");
  assert.equal(patienceFor(600_000, 16_500), 8_250);
  assert.equal(patienceFor(null, 3_300), 1_650);
  assert.equal(patienceFor(600_000, 1_100), 1_000, "never less than a second");
});

test("noteReaction() counts from the first hint that was not followed, and forgets only by and by", () => {
  const place = placeOf("g", "p");
  noteReaction(place, 5);
  assert.equal(place.reactionMs, null, "nobody had given a hint");
  place.hintedAt = 1_000;
  noteReaction(place, 3_000);
  assert.deepEqual([place.reactionMs, place.hintedAt], [2_000, null]);
  place.hintedAt = 4_000;
  noteReaction(place, 4_010);
  assert.equal(place.reactionMs, 1_500, "it may have decided before the hint");
});

const zookeeper = backend("zookeeper");
if (zookeeper !== null) queueTests(zookeeper.url);

interface Waiting {
  readonly provider: Provider;
  readonly participantId: string;
  readonly watcher: Watcher;
}

function queueTests(url: string): void {
  const open = () => zookeeperProvider({ url });

  test("a leader sends 60 requests a minute, and a follower no more than the pings of its session", async () => {
    const idle = (url: string, follower: number) => checkIdle(url, (url) => zookeeperProvider({ url }), { follower });
    // With a lease of 3 s the server's shortest session of two ticks: three pings in four seconds, and a look in five.
    await Promise.all([idle(url, 60), idle(`${url}?sessionTimeout=20s`, 12)]);
  });

  /** Lets `count` participants wait behind `lease`, each with a provider of its own unless one is given. */
  async function waitInTurn(lease: Lease, count: number, given?: Provider): Promise<Waiting[]> {
    const waiting: Waiting[] = [];
    await using raw = openRaw(url);
    const others = (await raw.nodes(lease.electionGroup)).length;
    for (let i = 0; i < count; i++) {
      const provider = given ?? open();
      const participantId = `p${9 - i}`;
      await lose(provider, request(lease.electionGroup, { participantId }));
      const watcher = follow(provider, lease.electionGroup, participantId) ?? assert.fail();
      await until("it has its place", async () => (await raw.nodes(lease.electionGroup)).length === others + i + 1);
      await watcher.more(0);
      waiting.push({ provider, participantId, watcher });
    }
    return waiting;
  }

  async function leave(waiting: readonly Waiting[]): Promise<void> {
    for (const { provider, watcher } of waiting) {
      await watcher.stop();
      await provider[Symbol.asyncDispose]();
    }
  }

  test("acquire() grants in the order in which participants began to wait, and all of them learn who leads", async () => {
    await using holder = open();
    const lease = await win(holder, request(newGroup()));
    const { electionGroup } = lease;
    const waiting = await waitInTurn(lease, 5);
    let leading = { provider: holder, lease };
    for (const [i, { provider, participantId, watcher }] of waiting.entries()) {
      const before = watcher.hints();
      assert.equal(await leading.provider.release(leading.lease, soon()), "released");
      await watcher.more(before);
      const later = waiting.slice(i + 1);
      for (const each of later) {
        await lose(each.provider, request(electionGroup, { participantId: each.participantId }));
      }
      const hints = later.map((each) => each.watcher.hints());
      const next = await win(provider, request(electionGroup, { participantId, metadata: { turn: `${i}` } }));
      assert.ok(next.token > leading.lease.token);
      const seen = await holder.read(electionGroup, soon());
      assert.deepEqual([seen?.termId, seen?.metadata], [next.termId, { turn: `${i}` }]);
      assert.deepEqual(seen?.leadershipAcquiredAt, next.acquiredAt);
      for (const [at, each] of later.entries()) {
        await each.watcher.more(hints[at] ?? 0);
        const { leader } = await lose(each.provider, request(electionGroup, { participantId: each.participantId }));
        assert.equal(leader?.termId, next.termId, "who waits further back knows, too");
      }
      leading = { provider, lease: next };
    }
    await leave(waiting);
  });

  test("an election that waits third names each leader at once, however the one before has gone", async () => {
    const electionGroup = newGroup();
    const timing = { heartbeatTimeout: "30s", electionInterval: "30s" } as const;
    const names = ["a", "b", "c", "d"];
    const elections: { readonly provider: Provider; readonly election: LeaderElection }[] = [];
    await using raw = openRaw(url);
    for (const [i, participantId] of names.entries()) {
      const provider = open();
      const election = new LeaderElection(provider, { electionGroup, participantId, ...timing });
      await election.start();
      await until("it has its place", async () => (await raw.nodes(electionGroup)).length === i + 1);
      elections.push({ provider, election });
    }
    const [a, b, c, d] = elections;
    assert.ok(a && b && c && d);
    const changes: string[] = [];
    void d.election.changes({ types: ["changed"] }).forEach(({ current }) =>
      void changes.push(current?.leaderId ?? "-")
    );
    const start = systemClock.monotonic();
    await a.election.stop();
    await until("d names b", () => d.election.status.currentLeader?.leaderId === "b");
    // As a crash would, it ends the session without a word to the election.
    await b.provider[Symbol.asyncDispose]();
    await until("d names c", () => d.election.status.currentLeader?.leaderId === "c");
    await c.election.releaseLeadership({ cooldown: "1m" });
    await until("d leads", () => d.election.isLeader);
    assert.ok(systemClock.monotonic() - start < 20_000, "long before a lease has passed");
    assert.deepEqual(changes.filter((name) => name !== "-"), ["b", "c"]);
    for (const { election, provider } of elections) {
      await election.stop();
      await provider[Symbol.asyncDispose]();
    }
  });

  test("watch() hints to who waits when a Curator participant leads, with no record of it", async () => {
    await using holder = open();
    await using raw = openRaw(url);
    const lease = await win(holder, request(newGroup()));
    const { electionGroup } = lease;
    const prefix = `${raw.path(electionGroup)}/_c_${randomUUID()}-latch-`;
    await raw.call(protocol.create(prefix, new TextEncoder().encode("java-1"), protocol.OPEN_ACL, 3));
    const [waiting = assert.fail()] = await waitInTurn(lease, 1);
    const hints = waiting.watcher.hints();
    assert.equal(await holder.release(lease, soon()), "released");
    await waiting.watcher.more(hints);
    const { participantId } = waiting;
    const { leader } = await lose(waiting.provider, request(electionGroup, { participantId }));
    assert.equal(leader?.leaderId, "java-1");
    await leave([waiting]);
  });

  test("a change of the leader costs who waits a few reads of single nodes, and no list", async () => {
    const port = Number(new URL(url.replace("zookeeper:", "http:")).port);
    await using proxy = await startProxy(port);
    await using holder = open();
    await using last = zookeeperProvider({ url: `zookeeper://127.0.0.1:${proxy.port}/elections` });
    const lease = await win(holder, request(newGroup()));
    const { electionGroup } = lease;
    const [next = assert.fail(), ...between] = await waitInTurn(lease, 8);
    const [waiting = assert.fail()] = await waitInTurn(lease, 1, last);
    const asked: number[] = [];
    proxy.onRequest = (type) => void asked.push(type);
    const hints = waiting.watcher.hints();
    assert.equal(await holder.release(lease, soon()), "released");
    await waiting.watcher.more(hints);
    const lead = await win(next.provider, request(electionGroup, { participantId: next.participantId }));
    const { participantId } = waiting;
    await until("it knows", async () => {
      return (await lose(last, request(electionGroup, { participantId }))).leader?.termId === lead.termId;
    });
    assert.deepEqual(
      asked.filter((type) => type === GET_CHILDREN),
      [],
      "a list has as many names as there are that wait",
    );
    assert.ok(asked.includes(GET_DATA));
    await leave([next, ...between, waiting]);
  });

  test("who waits hears neither of the leader's metadata nor of others that leave, and an observer hears of the former", async () => {
    await using proxy = await startProxy(Number(new URL(url.replace("zookeeper:", "http:")).port));
    await using holder = open();
    await using watching = open();
    const lease = await win(holder, request(newGroup(), { metadata: { a: "0" } }));
    const waiting = await waitInTurn(lease, 2);
    waiting.push(
      ...await waitInTurn(lease, 1, zookeeperProvider({ url: `zookeeper://127.0.0.1:${proxy.port}/elections` })),
    );
    const [first = assert.fail(), second = assert.fail(), third = assert.fail()] = waiting;
    const observer = follow(watching, lease.electionGroup) ?? assert.fail();
    await observer.more(0);
    const hints = [first, third].map(({ watcher }) => watcher.hints());
    const asked: number[] = [];
    proxy.onRequest = (type) => void asked.push(type);
    for (let i = 1; i <= 3; i++) {
      const seen = observer.hints();
      assert.equal(await holder.renew(lease, { ...soon(), metadata: { a: `${i}` } }), "renewed");
      await observer.more(seen);
    }
    await leave([second]);
    await using raw = openRaw(url);
    await until("the second has left", async () => (await raw.nodes(lease.electionGroup)).length === 3);
    // An event comes before the answer to what was asked later, and what it leads to is asked before the next.
    for (let i = 0; i < 3; i++) await third.provider.healthCheck(soon());
    assert.deepEqual(asked.filter((type) => type === GET_DATA || type === GET_CHILDREN), [], "it looks at nothing");
    assert.deepEqual([first, third].map(({ watcher }) => watcher.hints()), hints);
    await observer.stop();
    await leave([first, third]);
  });

  test("a place waits for a claim that takes as long as its participant is known to need", async () => {
    await using holder = open();
    const lease = await win(holder, request(newGroup()));
    const { electionGroup } = lease;
    const waiting = await waitInTurn(lease, 2);
    const [slow = assert.fail(), eager = assert.fail()] = waiting;
    const { participantId } = slow;
    // As with a health check that takes so long: from the hint to the call.
    const checkMs = 2_500;
    await pause(checkMs);
    await lose(slow.provider, request(electionGroup, { participantId }));
    const hints = slow.watcher.hints();
    assert.equal(await holder.release(lease, soon()), "released");
    await slow.watcher.more(hints);
    for (const end = systemClock.monotonic() + checkMs; systemClock.monotonic() < end; await pause(100)) {
      await lose(eager.provider, request(electionGroup, { participantId: eager.participantId }));
    }
    await win(slow.provider, request(electionGroup, { participantId }));
    await leave(waiting);
  });

  test("elections whose health check takes long pass the lead on without anybody losing a place", async () => {
    const electionGroup = newGroup();
    await using holder = open();
    const lease = await win(holder, request(electionGroup));
    await using raw = openRaw(url);
    const elections: { readonly provider: Provider; readonly election: LeaderElection }[] = [];
    for (let i = 0; i < 3; i++) {
      const provider = open();
      const healthCheck = async () => (await pause(1_500), true);
      const election = new LeaderElection(provider, { electionGroup, participantId: `p${i}`, healthCheck });
      await election.start();
      await until("it has its place", async () => (await raw.nodes(electionGroup)).length === i + 2);
      elections.push({ provider, election });
    }
    const places = (await raw.nodes(electionGroup)).filter((name) => name.includes("-place-"));
    assert.equal(await holder.release(lease, soon()), "released");
    await until("somebody leads", () => elections.some(({ election }) => election.isLeader));
    assert.ok(elections[0]?.election.isLeader, "it is the first one's turn");
    assert.deepEqual((await raw.nodes(electionGroup)).sort(), places.sort(), "they are the nodes of before");
    for (const { election, provider } of elections.reverse()) {
      await election.stop();
      await provider[Symbol.asyncDispose]();
    }
  });

  test("a claim under way keeps its place, when news of the leader come in the middle of it", async () => {
    const port = Number(new URL(url.replace("zookeeper:", "http:")).port);
    await using proxy = await startProxy(port);
    await using holder = open();
    await using provider = zookeeperProvider({ url: `zookeeper://127.0.0.1:${proxy.port}/elections` });
    await using raw = openRaw(url);
    const lease = await win(holder, request(newGroup()));
    const { electionGroup } = lease;
    const [next = assert.fail()] = await waitInTurn(lease, 1);
    const [waiting = assert.fail()] = await waitInTurn(lease, 1, provider);
    const { participantId } = waiting;
    const places = await raw.nodes(electionGroup);
    let creations = 0;
    const held = Promise.withResolvers<void>();
    const reached = Promise.withResolvers<void>();
    proxy.onRequest = (type) => {
      if (type === CREATE) creations++;
      if (type !== GET_DATA) return;
      reached.resolve();
      return held.promise;
    };
    const claiming = lose(provider, request(electionGroup, { participantId }));
    await reached.promise;
    assert.equal(await holder.release(lease, soon()), "released");
    const lead = await win(next.provider, request(electionGroup, { participantId: next.participantId }));
    // The events have come by now, since they came to another connection.
    await pause(100);
    held.resolve();
    await claiming;
    await until("it knows", async () => {
      return (await lose(provider, request(electionGroup, { participantId }))).leader?.termId === lead.termId;
    });
    const hints = waiting.watcher.hints();
    assert.equal(creations, 0, "it has a place already");
    const own = inOrder(places).at(-1) ?? assert.fail();
    assert.ok((await raw.nodes(electionGroup)).includes(own));
    assert.equal(await next.provider.release(lead, soon()), "released");
    await waiting.watcher.more(hints);
    await win(provider, request(electionGroup, { participantId }));
    assert.equal(creations, 0);
    await leave([next, waiting]);
  });

  test("a place that somebody has deleted is taken anew", async () => {
    await using holder = open();
    await using raw = openRaw(url);
    const lease = await win(holder, request(newGroup()));
    const { electionGroup } = lease;
    const waiting = await waitInTurn(lease, 1);
    const [{ provider, participantId, watcher } = assert.fail()] = waiting;
    const place = (await raw.nodes(electionGroup)).find((name) => name.includes("-place-")) ?? assert.fail();
    await raw.call(protocol.remove(`${raw.path(electionGroup)}/${place}`));
    const hints = watcher.hints();
    assert.equal(await holder.release(lease, soon()), "released");
    await watcher.more(hints);
    await until(
      "it leads",
      async () => (await provider.acquire(request(electionGroup, { participantId }), soon())).acquired,
    );
    await leave(waiting);
  });

  test("watch() leaves no listener behind, however often the record changes and watches begin and end", async () => {
    await using leading = open();
    const lease = await win(leading, request(newGroup(), { metadata: { a: "-1" } }));
    const { electionGroup } = lease;
    const { servers, root } = parseTarget(url);
    const session = new LatchSession({
      ...{ servers, root, sessionTimeout: 16_500, clock: systemClock },
      ...{ onEnded() {}, onSlower() {}, onUnrecorded() {} },
    });
    const queue = new LatchQueue(systemClock);
    const watch = (participantId?: string) => {
      const stop = new AbortController();
      const hints = queue.watch(electionGroup, participantId, () => session, stop.signal)[Symbol.asyncIterator]();
      return { hints, stop };
    };
    const observer = watch();
    await observer.hints.next();
    for (let i = 0; i < 20; i++) {
      const more = observer.hints.next();
      assert.equal(await leading.renew(lease, { ...soon(), metadata: { a: `${i}` } }), "renewed");
      assert.equal((await more).done, false);
      assert.ok(session.client.listeners <= 2, `${session.client.listeners} after ${i} changes`);
    }
    for (const participantId of [undefined, "p", undefined, "p"]) {
      const { hints, stop } = watch(participantId);
      await hints.next();
      const end = hints.next();
      stop.abort();
      assert.ok((await end).done);
    }
    assert.ok(session.client.listeners <= 2);
    const end = observer.hints.next();
    observer.stop.abort();
    await end;
    assert.equal(session.client.listeners, 0);
    await session.close();
  });
}
