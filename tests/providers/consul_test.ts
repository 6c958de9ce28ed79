/** The Consul provider against a real server. */

import assert from "node:assert/strict";
import { randomBytes, randomUUID } from "node:crypto";
import { after, test } from "node:test";
import { type ConsulFetch, type ConsulOptions, consulProvider } from "../../providers/consul.ts";
import { parseConsulUrl } from "../../providers/consul/keys.ts";
import { type Clock, sleep, systemClock } from "../../src/time/clock.ts";
import { ProviderError } from "../../src/errors.ts";
import type { Provider } from "../../src/provider.ts";
import { openProvider } from "../../src/registry.ts";
import { conformanceCases } from "../../testing/conformance.ts";
import { backend, detourTo } from "../servers/backend.ts";
import { newGroup, Post, request, soon, win } from "./consul/fixture.ts";
import { MovingClock, testStandingRecord } from "./standing_record.ts";
import { until } from "../until.ts";

test("consulProvider() reads host, port, prefix, token and datacenter from its URL", () => {
  const [none, https] = [{ token: undefined, dc: undefined, tls: null }, "https://c.example:8501"];
  assert.deepEqual(parseConsulUrl("consul://c"), { origin: "http://c:8500", prefix: "multilock/", ...none });
  assert.deepEqual(parseConsulUrl("consul+https://c.example/a/b/"), {
    origin: https,
    prefix: "a/b/",
    ...none,
    tls: {},
  });
  assert.equal(parseConsulUrl("CONSUL://c:80").origin, "http://c:80");
  assert.equal(parseConsulUrl("consul://[::1]:8500").origin, "http://[::1]:8500");
  assert.deepEqual(parseConsulUrl("consul://:se%3Acret@c?dc=east"), {
    ...{ origin: "http://c:8500", prefix: "multilock/", token: "se:cret", dc: "east", tls: null },
  });
  assert.equal(parseConsulUrl("consul://c?token=t").token, "t");
});

test("consulProvider() throws without naming the token, when the URL is not usable", () => {
  for (const url of ["http://c", "consul:", "consul:///a", "consul://c?tokn=secret", "consul://:secret@c?x=1"]) {
    assert.throws(
      () => consulProvider({ url }),
      (error) => error instanceof TypeError && !/secret@/.test(error.message),
    );
  }
});

test("consulProvider() refuses a setting that nobody knows, and names the nearest", () => {
  const bad: readonly [ConsulOptions, RegExp][] = [
    [{ url: "consul://c?tokn=hush-hush" }, /setting "tokn".*"token"/],
    [{ url: "consul://c?dc=a&dc=b" }, /"dc".*twice/],
    [{ url: "consul://:hush-hush@c?token=hush-hush" }, /token twice/],
    [{ url: "consul://c?ca=a.pem" }, /"ca" needs consul\+https/],
    [{ url: "consul+https://c?cert=a.pem" }, /cert and key/],
    [{ url: "consul://c/a#b" }, /%23/],
    [{ url: "consul+https://c?ca=a.pem", fetch: fetch as ConsulFetch }, /fetch/],
    [{ urls: "consul://c" } as ConsulOptions, /option "urls".*"url"/],
    ["consul://c" as ConsulOptions, /options must be an object/],
  ];
  for (const [options, why] of bad) {
    assert.throws(() => consulProvider(options), (error) => {
      assert.ok(error instanceof TypeError && !error.message.includes("hush"), String(error));
      assert.match(error.message, why);
      return true;
    });
  }
});

const server = backend("consul");
if (server !== null) {
  // One after the other, since they count what the server has.
  for (
    const { name, run } of conformanceCases({
      name: "consul",
      open: openFor(server.url),
      faults: server.faults,
      ...detourTo("consul", (url) => consulProvider({ url })),
    })
  ) {
    test(name, run);
  }
  testServer(server.url);
}

function openFor(url: string): (options?: { readonly clock?: Clock }) => Provider {
  return ({ clock } = {}) => consulProvider({ url, ...(clock && { clock }) });
}

interface Entry {
  readonly ModifyIndex: number;
  readonly LockIndex: number;
  readonly Session?: string;
}

function testServer(url: string): void {
  const origin = url.replace("consul:", "http:");
  const opened: Provider[] = [];
  after(() => Promise.all(opened.map((provider) => provider[Symbol.asyncDispose]())));

  function open(options: ConsulOptions = {}): Provider {
    const provider = consulProvider({ url, ...options });
    opened.push(provider);
    return provider;
  }
  async function http(method: string, path: string, body?: string): Promise<string> {
    const answer = await fetch(`${origin}/v1/${path}`, { method, ...(body !== undefined && { body }), ...soon() });
    const text = await answer.text();
    assert.ok(answer.ok, `${method} ${path}: ${answer.status} ${text}`);
    return text;
  }
  const keyOf = (electionGroup: string) => `kv/multilock/${electionGroup}/.lock`;
  async function entry(electionGroup: string): Promise<Entry> {
    const [found] = JSON.parse(await http("GET", keyOf(electionGroup))) as Entry[];
    assert.ok(found);
    return found;
  }
  async function newSession(body: Record<string, unknown>): Promise<string> {
    return (JSON.parse(await http("PUT", "session/create", JSON.stringify(body))) as { ID: string }).ID;
  }
  const sessions = async () => (JSON.parse(await http("GET", "session/list?consistent")) as { ID: string }[]).length;
  testStandingRecord({
    open(clock) {
      const post = new Post();
      return { post, provider: open({ fetch: post.fetch, ...(clock && { clock }) }) };
    },
    // A renewal checks the index of the record, a take-over unlocks what was the old holder's.
    writes: { renew: '"check-index"', takeOver: '"unlock"', release: '"unlock"' },
  });

  test("acquire() and read() ask for the newest state, which a server that starts may not have read yet", async () => {
    const post = new Post();
    const [leader, rival] = [open({ fetch: post.fetch }), open({ fetch: post.fetch })];
    const lease = await win(leader, request(newGroup()));
    assert.ok(!(await rival.acquire(request(lease.electionGroup), soon())).acquired);
    await rival.read(lease.electionGroup, soon());
    assert.equal(await leader.release({ ...lease, termId: randomUUID() }, soon()), "notHolder");
    const looks = post.sent.filter((sent) => sent.startsWith("GET "));
    assert.equal(looks.length, 4);
    for (const look of looks) assert.match(look, /\?consistent/);
  });

  test("acquire() begins its term anew, when it asks again after its session was destroyed", async () => {
    const provider = open();
    const wanted = request(newGroup());
    const lease = await win(provider, wanted);
    await http("PUT", `session/destroy/${(await entry(lease.electionGroup)).Session}`);
    const again = await win(provider, wanted);
    assert.ok(again.token > lease.token);
    assert.equal(await provider.renew(again, soon()), "renewed");
  });

  test("acquire() that arrives late takes nothing from another election of the same provider", async () => {
    const post = new Post();
    const provider = open({ fetch: post.fetch });
    const free = await win(provider, request(newGroup()));
    assert.equal(await provider.release(free, soon()), "released");
    // To Consul both have the same session, and so the same right to the key.
    const late = post.hold('"check-index"');
    const first = provider.acquire(request(free.electionGroup), soon());
    await late.arrived;
    const lease = await win(provider, request(free.electionGroup));
    late.letGo();
    assert.ok(!(await first).acquired);
    assert.equal(await provider.renew(lease, soon()), "renewed");
  });

  test("renew() keeps key, token and lock index, and moves the record's index each time", async () => {
    // A clock that stands still must not make two heartbeats alike.
    const provider = open({ clock: { ...systemClock, wall: () => 1_767_225_600_000 } });
    const lease = await win(provider, request(newGroup()));
    let { ModifyIndex, LockIndex } = await entry(lease.electionGroup);
    assert.equal(lease.token, BigInt(ModifyIndex), "the token is the index of the acquiring write");
    for (let i = 0; i < 3; i++) {
      assert.equal(await provider.renew(lease, soon()), "renewed");
      const now = await entry(lease.electionGroup);
      assert.ok(now.ModifyIndex > ModifyIndex, "who watches must see the heartbeat");
      assert.equal(now.LockIndex, LockIndex, "those who fence by Consul's own counter must see one term");
      ({ ModifyIndex, LockIndex } = now);
    }
    assert.equal((await provider.read(lease.electionGroup, soon()))?.token, lease.token);
  });

  test("heartbeats that are due together share one transaction and one renewal of the one session", async () => {
    const [post, clock] = [new Post(), new MovingClock()];
    const before = await sessions();
    const provider = open({ fetch: post.fetch, clock });
    const leases = await Promise.all(Array.from({ length: 40 }, () => win(provider, request(newGroup()))));
    assert.equal(await sessions(), before + 1);
    for (const renewals of [0, 1, 1]) {
      post.sent.length = 0;
      const answers = await Promise.all(leases.map((lease) => provider.renew(lease, soon())));
      assert.deepEqual(new Set(answers), new Set(["renewed"]));
      assert.equal(post.count("/v1/txn"), 2, "32 and 8 heartbeats");
      assert.equal(post.count("/v1/session/renew/"), renewals, "due after a quarter of the session's 60 s");
      clock.moveOn(16_000);
    }
    // A lease that is too long for the session gets one that is not.
    await win(provider, request(newGroup(), { heartbeatTimeout: 20_000 }));
    assert.equal(await sessions(), before + 1);
    await win(provider, request(newGroup(), { heartbeatTimeout: 60_000 }));
    assert.equal(await sessions(), before + 2);
    await provider[Symbol.asyncDispose]();
    assert.equal(await sessions(), before);
  });

  test("renew() sends no heartbeat for a session that could expire before the lease", async () => {
    const [post, clock] = [new Post(), new MovingClock()];
    const provider = open({ fetch: post.fetch, clock });
    const lease = await win(provider, request(newGroup()));
    // Beyond half of the 60 s, the session may have less time left than a lease of 30 s.
    clock.moveOn(29_999);
    await provider.renew(lease, soon());
    clock.moveOn(29_999);
    const held = post.hold("/v1/session/renew/");
    post.sent.length = 0;
    const renewal = provider.renew(lease, soon());
    await held.arrived;
    await sleep(systemClock, 50);
    assert.equal(post.count("/v1/txn"), 0);
    held.letGo();
    await renewal;
  });

  test("a term is lost, and the next one waits for its lease, when an operator destroys the session", async () => {
    const clock = new MovingClock();
    const [leader, rival] = [open(), open({ clock })];
    const lease = await win(leader, request(newGroup()));
    const other = await win(leader, request(newGroup()));
    const { Session } = await entry(lease.electionGroup);
    await http("PUT", `session/destroy/${Session}`);
    // Consul holds nothing any more, but the leader has not heard of it.
    const wanted = request(lease.electionGroup);
    const early = await rival.acquire(wanted, soon());
    assert.ok(!early.acquired, "the leader still leads");
    assert.equal(early.leader?.termId, lease.termId);
    assert.equal(await rival.read(lease.electionGroup, soon()), null);
    assert.equal(await leader.renew(lease, soon()), "lost");
    clock.moveOn(lease.heartbeatTimeout * 1.001);
    const next = await win(rival, wanted);
    assert.ok(next.token > lease.token);
    // The provider makes a new session, also when it has not noticed that the old one is gone.
    assert.equal(await leader.release(other, soon()), "released");
    const again = await win(leader, request(other.electionGroup));
    assert.equal(await leader.renew(again, soon()), "renewed");
    await http("PUT", `session/destroy/${(await entry(again.electionGroup)).Session}`);
    await win(leader, request(newGroup()));
  });

  test("a lock of somebody else is left to its session, for however long it stands still", async () => {
    const clock = new MovingClock();
    const provider = open({ clock });
    const electionGroup = newGroup();
    const stranger = await newSession({ TTL: "60s" });
    await http("PUT", `${keyOf(electionGroup)}?acquire=${stranger}&flags=3304740253564472344`, "not ours");
    for (let i = 0; i < 2; i++) {
      const answer = await provider.acquire(request(electionGroup), soon());
      assert.ok(!answer.acquired);
      assert.equal(answer.leader?.leaderId, `consul-session-${stranger}`);
      assert.equal(answer.leader?.expiresIn, null);
      clock.moveOn(24 * 3_600_000);
    }
    assert.equal(await provider.release({ electionGroup, termId: stranger }, soon()), "notHolder");
    await http("PUT", `${keyOf(electionGroup)}?release=${stranger}&flags=3304740253564472344`, "not ours");
    const lease = await win(provider, request(electionGroup));
    assert.equal(await provider.release(lease, soon()), "released");
    // A stranger whose session ends leaves a lock-delay: nobody leads, and nobody may.
    await http("PUT", `${keyOf(electionGroup)}?acquire=${stranger}&flags=3304740253564472344`, "not ours");
    await http("PUT", `session/destroy/${stranger}`);
    assert.deepEqual(await provider.acquire(request(electionGroup), soon()), { acquired: false, leader: null });
  });

  test("a key that is no lock is an error that says so, and clears", async () => {
    const provider = open();
    const electionGroup = newGroup();
    await http("PUT", keyOf(electionGroup), "precious");
    await assert.rejects(provider.acquire(request(electionGroup), soon()), /holds something that is no lock/);
    await assert.rejects(provider.read(electionGroup, soon()), ProviderError);
    assert.equal(await http("GET", `${keyOf(electionGroup)}?raw`), "precious");
    await http("DELETE", keyOf(electionGroup));
    await win(provider, request(electionGroup));
  });

  test("garbage in a lock that is free does not matter", async () => {
    const provider = open();
    for (const garbage of ["", "{", "null", '{"multilock":1}', '{"multilock":1,"beat":-1}', "\x1f\x8b", "\x1f\x8bx"]) {
      const electionGroup = newGroup();
      await http("PUT", `${keyOf(electionGroup)}?flags=3304740253564472344`, garbage);
      assert.equal(await provider.read(electionGroup, soon()), null);
      await win(provider, request(electionGroup));
    }
  });

  test("token grows, when the key was deleted", async () => {
    const provider = open();
    const lease = await win(provider, request(newGroup()));
    await http("DELETE", keyOf(lease.electionGroup));
    assert.equal(await provider.renew(lease, soon()), "lost");
    assert.ok((await win(provider, request(lease.electionGroup))).token > lease.token);
  });

  test("acquire() refuses metadata that does not fit, by name, and leaves nothing behind", async () => {
    const provider = open();
    const metadata: Record<string, string> = {};
    // Of 65,536 characters at random, nothing can be packed.
    for (let i = 0; i < 100; i++) {
      metadata[i] = randomBytes(8_000).toString("utf16le").replaceAll(/[\ud800-\udfff]/g, "");
    }
    const wanted = request(newGroup(), { metadata });
    await assert.rejects(provider.acquire(wanted, soon()), /metadata takes/);
    assert.equal(await provider.read(wanted.electionGroup, soon()), null);
    // As large as allowed, of letters at random, it fits.
    for (let i = 0; i < 100; i++) metadata[i] = randomBytes(3_000).toString("base64");
    await win(provider, request(newGroup(), { metadata }));
  });

  test("acquire() and watch() write nothing, while another leads", async () => {
    const post = new Post();
    const [leader, follower] = [open(), open({ fetch: post.fetch })];
    const lease = await win(leader, request(newGroup(), { heartbeatTimeout: 60_000 }));
    const stop = new AbortController();
    const watching = (async () => {
      for await (const _ of follower.watch?.(lease.electionGroup, { signal: stop.signal }) ?? []) { /* hints */ }
    })();
    const logIndex = async () => {
      const { Stats } = JSON.parse(await http("GET", "agent/self")) as { Stats: { raft: { last_log_index: string } } };
      return Stats.raft.last_log_index;
    };
    // Consul has entries of its own now and then: one quiet spell is proof enough.
    await until("a log to which nothing is written", async () => {
      const before = await logIndex();
      for (let i = 0; i < 20; i++) {
        assert.ok(!(await follower.acquire(request(lease.electionGroup), soon())).acquired);
        await follower.read(lease.electionGroup, soon());
      }
      return await logIndex() === before;
    });
    assert.equal(post.count("PUT "), 0);
    stop.abort();
    await watching;
  });

  test("acquire() takes one round trip after a hint, and none to create a session for each", async () => {
    const post = new Post();
    const [leader, follower] = [open(), open({ fetch: post.fetch })];
    const lease = await win(leader, request(newGroup()));
    await win(follower, request(newGroup()));
    const stop = new AbortController();
    let hints = 0;
    for await (const _ of follower.watch?.(lease.electionGroup, { signal: stop.signal }) ?? []) {
      if (hints++ === 0) await leader.release(lease, soon());
      else stop.abort();
    }
    post.sent.length = 0;
    await win(follower, request(lease.electionGroup));
    assert.equal(post.sent.length, 1);
  });

  test("watch() hints at no heartbeat, and lets the 65th watcher wait for a place", async () => {
    const [leader, follower] = [open(), open()];
    const lease = await win(leader, request(newGroup()));
    const [stop, stopOne] = [new AbortController(), new AbortController()];
    const hints: number[] = Array.from({ length: 65 }, () => 0);
    const watching = hints.map(async (_, i) => {
      const { signal } = i === 0 ? stopOne : stop;
      for await (const _ of follower.watch?.(i === 1 ? lease.electionGroup : newGroup(), { signal }) ?? []) {
        hints[i] = (hints[i] ?? 0) + 1;
      }
    });
    await until("64 are live", () => Promise.resolve(hints.slice(0, 64).every((count) => count > 0)));
    for (let i = 0; i < 5; i++) assert.equal(await leader.renew(lease, soon()), "renewed");
    const [other, expiresIn] = [await follower.read(lease.electionGroup, soon()), lease.heartbeatTimeout];
    assert.ok(other !== null && other.expiresIn !== null && other.expiresIn <= expiresIn * 1.001);
    assert.equal(hints[1], 1);
    assert.equal(hints[64], 0);
    stopOne.abort();
    await until("the 65th is live", () => Promise.resolve(hints[64] === 1));
    stop.abort();
    await Promise.all(watching);
  });

  test("no session is left, after 200 cycles of acquire, lose, retry and crash", { timeout: 120_000 }, async () => {
    const before = await sessions();
    const groups = Array.from({ length: 4 }, newGroup);
    const shared = open();
    let crashed = 0;
    for (let cycle = 0; cycle < 200; cycle++) {
      const electionGroup = groups[cycle % groups.length] ?? "";
      const wanted = request(electionGroup, { heartbeatTimeout: 500 });
      let isCut = false;
      const provider = cycle % 2 === 0 ? shared : consulProvider({
        url,
        // A process that has crashed sends nothing any more, not even that its session may go.
        fetch: (target, init) => isCut ? Promise.reject(new Error("crashed")) : fetch(target, init),
      });
      const giveUp = new AbortController();
      const first = provider.acquire(wanted, { signal: giveUp.signal });
      // Every third gives up on the first answer and asks again.
      if (cycle % 3 === 0) giveUp.abort(new Error("too slow"));
      await first.catch(() => {});
      const answer = await provider.acquire(wanted, soon());
      isCut = provider !== shared && cycle % 10 === 1;
      if (isCut) crashed++;
      else if (answer.acquired) await provider.release(answer.lease, soon());
      if (provider !== shared) await provider[Symbol.asyncDispose]();
    }
    await shared[Symbol.asyncDispose]();
    const left = await sessions() - before;
    assert.ok(left <= crashed, `${left} sessions are left, but only ${crashed} processes have crashed`);
    // Consul ends what is not renewed after one to two times its time to live.
    await until("the sessions of crashed processes end", async () => await sessions() <= before, 60_000);
  });

  test("openProvider() opens consul: URLs, with a prefix of their own", async () => {
    const prefix = `tests/${randomUUID()}`;
    await using provider = await openProvider(`${url}/${prefix}`);
    await win(provider, request(".."));
    await win(provider, request("group"));
    assert.deepEqual((await provider.groups?.(soon()))?.sort(), ["..", "group"]);
    assert.match(await http("GET", `kv/${prefix}/group/.lock?raw`), /"participantId":"p"/);
  });

  test("errors name the operation and the address, and not the token", async () => {
    const provider = open({ url: "consul://:hush-hush@127.0.0.1:1/x", fetch });
    await assert.rejects(provider.read("group", soon()), (error) => {
      assert.ok(error instanceof ProviderError && error.operation === "read");
      assert.ok(!/hush/.test(`${error.message} ${error.cause}`));
      return true;
    });
  });
}
