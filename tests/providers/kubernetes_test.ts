/** The Kubernetes provider against a real API server. */

import assert from "node:assert/strict";
import { after, test } from "node:test";
import { type KubernetesOptions, kubernetesProvider } from "../../providers/kubernetes.ts";
import { groupOf, nameOf } from "../../providers/kubernetes/names.ts";
import { parseKubernetesUrl } from "../../providers/kubernetes/target.ts";
import { ProviderError } from "../../src/errors.ts";
import { systemClock } from "../../src/time/clock.ts";
import { conformanceCases } from "../../testing/conformance.ts";
import { backend, detourTo } from "../servers/backend.ts";
import { lose, request, soon, win } from "./asking.ts";
import { Hand, microTime, newGroup, Opened, Watch } from "./kubernetes/fixture.ts";
import { MovingClock, type StandingRecordTarget, standoff, testStandingRecord } from "./standing_record.ts";
import { until } from "../until.ts";

test("kubernetesProvider() reads host, port, namespace and files from its URL", () => {
  const none = { tokenFile: null, tls: {} };
  assert.deepEqual(parseKubernetesUrl("k8s://h"), { origin: "https://h:6443", namespace: "default", ...none });
  assert.deepEqual(parseKubernetesUrl("K8S://h:443/jobs/"), { origin: "https://h:443", namespace: "jobs", ...none });
  assert.deepEqual(parseKubernetesUrl("k8s://[::1]:1/a?ca=/c&token=/t&servername=s"), {
    ...{ origin: "https://[::1]:1", namespace: "a", tokenFile: "/t", tls: { ca: "/c", servername: "s" } },
  });
  assert.deepEqual(parseKubernetesUrl("k8s+http://127.0.0.1:80/a"), {
    ...{ origin: "http://127.0.0.1:80", namespace: "a", tokenFile: null, tls: null },
  });
  assert.equal(parseKubernetesUrl("k8s+http://h").origin, "http://h:8001");
});

test("kubernetesProvider() takes address, account and namespace from the pod", () => {
  const directory = "/var/run/secrets/kubernetes.io/serviceaccount";
  const pod = { KUBERNETES_SERVICE_HOST: "10.0.0.1", KUBERNETES_SERVICE_PORT: "443" };
  const [tokenFile, tls] = [`${directory}/token`, { ca: `${directory}/ca.crt` }];
  assert.deepEqual(parseKubernetesUrl("k8s:///", pod), {
    ...{ origin: "https://10.0.0.1:443", namespace: null, tokenFile, tls },
  });
  assert.equal(parseKubernetesUrl("k8s:///jobs", pod).namespace, "jobs");
  assert.equal(
    parseKubernetesUrl("k8s:///", { ...pod, KUBERNETES_SERVICE_HOST: "fd00::1" }).origin,
    "https://[fd00::1]:443",
  );
  assert.equal(parseKubernetesUrl("k8s:///?token=/mine", pod).tokenFile, "/mine");
  assert.throws(() => parseKubernetesUrl("k8s:///", {}), /KUBERNETES_SERVICE_HOST.*this is no pod/);
});

test("kubernetesProvider() refuses what is not usable, and tells no token", () => {
  const bad: readonly [KubernetesOptions, RegExp][] = [
    [{ url: "https://h" }, /k8s:\/\//],
    [{ url: "k8s://h?tokn=hush-hush" }, /setting "tokn".*"token"/],
    [{ url: "k8s://h?token=eyJhdXNo.hush-hush" }, /token must name a file/],
    [{ url: "k8s://h?ca=a&ca=b" }, /"ca".*twice/],
    [{ url: "k8s://h?cert=a.pem" }, /cert and key/],
    [{ url: "k8s://user:hush-hush@h" }, /users and passwords/],
    [{ url: "k8s://h/a/b" }, /path is no name of a namespace/],
    [{ url: "k8s://h/UPPER" }, /is no name/],
    [{ url: "k8s://h/a#b" }, /%23/],
    [{ url: "k8s+http://h?token=/hush-hush" }, /"token" needs k8s:/],
    [{ url: "k8s+http:///a" }, /must name a host/],
    [{ url: "k8s://h/a", request: () => Promise.reject(new Error()) }, /k8s:\/\/\/NAMESPACE/],
    [{ urls: "k8s://h" } as KubernetesOptions, /option "urls".*"url"/],
    ["k8s://h" as KubernetesOptions, /options must be an object/],
  ];
  for (const [options, why] of bad) {
    assert.throws(() => kubernetesProvider(options), (error) => {
      assert.ok(error instanceof TypeError && !error.message.includes("hush-hush@"), String(error));
      assert.match(error.message, why);
      return true;
    });
  }
});

test("a group keeps its name where a Lease may have it, and no two have the same", () => {
  const kept = ["a", "0", "report.daily-2", "a".repeat(253), "multilock-x"];
  for (const group of kept) assert.equal(nameOf(group), group);
  const others = ["A", "a_b", "-a", "a-", ".", "..", "a..b", "a.-b", "a".repeat(254), "A".repeat(255), "_", "a-b-"];
  const written = others.map(nameOf);
  // A group that looks like what was made of another one is written in another way itself.
  written.push(...written.map(nameOf), nameOf(`x-${nameOf("_")}`));
  assert.equal(new Set(written).size, written.length);
  for (const name of written) {
    assert.match(name, /^[a-z0-9]([-a-z0-9]*[a-z0-9])?$/);
    assert.ok(name.length <= 253);
  }
  assert.match(nameOf("Report_Daily"), /^report-daily-multilock-[0-9a-f]{40}$/);
  assert.equal(groupOf(nameOf("A"), { "multilock/group": "A" }), "A");
  assert.equal(groupOf("plain", {}), "plain");
  assert.equal(groupOf("plain", { "multilock/group": "other" }), null);
  assert.equal(groupOf(nameOf("A"), {}), null);
});

const server = backend("kubernetes");
if (server !== null) {
  const { url, faults } = server;
  // One after the other, since some kill the server.
  for (
    const { name, run } of conformanceCases({
      name: "kubernetes",
      open: ({ clock } = {}) => kubernetesProvider({ url, ...(clock && { clock }) }),
      faults,
      ...detourTo("kubernetes", (detour) => kubernetesProvider({ url: detour })),
    })
  ) {
    test(name, run);
  }
  testServer(url);
}

function testServer(url: string): void {
  const opened = new Opened(url);
  after(() => opened[Symbol.asyncDispose]());
  const hand = new Hand(opened.post(), parseKubernetesUrl(url).namespace ?? "");

  const target: StandingRecordTarget = {
    open(clock) {
      const post = opened.post();
      return { post, provider: opened.open({ request: post.request, ...(clock && { clock }) }) };
    },
    writes: { renew: "PATCH ", takeOver: "PATCH ", release: "PATCH " },
  };
  testStandingRecord(target);

  /** Fills the annotations of a Lease as far as the server lets it. */
  async function fill(electionGroup: string): Promise<void> {
    const { metadata } = await hand.get(electionGroup);
    const { others = "", ...rest } = metadata.annotations;
    const used = Object.entries({ others: "", ...rest }).reduce((sum, each) => sum + each.join("").length, 0);
    assert.ok(others.length > 0 && used > 0);
    await hand.patch(electionGroup, { metadata: { annotations: { others: "x".repeat(256 * 1_024 - used) } } });
  }

  test("acquire() that arrives late finds a Lease that others have made since", async () => {
    const post = opened.post();
    const [slow, other] = [opened.open({ request: post.request }), opened.open()];
    const late = post.hold("POST ");
    const wanted = request(newGroup());
    const acquire = slow.acquire(wanted, soon());
    await late.arrived;
    const lease = await win(other, request(wanted.electionGroup));
    late.letGo();
    const answer = await acquire;
    assert.ok(!answer.acquired);
    assert.equal(answer.leader?.termId, lease.termId);
    assert.equal(await other.renew(lease, soon()), "renewed");
  });

  test("what others write into a Lease does not prolong the lease of a dead holder", async () => {
    const { rival, lease, wanted } = await standoff(target);
    await hand.patch(lease.electionGroup, { metadata: { labels: { touched: "1" } } });
    const next = await win(rival.provider, wanted);
    const { metadata } = await hand.get(lease.electionGroup) as { metadata: { labels?: Record<string, string> } };
    assert.equal(metadata.labels?.touched, "1", "it stays");
    assert.ok(next.token > lease.token);
  });

  test("the token stays what the leader was told, when others write before its first heartbeat", async () => {
    const leader = opened.open();
    const asked = request(newGroup());
    const lease = await win(leader, asked);
    const { metadata } = await hand.patch(lease.electionGroup, { metadata: { labels: { touched: "1" } } });
    assert.ok(BigInt(metadata.resourceVersion) > lease.token);
    assert.equal((await leader.read(lease.electionGroup, soon()))?.token, lease.token);
    assert.equal((await win(leader, asked)).token, lease.token, "also when it asks again");
    await hand.patch(lease.electionGroup, { metadata: { labels: { touched: "2" } } });
    assert.equal(await leader.renew(lease, soon()), "renewed");
    assert.equal((await opened.open().read(lease.electionGroup, soon()))?.token, lease.token);
  });

  test("a term that has expired and asks again gets the version of its second write, everywhere the same", async () => {
    const clock = new MovingClock();
    const [provider, other] = [opened.open({ clock }), opened.open()];
    const asked = request(newGroup());
    const first = await win(provider, asked);
    assert.equal((await other.read(asked.electionGroup, soon()))?.token, first.token);
    // Its version is not the next one by chance.
    await win(provider, request(newGroup()));
    clock.moveOn(asked.heartbeatTimeout * 1.001);
    const second = await win(provider, asked);
    assert.equal(second.token, BigInt((await hand.get(asked.electionGroup)).metadata.resourceVersion));
    const isEverywhere = async () => {
      for (const each of [provider, other, opened.open()]) {
        assert.equal((await each.read(asked.electionGroup, soon()))?.token, second.token);
      }
    };
    await isEverywhere();
    // A late heartbeat of what it had before brings the old token, which no record may get back.
    assert.equal(await other.renew(first, soon()), "renewed");
    await isEverywhere();
  });

  test("the token is the version of the acquiring write, and every heartbeat changes the spec", async () => {
    // client-go's electors look at the spec alone, and a clock may stand still.
    const provider = opened.open({ clock: { ...systemClock, wall: () => 1_767_225_600_000 } });
    const lease = await win(provider, request(newGroup(), { heartbeatTimeout: 10_500 }));
    const first = await hand.get(lease.electionGroup);
    assert.equal(lease.token, BigInt(first.metadata.resourceVersion));
    assert.equal(first.spec.holderIdentity, lease.participantId);
    assert.equal(first.spec.leaseDurationSeconds, 11, "rounded up");
    assert.equal(first.spec.leaseTransitions, 0);
    const times = new Set([first.spec.renewTime]);
    for (let i = 0; i < 3; i++) {
      assert.equal(await provider.renew(lease, soon()), "renewed");
      times.add((await hand.get(lease.electionGroup)).spec.renewTime);
    }
    assert.equal(times.size, 4);
    assert.equal((await provider.read(lease.electionGroup, soon()))?.token, lease.token);
    await provider.release(lease, soon());
    const { spec } = await hand.get(lease.electionGroup);
    assert.equal(spec.holderIdentity || "", "", "client-go takes it at once");
    assert.equal(spec.leaseDurationSeconds, 1);
    await win(provider, request(lease.electionGroup));
    assert.equal((await hand.get(lease.electionGroup)).spec.leaseTransitions, 1);
  });

  test("the token grows, when a cluster was set up anew around an old Lease", async () => {
    const provider = opened.open();
    const lease = await win(provider, request(newGroup()));
    assert.equal(await provider.renew(lease, soon()), "renewed");
    const { metadata } = await hand.get(lease.electionGroup);
    // As if the versions of the old cluster had been much higher.
    const old = 10n ** 15n;
    const term = (metadata.annotations["multilock/term"] ?? "").replace(`"${lease.token}"`, `"${old}"`);
    await hand.patch(lease.electionGroup, { metadata: { annotations: { "multilock/term": term } } });
    const fresh = opened.open();
    assert.equal((await fresh.read(lease.electionGroup, soon()))?.token, old);
    assert.equal(await fresh.release(lease, soon()), "released");
    const next = await win(fresh, request(lease.electionGroup));
    assert.equal(next.token, old + 1n);
    // Also where it had no time to be given back, and another program led in between.
    await hand.patch(lease.electionGroup, { spec: { holderIdentity: "", renewTime: microTime() } });
    assert.ok((await win(opened.open(), request(lease.electionGroup))).token > next.token);
  });

  test("acquire(), renew(), release() and read() make one round trip each, and one more for a first look", async () => {
    const [post, otherPost] = [opened.post(), opened.post()];
    const [leader, other] = [opened.open({ request: post.request }), opened.open({ request: otherPost.request })];
    const wanted = request(newGroup());
    const sentBy = async (each: typeof post, work: () => Promise<unknown>) => {
      each.sent.length = 0;
      await work();
      return each.sent.map((sent) => sent.split(" ")[0]);
    };
    assert.deepEqual(await sentBy(post, () => win(leader, wanted)), ["GET", "POST"]);
    const lease = await win(leader, wanted);
    assert.deepEqual(await sentBy(otherPost, () => lose(other, request(wanted.electionGroup))), ["GET"]);
    assert.deepEqual(await sentBy(post, () => leader.renew(lease, soon())), ["PATCH"]);
    assert.deepEqual(await sentBy(otherPost, () => other.read(wanted.electionGroup, soon())), ["GET"]);
    const watch = new Watch(other, wanted.electionGroup);
    await until("it is live", () => watch.hints > 0);
    const seen = watch.hints;
    assert.deepEqual(await sentBy(post, () => leader.release(lease, soon())), ["PATCH"]);
    await until("the release is seen", () => watch.hints > seen);
    assert.deepEqual(await sentBy(otherPost, () => win(other, request(wanted.electionGroup))), ["PATCH"]);
    await watch.end();
    assert.equal(
      otherPost.sent.filter((sent) => !sent.startsWith("GET ")).length,
      1,
      "waiting and losing write nothing",
    );
  });

  test("a holder of another program is left to its lease, and a stale annotation tells nothing", async () => {
    const clock = new MovingClock();
    const provider = opened.open({ clock });
    const lease = await win(provider, request(newGroup(), { metadata: { stale: "yes" } }));
    const { electionGroup } = lease;
    // As client-go takes over: it writes a spec of its own, and keeps the annotations.
    const time = microTime();
    const spec = { holderIdentity: "other", leaseDurationSeconds: 60, acquireTime: time, renewTime: time };
    await hand.patch(electionGroup, { spec: { ...spec, leaseTransitions: 1 } });
    assert.equal(await provider.renew(lease, soon()), "lost");
    assert.equal(await provider.release(lease, soon()), "notHolder");
    const read = async () => await provider.read(electionGroup, soon());
    const seen = await read();
    assert.ok(seen !== null && seen.leaderId === "other" && seen.token > lease.token);
    assert.deepEqual(seen.metadata, {});
    assert.ok((seen.expiresIn ?? 0) > 50_000, "its lease counts, not ours");
    assert.equal(await provider.release({ electionGroup, termId: seen.termId }, soon()), "notHolder");
    // Its heartbeats keep it, and keep its term.
    clock.moveOn(50_000);
    await hand.patch(electionGroup, { spec: { renewTime: microTime(Date.now() + 1) } });
    assert.equal((await read())?.token, seen.token);
    assert.equal((await read())?.termId, seen.termId);
    clock.moveOn(50_000);
    await lose(provider, request(electionGroup));
    clock.moveOn(10_100);
    const next = await win(provider, request(electionGroup));
    assert.ok(next.token > seen.token);
    assert.equal((await hand.get(electionGroup)).spec.leaseTransitions, 2);
  });

  test("a holder of another program has at least the lease that is asked for, also where it names none", async () => {
    const clock = new MovingClock();
    const provider = opened.open({ clock });
    for (const spec of [{}, { leaseDurationSeconds: 1 }]) {
      const electionGroup = newGroup();
      await hand.create(electionGroup, { spec: { holderIdentity: "other", ...spec } });
      const wanted = request(electionGroup, { heartbeatTimeout: 30_000 });
      await lose(provider, wanted);
      clock.moveOn(29_000);
      await lose(provider, wanted);
      clock.moveOn(1_100);
      await win(provider, wanted);
    }
  });

  test("a Lease that nobody holds, or that was never held, is free", async () => {
    const provider = opened.open();
    for (const spec of [{}, { holderIdentity: "" }, { holderIdentity: "", leaseDurationSeconds: 60 }]) {
      const electionGroup = newGroup();
      await hand.create(electionGroup, { spec });
      assert.equal(await provider.read(electionGroup, soon()), null);
      await win(provider, request(electionGroup));
    }
  });

  test("garbage in the annotations of a Lease does not matter", async () => {
    const provider = opened.open();
    const renewTime = microTime();
    const whole = { termId: "t", after: "1", heartbeatTimeout: 1, beat: 0, holder: "other", renewTime };
    const garbage = ["", "{", "null", "7", "{}", '{"after":"x"}', JSON.stringify({ ...whole, termId: 7 })];
    for (
      const each of [...garbage, JSON.stringify({ ...whole, renewTime: "1" }), JSON.stringify({ ...whole, token: 1 })]
    ) {
      const electionGroup = newGroup();
      const annotations = { "multilock/term": each, "multilock/metadata": each };
      await hand.create(electionGroup, { metadata: { annotations }, spec: { holderIdentity: "other", renewTime } });
      const seen = await provider.read(electionGroup, soon());
      assert.equal(seen?.leaderId, "other", each);
      assert.notEqual(seen?.termId, "t", each);
      await hand.patch(electionGroup, { spec: { holderIdentity: null } });
      await win(provider, request(electionGroup));
    }
  });

  test("a Lease that says that it is another group's is an error, and stays as it is", async () => {
    const provider = opened.open();
    const electionGroup = newGroup();
    await hand.create(electionGroup, { metadata: { annotations: { "multilock/group": "other" } }, spec: {} });
    await assert.rejects(provider.acquire(request(electionGroup), soon()), (error) => {
      assert.ok(error instanceof ProviderError && error.permanent);
      assert.match(error.message, /another group's/);
      return true;
    });
    assert.equal((await hand.get(electionGroup)).spec.holderIdentity, undefined);
  });

  test("renew() finds the version that a lost answer told", async () => {
    const post = opened.post();
    const provider = opened.open({ request: post.request });
    const lease = await win(provider, request(newGroup()));
    post.loses = (sent) => sent.startsWith("PATCH ");
    await assert.rejects(provider.renew(lease, soon()), ProviderError);
    post.loses = () => false;
    post.sent.length = 0;
    assert.equal(await provider.renew(lease, soon()), "renewed");
    assert.deepEqual(post.sent.map((sent) => sent.split(" ")[0]), ["PATCH", "GET", "PATCH"]);
  });

  test("a server that does a write twice, and refuses the second, takes no call for undone", async () => {
    const post = opened.post();
    const provider = opened.open({ request: post.request });
    const electionGroup = newGroup();
    const first = () => {
      let count = 0;
      post.disowns = (sent) => /^(POST|PATCH) /.test(sent) && count++ === 0;
    };
    first();
    const lease = await win(provider, request(electionGroup));
    first();
    assert.equal(await provider.renew(lease, soon()), "renewed");
    first();
    assert.equal(await provider.release(lease, soon()), "released");
    post.disowns = () => false;
    assert.equal(await provider.release(lease, soon()), "notHolder", "a release is told by its own name alone");
    assert.ok((await win(provider, request(electionGroup))).token > lease.token);
  });

  test("metadata for which others have left no room costs no lease, and is told", async () => {
    const warnings: string[] = [];
    const quiet = () => {};
    const logger = { debug: quiet, info: quiet, warn: (message: string) => void warnings.push(message) };
    const provider = opened.open({ logger });
    const small = { role: "small" };
    const lease = await win(provider, request(newGroup(), { metadata: small }));
    // The annotations of an object are 256 KiB at most, together.
    await hand.patch(lease.electionGroup, { metadata: { annotations: { others: "x".repeat(250 * 1_024) } } });
    const large = { large: "y".repeat(4_000), more: "z".repeat(4_000) };
    assert.equal(await provider.renew(lease, { ...soon(), metadata: large }), "renewed");
    assert.deepEqual((await provider.read(lease.electionGroup, soon()))?.metadata, small, "it keeps what it had");
    assert.equal(warnings.length, 1);
    // Who cannot even write the first record is told so, and leaves the group to others.
    await provider.release(lease, soon());
    const wanted = request(lease.electionGroup, { metadata: large });
    await assert.rejects(provider.acquire(wanted, soon()), /Too long/);
    const next = await win(provider, request(lease.electionGroup));
    // Others may fill it up to the brim: the next heartbeat is longer than the record, by its token.
    await fill(lease.electionGroup);
    assert.equal(await provider.renew(next, soon()), "renewed");
  });

  test("groups() lists more Leases than one answer has, by their true names", async () => {
    const post = opened.post();
    const provider = opened.open({ request: post.request });
    const name = `Group_${crypto.randomUUID()}`;
    await win(provider, request(name));
    // As if they were many: the server is asked for one at a time.
    const paged: typeof post.request = (path, init) => post.request(path.replace("limit=500", "limit=1"), init);
    const all = await opened.open({ request: paged }).groups?.(soon());
    assert.ok(all?.includes(name));
    assert.equal(new Set(all).size, all?.length);
    assert.ok(post.count("continue=") >= (all?.length ?? 0) - 1);
    assert.ok(!all?.some((each) => each.includes("multilock-")));
  });
}
