/** Renewals of Consul leases: many at once, given up before they are sent, and the sessions under them. */

import assert from "node:assert/strict";
import { type AddressInfo, connect, createServer } from "node:net";
import { after, test } from "node:test";
import { backend } from "../servers/backend.ts";
import { ask, newGroup, Opened, Post, request, soon, Watch, win } from "./consul/fixture.ts";
import { until } from "../until.ts";

const server = backend("consul");
if (server !== null) testServer(server.url);

function testServer(url: string): void {
  const opened = new Opened(url);
  after(() => opened[Symbol.asyncDispose]());
  const sessions = async () => (await (await ask(url, "GET", "session/list?consistent")).json() as unknown[]).length;
  const sessionOf = async (electionGroup: string) => {
    const [entry] = await (await ask(url, "GET", `kv/multilock/${electionGroup}/.lock`)).json() as {
      Session?: string;
    }[];
    return entry?.Session;
  };

  test("fifty renewals of one lease at once all succeed, and the last metadata stays", async () => {
    const post = new Post();
    const provider = opened.open({ fetch: post.fetch });
    const lease = await win(provider, request(newGroup()));
    const plain = await Promise.all(Array.from({ length: 50 }, () => provider.renew(lease, soon())));
    assert.deepEqual(new Set(plain), new Set(["renewed"]));
    post.sent.length = 0;
    const with50 = await Promise.all(
      Array.from({ length: 50 }, (_, i) => provider.renew(lease, { ...soon(), metadata: { n: String(i) } })),
    );
    assert.deepEqual(new Set(with50), new Set(["renewed"]));
    assert.deepEqual((await provider.read(lease.electionGroup, soon()))?.metadata, { n: "49" });
    assert.ok(post.count("/v1/txn") <= 3, `${post.count("/v1/txn")} writes`);
    assert.equal(await provider.release(lease, soon()), "released");
  });

  test("a heartbeat that was given up before it was sent is not sent, alone or beside others", async () => {
    const post = new Post();
    const provider = opened.open({ fetch: post.fetch });
    const [one, two] = [await win(provider, request(newGroup())), await win(provider, request(newGroup()))];
    post.sent.length = 0;
    for (const others of [false, true]) {
      const gone = new AbortController();
      const given = provider.renew(one, { signal: gone.signal });
      const beside = others ? provider.renew(two, soon()) : null;
      // In the same turn, before what is due together goes out.
      await Promise.resolve();
      gone.abort(new Error("too slow"));
      await assert.rejects(given, /too slow/);
      await beside;
      await new Promise((resolve) => setTimeout(resolve, 200));
      assert.equal(post.count(one.electionGroup), 0, post.sent.join("\n"));
    }
    assert.equal(post.count(two.electionGroup), 1);
    assert.equal(await provider.renew(one, soon()), "renewed");
  });

  test("a heartbeat that was given up while its batch went out is left out of the next", async () => {
    const post = new Post();
    const provider = opened.open({ fetch: post.fetch });
    const [gives, stays, lost] = [
      await win(provider, request(newGroup())),
      await win(provider, request(newGroup())),
      await win(provider, request(newGroup())),
    ];
    // Somebody else's write makes the first transaction conflict, so that the rest is sent again.
    await ask(url, "DELETE", `kv/multilock/${lost.electionGroup}/.lock`);
    post.sent.length = 0;
    const held = post.hold("/v1/txn");
    const gone = new AbortController();
    const given = provider.renew(gives, { signal: gone.signal });
    const others = Promise.all([provider.renew(stays, soon()), provider.renew(lost, soon())]);
    await held.arrived;
    gone.abort(new Error("too slow"));
    await assert.rejects(given, /too slow/);
    held.letGo();
    assert.deepEqual(await others, ["renewed", "lost"]);
    const writes = post.sent.filter((sent) => sent.includes("/v1/txn"));
    assert.ok(writes.length >= 2 && writes.slice(1).every((sent) => !sent.includes(gives.electionGroup)));
  });

  test("a request that was given up while 32 others were under way is not sent", async () => {
    const post = new Post();
    const provider = opened.open({ fetch: post.fetch });
    const lease = await win(provider, request(newGroup()));
    post.sent.length = 0;
    const go = Promise.withResolvers<void>();
    const busy = opened.open({
      async fetch(target, init) {
        post.sent.push(`${init.method} ${target}`);
        await go.promise;
        return await fetch(target, init);
      },
    });
    const reads = Array.from({ length: 32 }, () => busy.read(newGroup(), soon()));
    await until("32 are under way", () => post.count("GET ") >= 32);
    const gone = new AbortController();
    const given = busy.renew(lease, { signal: gone.signal });
    await new Promise((resolve) => setTimeout(resolve, 50));
    gone.abort(new Error("too slow"));
    await assert.rejects(given, /too slow/);
    go.resolve();
    await Promise.all(reads);
    await new Promise((resolve) => setTimeout(resolve, 200));
    const sent = post.sent.filter((each) => each.includes(lease.electionGroup) && each.includes("consistent"));
    assert.deepEqual(sent, []);
  });

  test("a session does not depend on the health of the agent that made it", async () => {
    const provider = opened.open();
    const lease = await win(provider, request(newGroup()));
    const session = await sessionOf(lease.electionGroup);
    assert.ok(session !== undefined);
    const [{ Node }] = await (await ask(url, "GET", `session/info/${session}`)).json() as [{ Node: string }];
    const [{ Address }] = await (await ask(url, "GET", `catalog/node/${Node}`)).json().then((found) =>
      [(found as { Node: { Address: string } }).Node] as const
    );
    const health = (Status: string) =>
      ask(
        url,
        "PUT",
        "catalog/register",
        JSON.stringify({
          ...{ Node, Address },
          Check: { Node, CheckID: "serfHealth", Name: "Serf Health Status", Status },
        }),
      );
    try {
      // What Consul writes when it believes that an agent has failed. It ends every session that depends on it.
      await health("critical");
      assert.equal(await sessionOf(lease.electionGroup), session);
      assert.equal(await provider.renew(lease, soon()), "renewed");
    } finally {
      await health("passing");
    }
  });

  test("a session that is being created when the provider closes is not left behind", async () => {
    const post = new Post();
    const provider = opened.open({ fetch: post.fetch });
    const before = await sessions();
    const held = post.hold("session/create");
    const acquiring = provider.acquire(request(newGroup()), soon()).catch(() => {});
    await held.arrived;
    const closing = provider[Symbol.asyncDispose]();
    held.letGo();
    await closing;
    await acquiring;
    assert.equal(await sessions(), before);
    await assert.rejects(provider.acquire(request(newGroup()), soon()), /closed/);
    assert.equal(await sessions(), before, "nor is one made after that");
  });

  test("a request under way ends when its provider is closed, whoever makes it", async () => {
    const asked = Promise.withResolvers<void>();
    const provider = opened.open({
      fetch: (_, { signal }) =>
        new Promise((_, reject) => {
          signal.addEventListener("abort", () => reject(signal.reason));
          asked.resolve();
        }),
    });
    const reading = assert.rejects(provider.read(newGroup(), soon()), /closed/);
    await asked.promise;
    await provider[Symbol.asyncDispose]();
    await reading;
  });

  test("a provider that is closed leaves no connection behind, nor a request under way", async () => {
    const [address = "", port] = url.replace("consul://", "").split(":");
    let [open, seen] = [0, 0];
    const proxy = createServer((client) => {
      open++;
      seen++;
      const server = connect(Number(port), address);
      client.pipe(server).pipe(client);
      for (const socket of [client, server]) socket.setNoDelay(true).on("error", () => {});
      client.on("close", () => {
        open--;
        server.destroy();
      });
    });
    await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", () => resolve()));
    const at = `consul://127.0.0.1:${(proxy.address() as AddressInfo).port}`;
    for (const [isWatching, options] of [[false, {}], [true, {}], [true, { fetch }]] as const) {
      const provider = opened.open({ url: at, ...options });
      const lease = await win(provider, request(newGroup(), { heartbeatTimeout: 60_000 }));
      await Promise.all(Array.from({ length: 5 }, () => provider.read(lease.electionGroup, soon())));
      const watch = isWatching ? new Watch(provider, lease.electionGroup) : null;
      if (watch !== null) await until("it is live", () => watch.hints === 1);
      let why: unknown;
      watch?.done.catch((error) => why = error);
      await provider[Symbol.asyncDispose]();
      if (watch !== null) await until("the query under way ends", () => /closed/.test(String(why)), 5_000);
      // Those of a fetch are its owner's.
      if (!("fetch" in options)) await until("all connections are closed", () => open === 0, 5_000);
    }
    assert.ok(seen < 40, `${seen} connections for a handful of requests`);
    proxy.close();
  });
}
