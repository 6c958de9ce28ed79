/** Watches over etcd: one for all groups, that misses nothing and notices when nobody is there. */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Provider } from "../../src/provider.ts";
import { ProviderError } from "../../src/errors.ts";
import { type Clock, sleep, systemClock } from "../../src/time/clock.ts";
import { backend } from "../servers/backend.ts";
import { patience } from "../slowness.ts";
import { etcdProvider } from "../../providers/etcd.ts";
import { Proxy } from "../chaos/proxy.ts";
import { request, soon, win } from "./asking.ts";
import { checkIdle } from "./idle.ts";
import { ask, Gateway, newGroup, Opened } from "./etcd/support.ts";
import { until } from "../until.ts";

const server = backend("etcd");
if (server !== null) testWatches(server.url);

/** A clock by which a stream is listened to for five seconds instead of five minutes. */
const HURRIED: Clock = {
  ...{ monotonic: systemClock.monotonic, wall: systemClock.wall },
  setTimer: (callback, ms) => systemClock.setTimer(callback, ms < 60_000 ? ms : ms / 60),
};

/** A watch that goes on until it is ended, and its hints. */
class Watch {
  hints = 0;
  readonly done: Promise<void>;
  readonly #stop = new AbortController();

  constructor(provider: Provider, electionGroup: string, onHint = () => {}) {
    this.done = (async () => {
      for await (const _ of provider.watch?.(electionGroup, { signal: this.#stop.signal }) ?? []) {
        this.hints++;
        onHint();
      }
    })();
    this.done.catch(() => {});
  }

  live = () => until("the watch is live", () => this.hints > 0);

  async end(): Promise<void> {
    this.#stop.abort();
    await this.done;
  }
}

function testWatches(url: string): void {
  test("watch() of any number of groups takes one stream, and tells each of its own", async () => {
    await using opened = new Opened(url);
    await using gateway = await Gateway.to(url);
    const [follower, leader] = [opened.open({ url: gateway.url }), opened.open()];
    const groups = [newGroup(), newGroup(), newGroup()];
    const watches = groups.map((group) => new Watch(follower, group));
    await Promise.all(watches.map((watch) => watch.live()));
    assert.equal(gateway.count("watch"), 1);
    const seen = watches.map(({ hints }) => hints);
    const lease = await win(leader, request(groups[1] ?? ""));
    await until("its leader is told", () => (watches[1]?.hints ?? 0) > (seen[1] ?? 0));
    // Others see metadata when they look; it is no reason to. What comes behind it in the stream says that it came.
    await leader.renew(lease, { ...soon(), metadata: { a: "1" } });
    await win(leader, request(groups[0] ?? ""));
    await until("another's leader is told", () => (watches[0]?.hints ?? 0) > (seen[0] ?? 0));
    assert.equal(watches[1]?.hints, (seen[1] ?? 0) + 1);
    await leader.release(lease, soon());
    await until("its end is told", () => watches[1]?.hints === (seen[1] ?? 0) + 2);
    assert.deepEqual([watches[0]?.hints, watches[2]?.hints], [(seen[0] ?? 0) + 1, seen[2]]);
    await Promise.all(watches.map((watch) => watch.end()));
  });

  test("watch() tells of a leader that has crashed", async () => {
    await using opened = new Opened(url);
    const leader = opened.open();
    const lease = await win(leader, request(newGroup(), { heartbeatTimeout: 2_000 }));
    const watch = new Watch(opened.open(), lease.electionGroup);
    await watch.live();
    const seen = watch.hints;
    await leader[Symbol.asyncDispose]();
    await until("its end is told", () => watch.hints > seen);
    await watch.end();
  });

  test("watch() goes on in another stream from where it was, also where the cluster has forgotten that", async () => {
    await using opened = new Opened(url);
    await using gateway = await Gateway.to(url);
    const [leader, follower] = [opened.open(), opened.open({ url: gateway.url, clock: HURRIED })];
    const lease = await win(leader, request(newGroup(), { heartbeatTimeout: 120_000 }));
    const streams = () => gateway.sent.filter(({ path }) => path === "watch");
    const goesOnFromNow = () => streams().slice(1).some(({ body }) => !body.includes("start_revision"));
    let isHeard = false;
    const watch = new Watch(follower, lease.electionGroup, () => isHeard = goesOnFromNow());
    await watch.live();
    const first = watch.hints;
    await until("the next stream follows", () => streams().length > 1);
    assert.match(streams()[1]?.body ?? "", /"start_revision":"\d+"/);
    assert.equal(watch.hints, first, "nothing has happened");
    // There is a gap, in which anything may have happened. More than once: a stream may just be about to begin.
    await until("the gap is a hint", async () => {
      await ask(url, "kv/put", { key: btoa("elsewhere") });
      const { header } = await ask<{ header: { revision: string } }>(url, "kv/put", { key: btoa("elsewhere") });
      await ask(url, "kv/compaction", { revision: header.revision, physical: true });
      await sleep(systemClock, 1_000);
      return watch.hints > first;
    });
    assert.ok(isHeard, "what follows the gap is heard when the gap is told");
    const seen = watch.hints;
    await leader.release(lease, soon());
    await until("the release is told", () => watch.hints > seen);
    await watch.end();
  });

  test("watch() breaks, when a look sees what it has not told of", async () => {
    await using opened = new Opened(url);
    const proxy = await Proxy.start(url.replace("etcd://", ""));
    const [leader, follower] = [opened.open(), opened.open({ url: `etcd://${proxy.address}` })];
    const asked = request(newGroup(), { heartbeatTimeout: 60_000 });
    const watch = new Watch(follower, asked.electionGroup);
    await watch.live();
    let why: unknown;
    watch.done.catch((error) => why = error);
    // The connection of the watch hears nothing any more; calls make connections of their own.
    proxy.deafen();
    const lease = await win(leader, asked);
    try {
      const lost = () => follower.acquire({ ...asked, termId: crypto.randomUUID() }, soon());
      assert.equal((await lost()).acquired, false);
      await until("it is noticed", () => why !== undefined);
      assert.match(String(why), /has not told of what a look has seen/);
    } finally {
      proxy.close();
      await leader.release(lease, soon());
    }
  });

  test(
    "a follower costs 12 requests a minute, a leader 120, with a lease of 3 s",
    { timeout: patience(60_000) },
    () => checkIdle(url, (url) => etcdProvider({ url }), { leader: 120 }),
  );

  test("watch() breaks, when the member that is watched hangs", async () => {
    if (server?.faults.freeze === undefined || server.faults.thaw === undefined) return;
    await using opened = new Opened(url);
    const watch = new Watch(opened.open({ clock: HURRIED }), newGroup());
    await watch.live();
    await server.faults.freeze();
    let why: unknown;
    watch.done.catch((error) => why = error);
    try {
      await until("it is noticed", () => why !== undefined, 25_000);
    } finally {
      await server.faults.thaw();
    }
    assert.ok(why instanceof ProviderError);
    assert.match(why.message, /begun no watch/);
  });
}
