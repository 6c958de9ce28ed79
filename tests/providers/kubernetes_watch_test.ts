/** The watch of the Kubernetes provider: shared, resumed, begun again, and given up. */

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { parseKubernetesUrl } from "../../providers/kubernetes/target.ts";
import { ProviderError } from "../../src/errors.ts";
import { sleep, systemClock } from "../../src/time/clock.ts";
import { Proxy } from "../chaos/proxy.ts";
import { backend } from "../servers/backend.ts";
import { lose, request, soon, win } from "./asking.ts";
import { Hand, microTime, newGroup, Opened, type Post, Watch } from "./kubernetes/fixture.ts";
import { MovingClock } from "./standing_record.ts";
import { kubernetesProvider } from "../../providers/kubernetes.ts";
import { patience } from "../slowness.ts";
import { until } from "../until.ts";
import { checkIdle } from "./idle.ts";

const server = backend("kubernetes");
if (server !== null) testServer(server.url);

function testServer(url: string): void {
  const opened = new Opened(url);
  after(() => opened[Symbol.asyncDispose]());
  const hand = new Hand(opened.post(), parseKubernetesUrl(url).namespace ?? "");

  function openWith(post: Post) {
    return opened.open({ request: post.request });
  }
  const watchesOf = (post: Post) => post.sent.filter((sent) => sent.includes("watch=1"));

  test("one watch serves all groups of a provider, and while there is one group, shows that alone", async () => {
    const [post, leader] = [opened.post(), opened.open()];
    const follower = openWith(post);
    // So long that no stream is made again because nothing comes.
    const long = { heartbeatTimeout: 3_600_000 };
    const first = await win(leader, request(newGroup(), long));
    const watches = [new Watch(follower, first.electionGroup), new Watch(follower, first.electionGroup)];
    await until("both are live", () => watches.every(({ hints }) => hints > 0));
    assert.equal(watchesOf(post).length, 1);
    assert.match(watchesOf(post)[0] ?? "", new RegExp(`fieldSelector=metadata.name%3D${first.electionGroup}`));
    // Those that come later share one that shows all.
    const others = await Promise.all(
      Array.from({ length: 20 }, () => win(leader, request(newGroup(), long))),
    );
    watches.push(...others.map(({ electionGroup }) => new Watch(follower, electionGroup)));
    await until("all are live", () => watches.every(({ hints }) => hints > 0), 5_000);
    assert.equal(watchesOf(post).length, 2);
    assert.doesNotMatch(watchesOf(post)[1] ?? "", /fieldSelector/);
    await sleep(systemClock, 300);
    const before = watches.map(({ hints }) => hints);
    for (const lease of [first, ...others]) await leader.release(lease, soon());
    await until("every release is seen", () => watches.every(({ hints }, i) => hints > (before[i] ?? 0)));
    assert.equal(watchesOf(post).length, 2);
    await Promise.all(watches.map((watch) => watch.end()));
  });

  test("watch() hints at no heartbeat, but each tells acquire() that the holder lives", async () => {
    const [clock, post, leader] = [new MovingClock(), opened.post(), opened.open()];
    const follower = opened.open({ clock, request: post.request });
    const lease = await win(leader, request(newGroup(), { heartbeatTimeout: 60_000 }));
    const watch = new Watch(follower, lease.electionGroup);
    await until("it is live", () => watch.hints > 0);
    assert.ok(await follower.read(lease.electionGroup, soon()));
    await sleep(systemClock, 300);
    const before = watch.hints;
    for (let i = 0; i < 5; i++) {
      clock.moveOn(40_000);
      assert.equal(await leader.renew(lease, soon()), "renewed");
      await sleep(systemClock, 300);
    }
    assert.equal(watch.hints, before);
    // What it has read itself would have stood still for 200 s: then it would try to take it.
    post.sent.length = 0;
    await lose(follower, request(lease.electionGroup));
    assert.deepEqual(post.sent.map((sent) => sent.split(" ")[0]), ["GET"]);
    await watch.end();
  });

  test("a term that nobody renews is taken over in one round trip, after a lease from its last heartbeat", async () => {
    const [clock, post, leader] = [new MovingClock(), opened.post(), opened.open()];
    const follower = opened.open({ clock, request: post.request });
    const lease = await win(leader, request(newGroup(), { heartbeatTimeout: 60_000 }));
    const watch = new Watch(follower, lease.electionGroup);
    await until("it is live", () => watch.hints > 1);
    clock.moveOn(60_100);
    post.sent.length = 0;
    await win(follower, request(lease.electionGroup));
    assert.deepEqual(post.sent.map((sent) => sent.split(" ")[0]), ["PATCH"]);
    await watch.end();
  });

  test("a Lease that is deleted is a hint, and is made anew", async () => {
    const [post, leader] = [opened.post(), opened.open()];
    const follower = openWith(post);
    const lease = await win(leader, request(newGroup(), { heartbeatTimeout: 60_000 }));
    const watch = new Watch(follower, lease.electionGroup);
    await until("it is live", () => watch.hints > 1);
    const event = { type: "DELETED", object: await hand.get(lease.electionGroup) };
    await watch.end();
    // The user of the tests may not delete: as the server would tell it.
    post.answer = (sent) => sent.includes("watch=1") ? { status: 200, body: [`${JSON.stringify(event)}\n`] } : null;
    const again = new Watch(follower, lease.electionGroup);
    await until("the deletion is seen", () => again.hints > 0);
    await until("it is known", async () => {
      post.sent.length = 0;
      await follower.acquire(request(lease.electionGroup), soon());
      return post.sent[0]?.startsWith("POST ") === true;
    });
    await again.end();
  });

  test("a watch whose version is too old begins with what there is, and has everybody look", async () => {
    for (const how of ["event", "status"] as const) {
      const [post, leader] = [opened.post(), opened.open()];
      const follower = openWith(post);
      const lease = await win(leader, request(newGroup(), { heartbeatTimeout: 60_000 }));
      let answers = 0;
      const error = { kind: "Status", code: 410, reason: "Expired", message: "too old resource version: 1 (2)" };
      const object = await hand.get(lease.electionGroup);
      post.answer = (sent) => {
        if (!sent.includes("watch=1") || answers++ > 1) return null;
        // The first ends in order when it has shown something; the next is told that this is too old.
        if (answers === 1) return { status: 200, body: [`${JSON.stringify({ type: "ADDED", object })}\n`] };
        if (how === "status") return { status: 410, body: JSON.stringify(error) };
        return { status: 200, body: [`${JSON.stringify({ type: "ERROR", object: error })}\n`] };
      };
      const watch = new Watch(follower, lease.electionGroup);
      await until("it is live, and has shown what there is", () => watch.hints === 2);
      const other = new Watch(follower, newGroup());
      await until("it has begun again", () => watchesOf(post).length === 3);
      await until("the other is live too", () => other.hints > 0);
      await until("the first looks again: it may have missed something", () => watch.hints === 3);
      assert.match(watchesOf(post)[1] ?? "", /resourceVersion=/);
      assert.doesNotMatch(watchesOf(post)[2] ?? "", /resourceVersion=/);
      const before = watch.hints;
      await leader.release(lease, soon());
      await until("the release is seen", () => watch.hints > before);
      assert.equal(watch.failure, null);
      await Promise.all([watch.end(), other.end()]);
    }
  });

  test("a server that calls everything too old is not asked again and again", async () => {
    const post = opened.post();
    const error = { kind: "Status", code: 410, reason: "Expired", message: "too old" };
    post.answer = (sent) => sent.includes("watch=1") ? { status: 410, body: JSON.stringify(error) } : null;
    const watch = new Watch(openWith(post), newGroup());
    await until("it is broken", () => watch.failure !== null);
    assert.equal(watchesOf(post).length, 1);
    await watch.end();
  });

  test("a watch that the server ends goes on from the version that it has shown", async () => {
    const [post, leader] = [opened.post(), opened.open()];
    const lease = await win(leader, request(newGroup(), { heartbeatTimeout: 3_600_000 }));
    // The server keeps it for two seconds only.
    const short = (path: string) => path.replace(/timeoutSeconds=\d+/, "timeoutSeconds=2");
    const follower = opened.open({ request: (path, init) => post.request(short(path), init) });
    const watch = new Watch(follower, lease.electionGroup);
    await until("it is live", () => watch.hints > 1);
    await until("it has gone on", () => watchesOf(post).length >= 3);
    assert.match(watchesOf(post)[1] ?? "", /resourceVersion=\d+/);
    assert.equal(watch.hints, 2, "nothing was missed");
    await leader.release(lease, soon());
    await until("the release is seen", () => watch.hints > 2);
    assert.equal(watch.failure, null);
    await watch.end();
  });

  test("a watch that is ended at once is broken, and not made again and again", async () => {
    const post = opened.post();
    post.answer = (sent) => sent.includes("watch=1") ? { status: 200, body: "" } : null;
    const watch = new Watch(openWith(post), newGroup());
    await until("it is broken", () => watch.failure !== null);
    assert.ok(watch.failure instanceof ProviderError && /at once/.test(watch.failure.message));
    assert.equal(watchesOf(post).length, 1);
    await watch.end();
  });

  test("a watch that the server breaks off with an error breaks for everybody, and can be had again", async () => {
    const post = opened.post();
    const error = { type: "ERROR", object: { code: 500, message: "etcd is gone" } };
    let isBroken = true;
    post.answer = (sent) => {
      return isBroken && sent.includes("watch=1") ? { status: 200, body: [`${JSON.stringify(error)}\n`] } : null;
    };
    const follower = openWith(post);
    const watches = [newGroup(), newGroup()].map((group) => new Watch(follower, group));
    await until("both are broken", () => watches.every(({ failure }) => /etcd is gone/.test(String(failure))));
    await Promise.all(watches.map((watch) => watch.end()));
    isBroken = false;
    const again = new Watch(follower, newGroup());
    await until("it is live", () => again.hints > 0);
    await again.end();
  });

  test("what a watch shows may come in pieces, cut in the middle of a character", async () => {
    const [post, clock] = [opened.post(), new MovingClock()];
    const electionGroup = newGroup();
    const spec = { holderIdentity: "zw\u00f6lf", leaseDurationSeconds: 60, renewTime: microTime() };
    const object = await hand.create(electionGroup, { spec });
    const bytes = new TextEncoder().encode(`${JSON.stringify({ type: "ADDED", object })}\n`);
    const cut = bytes.indexOf(0xc3) + 1;
    post.answer = (sent) => {
      return sent.includes("watch=1") ? { status: 200, body: [bytes.subarray(0, cut), bytes.subarray(cut)] } : null;
    };
    const follower = opened.open({ request: post.request, clock });
    const watch = new Watch(follower, electionGroup);
    await until("it has been shown", () => watch.hints === 2);
    clock.moveOn(50_000);
    const seen = await follower.read(electionGroup, soon());
    assert.ok(seen?.expiresIn && seen.expiresIn < 11_000, "it is the same as it was then");
    await watch.end();
  });

  test("what a watch shows may be older than what is known", async () => {
    const [post, leader] = [opened.post(), opened.open()];
    const follower = openWith(post);
    const name = newGroup();
    const old = await hand.create(name, { spec: {} });
    const lease = await win(leader, request(name, { heartbeatTimeout: 60_000 }));
    assert.equal((await follower.read(name, soon()))?.termId, lease.termId);
    const newest = await hand.get(name);
    const body = [newest, old].map((object) => `${JSON.stringify({ type: "MODIFIED", object })}\n`);
    post.answer = (sent) => sent.includes("watch=1") ? { status: 200, body } : null;
    const watch = new Watch(follower, name);
    await until("it has shown both", () => watch.hints === 2);
    await sleep(systemClock, 300);
    // In the old state it was free: then it would try to take it.
    post.sent.length = 0;
    await lose(follower, request(name));
    assert.deepEqual(post.sent.map((sent) => sent.split(" ")[0]), ["GET"]);
    await watch.end();
  });

  test("watch() notices that its connection is dead, within a lease of whoever leads", async () => {
    const [leader, address] = [opened.open(), new URL(parseKubernetesUrl(url).origin).host];
    const lease = await win(leader, request(newGroup(), { heartbeatTimeout: 4_000 }));
    const proxy = await Proxy.start(address);
    const follower = opened.open({ url: url.replace(address, proxy.address) });
    const watch = new Watch(follower, lease.electionGroup);
    await until("it is live", () => watch.hints > 1);
    proxy.mode = "blackhole";
    await until("it is noticed", () => watch.failure !== null, 6_000).finally(() => proxy.close());
    assert.match(String(watch.failure), /the API server does not answer/);
    await watch.end();
  });

  test("those who wait are told who leads, and of heartbeats where the lease is short", async () => {
    const [leader, follower] = [opened.open(), opened.open()];
    const first = await win(leader, request(newGroup(), { heartbeatTimeout: 3_000 }));
    const { electionGroup } = first;
    const watch = new Watch(follower, electionGroup);
    await until("it is live", () => watch.hints > 0);
    await until("a heartbeat is told", async () => {
      await leader.renew(first, soon());
      return watch.last?.renewed?.termId === first.termId;
    });
    await leader.release(first, soon());
    const next = await win(leader, request(electionGroup, { heartbeatTimeout: 60_000, metadata: { a: "1" } }));
    await until("the next is told", () => watch.last?.leader?.termId === next.termId);
    const seen = await follower.read(electionGroup, soon());
    assert.deepEqual({ ...watch.last?.leader, expiresIn: 0 }, { ...seen, expiresIn: 0 });
    await watch.end();
    await leader.release(next, soon());
  });

  test(
    "a follower costs 12 requests a minute, a leader 60, with a lease of 3 s",
    { timeout: patience(60_000) },
    () => checkIdle(url, (url) => kubernetesProvider({ url })),
  );

  test("a leader that has died breaks no watch: it is made again, and goes on", async () => {
    const [post, leader] = [opened.post(), opened.open()];
    const lease = await win(leader, request(newGroup(), { heartbeatTimeout: 2_000 }));
    const follower = openWith(post);
    const watch = new Watch(follower, lease.electionGroup);
    await until("it is made again", () => watchesOf(post).length >= 3);
    assert.equal(watch.failure, null);
    const before = watch.hints;
    await leader.release(lease, soon());
    await until("the release is seen", () => watch.hints > before);
    await watch.end();
  });

  test("a holder of another program is followed: when it changes, and when it gives back", async () => {
    const electionGroup = newGroup();
    const spec = { leaseDurationSeconds: 60, acquireTime: microTime(), renewTime: microTime() };
    await hand.create(electionGroup, { spec: { ...spec, holderIdentity: "one" } });
    const watch = new Watch(opened.open(), electionGroup);
    await until("it is live", () => watch.hints > 1);
    await hand.patch(electionGroup, { spec: { renewTime: microTime(Date.now() + 1) } });
    await sleep(systemClock, 300);
    assert.equal(watch.hints, 2);
    await hand.patch(electionGroup, { spec: { holderIdentity: "two", leaseTransitions: 1 } });
    await until("the next one is seen", () => watch.hints === 3);
    await hand.patch(electionGroup, { spec: { holderIdentity: "" } });
    await until("it is given back", () => watch.hints === 4);
    await watch.end();
  });
}
