/**
 * How the client in `providers/zookeeper/` comes to a server, and comes back: to which address, how soon, and as whom.
 */

import assert from "node:assert/strict";
import { once } from "node:events";
import { createServer, type Server as NetServer } from "node:net";
import { test } from "node:test";
import { type ClientOptions, ZooKeeperClient } from "../../providers/zookeeper/client.ts";
import { Endpoints, resolveHost } from "../../providers/zookeeper/endpoints.ts";
import { Pace } from "../../providers/zookeeper/pace.ts";
import { setData, sync } from "../../providers/zookeeper/protocol.ts";
import { systemClock } from "../../src/time/clock.ts";
import { pause } from "./zookeeper/support.ts";
import { type Peer, type ScriptedServer, scriptedServer } from "./zookeeper/scripted_server.ts";
import { until } from "../until.ts";

const never = new AbortController().signal;
/** A session of 3 s. */
const CONNECTED = "000000250000000000000bb801000035fd8f000000000010c3f4fb57949a875ed9940e95fd9e9e8c00";
const AUTH = "0000001dfffffffc00000064000000000000000664696765737400000003753a70";
const AUTHENTICATED = "00000010fffffffc000000000000000000000000";

function clientOf(changes: Partial<ClientOptions> & Pick<ClientOptions, "servers">): ZooKeeperClient {
  return new ZooKeeperClient({ sessionTimeout: 3_000, clock: systemClock, ...changes });
}

async function welcome(server: ScriptedServer): Promise<Peer> {
  const peer = await server.accept();
  await peer.next();
  peer.send(CONNECTED);
  return peer;
}

/** A server that accepts connections and says nothing. */
async function deafServer(host: string, port: number): Promise<NetServer> {
  const server = createServer((socket) => void socket.on("error", () => {}));
  server.listen(port, host);
  await once(server, "listening");
  return server;
}

test("Pace.after() grows while connections do not last, within bounds, and begins anew with one that does", () => {
  const pace = new Pace();
  const limits = [100, 200, 400, 800, 1_000, 1_000, 1_000];
  for (const limit of limits) {
    const pauseMs = pace.after(10, 16_500);
    assert.ok(pauseMs >= limit / 2 && pauseMs <= limit, `${pauseMs} of ${limit}`);
  }
  assert.equal(pace.after(5_500, 16_500), 0, "it served for a third of the session");
  assert.ok(pace.after(5_499, 16_500) <= 100);
  for (let i = 0; i < 100; i++) assert.ok(pace.after(0, 1_100) <= 137.5, "an eighth of a short session");
});

test("ZooKeeperClient pauses ever longer, when servers take its session and hang up", async () => {
  let connections = 0;
  let isOver = false;
  await using server = await scriptedServer();
  const serving = (async () => {
    while (!isOver) {
      const peer = await server.accept();
      connections++;
      await peer.next();
      peer.send(CONNECTED);
      // Also one that answers something first is not worth more.
      await pause(5);
      peer.end();
    }
  })();
  const client = clientOf({ servers: [server.address] });
  await client.connected();
  await pause(2_000);
  // 100, 200 and then 375 ms, an eighth of the session, each at least by half: not more than twelve, on any machine.
  assert.ok(connections <= 12, `${connections} connections in 2 s`);
  await until("it goes on trying", () => connections >= 4);
  // It ends with the connection it serves, or else with the next one.
  isOver = true;
  await serving;
  await client.close();
});

test("ZooKeeperClient comes back at once, when a connection has lasted", async () => {
  await using server = await scriptedServer();
  let now = 0;
  const clock = { ...systemClock, monotonic: () => systemClock.monotonic() + now };
  const delays: number[] = [];
  const setTimer = (callback: () => void, delayMs: number) => {
    delays.push(delayMs);
    return systemClock.setTimer(callback, delayMs);
  };
  const client = clientOf({ servers: [server.address], clock: { ...clock, setTimer } });
  const peer = await welcome(server);
  await client.connected();
  now += 1_100;
  delays.length = 0;
  peer.end();
  (await welcome(server)).end();
  assert.equal(delays[0], 0, "it is not the connection's fault");
  await client.close();
});

test("ZooKeeperClient says who it is on each connection, before anything else", async () => {
  await using server = await scriptedServer();
  const client = clientOf({ servers: [server.address], credentials: "u:p" });
  for (let i = 0; i < 3; i++) {
    const peer = await welcome(server);
    assert.equal(await peer.next(), AUTH);
    peer.send(AUTHENTICATED);
    peer.end();
  }
  await client.close();
});

test("ZooKeeperClient loses nothing that comes together with the confirmation of its session", async () => {
  await using server = await scriptedServer();
  const client = clientOf({ servers: [server.address], credentials: "u:p" });
  const peer = await server.accept();
  await peer.next();
  peer.send(CONNECTED + AUTHENTICATED);
  assert.equal(await peer.next(), AUTH);
  await client.connected();
  const call = client.call(sync("/"), AbortSignal.timeout(20_000));
  assert.equal(await peer.next(), "0000000d00000001000000090000000" + "12f");
  peer.send("000000150000000100000000000000050000000000000001" + "2f");
  assert.equal(await call, "/");
  assert.equal(client.attachments, 1);
  peer.end();
  await client.close();
});

test("ZooKeeperClient comes again, when a server confirms its session and talks nonsense in one breath", async () => {
  await using server = await scriptedServer();
  const client = clientOf({ servers: [server.address] });
  const peer = await server.accept();
  await peer.next();
  // A frame without a header.
  peer.send(CONNECTED + "00000000");
  const next = await welcome(server);
  await until("it is attached again", () => client.isConnected && client.attachments === 2);
  next.end();
  await client.close();
});

test("Endpoints.inTurn() lists every address of a name: the last one used after those that work, failed ones at the end", async () => {
  const addresses: Record<string, readonly string[]> = {
    many: ["10.0.0.1", "10.0.0.2", "10.0.0.1"],
    one: ["10.0.0.3"],
  };
  const resolve = (host: string) => Promise.resolve(addresses[host] ?? assert.fail(host));
  const servers = [{ host: "many", port: 1 }, { host: "one", port: 2 }, { host: "::1", port: 3 }];
  const endpoints = new Endpoints(servers, systemClock, resolve);
  const listed = async () => (await endpoints.inTurn(never)).map(({ address, port }) => `${address} ${port}`);
  assert.deepEqual(await listed(), ["10.0.0.1 1", "10.0.0.2 1", "one 2", "::1 3"]);
  const [first = assert.fail(), second = assert.fail()] = await endpoints.inTurn(never);
  endpoints.failed(first);
  endpoints.attached(second);
  assert.deepEqual(await listed(), ["one 2", "::1 3", "10.0.0.2 1", "10.0.0.1 1"]);
  endpoints.attached(first);
  assert.deepEqual(await listed(), ["10.0.0.2 1", "one 2", "::1 3", "10.0.0.1 1"]);
  addresses.many = ["10.0.0.8", "10.0.0.9"];
  assert.deepEqual((await listed()).slice(0, 2), ["10.0.0.8 1", "10.0.0.9 1"], "servers move");
});

test("Endpoints.inTurn() leaves a name to the runtime, when it cannot be looked up, or not in time", async () => {
  const servers = [{ host: "hangs", port: 1 }, { host: "fails", port: 2 }];
  const resolve = (host: string) =>
    host === "fails" ? Promise.reject(new Error("EPERM")) : new Promise<string[]>(() => {});
  const found = await new Endpoints(servers, systemClock, resolve).inTurn(never);
  assert.deepEqual(found.map(({ address }) => address), ["hangs", "fails"]);
});

test("resolveHost() finds the addresses of a name", async () => {
  assert.ok((await resolveHost("localhost")).some((address) => address === "127.0.0.1" || address === "::1"));
});

for (const how of ["refuses", "is silent"] as const) {
  test(`ZooKeeperClient reaches a name whose first address ${how}, and tries that one last from then on`, async () => {
    await using server = await scriptedServer();
    const { port } = server.address;
    const deaf = how === "is silent" ? await deafServer("127.0.0.9", port) : null;
    let tried = 0;
    deaf?.on("connection", () => tried++);
    try {
      const resolve = () => Promise.resolve(["127.0.0.9", "127.0.0.1"]);
      const client = clientOf({ servers: [{ host: "many", port }], sessionTimeout: 1_200, resolve });
      const start = systemClock.monotonic();
      const peer = await welcome(server);
      await client.connected();
      if (deaf !== null) assert.ok(systemClock.monotonic() - start >= 550, "half of the session for each of two");
      peer.end();
      await welcome(server);
      await client.connected();
      assert.ok(tried <= 1, "the one that is known to be dead was not asked again");
      await server[Symbol.asyncDispose]();
      await client.close();
    } finally {
      deaf?.close();
    }
  });
}

test("ZooKeeperClient names every address, when it reaches none of a name", async () => {
  await using gone = await scriptedServer();
  const { port } = gone.address;
  await gone[Symbol.asyncDispose]();
  const resolve = () => Promise.resolve(["127.0.0.9", "127.0.0.1"]);
  const client = clientOf({ servers: [{ host: "many", port }], resolve });
  await assert.rejects(client.connected(), (error: Error) => {
    for (const address of ["127.0.0.9", "127.0.0.1"]) {
      assert.ok(error.message.includes(`many:${port} (${address}): `), error.message);
    }
    return true;
  });
});

test("ZooKeeperClient.call() refuses a request that no server takes, and goes on", async () => {
  await using server = await scriptedServer();
  const client = clientOf({ servers: [server.address] });
  const peer = await welcome(server);
  await client.connected();
  const refused = client.call(setData("/g", new Uint8Array(600 * 1024)), never);
  await assert.rejects(refused, /a request has at most 524288 bytes, this one 614\d\d\d/);
  void client.call(sync("/"), never).catch(() => {});
  assert.match(await peer.next() ?? "", /^0000000d00000001000000090000/, "the first frame is of the second call");
  peer.end();
  await client.close();
});
