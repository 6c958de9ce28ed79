/**
 * The client in `providers/zookeeper/`, on frames that were recorded from ZooKeeper 3.8.0, and on others that never
 * should be.
 */

import assert from "node:assert/strict";
import { test } from "node:test";
import { ZooKeeperClient } from "../../providers/zookeeper/client.ts";
import { FrameDecoder, JuteReader, JuteWriter } from "../../providers/zookeeper/jute.ts";
import * as protocol from "../../providers/zookeeper/protocol.ts";
import { type Clock, systemClock } from "../../src/time/clock.ts";
import { bytesOf, hexOf, type Peer, type ScriptedServer, scriptedServer } from "./zookeeper/scripted_server.ts";

const NODE = "/g/_c_1-term-latch-0000000000";
const never = new AbortController().signal;

/** Requests with their replies, as they went over the wire in one session. */
const RECORDED: Readonly<Record<string, { operation: protocol.Operation<unknown>; asked: string; answered: string }>> =
  {
    "create() a container": {
      operation: protocol.create("/g", new Uint8Array(0), protocol.OPEN_ACL, protocol.NodeKind.container),
      asked:
        "000000310000000100000013000000022f6700000000000000010000001f00000005776f726c6400000006616e796f6e6500000004",
      answered: "0000005a00000001000000000000000200000000000000022f6700000000000000020000000000000002000001a20845720e" +
        "000001a20845720e000000000000000000000000000000000000000000000000000000000000000000000002",
    },
    "create() an ephemeral sequential node": {
      operation: protocol.create(
        "/g/_c_1-term-latch-",
        new TextEncoder().encode("me"),
        protocol.OPEN_ACL,
        protocol.NodeKind.ephemeralSequential,
      ),
      asked: "00000044000000020000000f000000132f672f5f635f312d7465726d2d6c617463682d000000026d65000000010000001f" +
        "00000005776f726c6400000006616e796f6e6500000003",
      answered: "00000075000000020000000000000003000000000000001d2f672f5f635f312d7465726d2d6c617463682d303030303030" +
        "3030303000000000000000030000000000000003000001a208457259000001a20845725900000000000000000000000001000035fd8f" +
        "000000000002000000000000000000000003",
    },
    "getChildren()": {
      operation: protocol.getChildren("/g"),
      asked: "0000000f000000030000000c000000022f6700",
      answered: "0000007600000003000000000000000300000000000000010000001a5f635f312d7465726d2d6c617463682d3030303030" +
        "303030303000000000000000020000000000000002000001a20845720e000001a20845720e0000000000000001000000000000000000" +
        "00000000000000000000010000000000000003",
    },
    "getData() with a watch": {
      operation: protocol.getData(NODE, true),
      asked: "0000002a00000004000000040000001d2f672f5f635f312d7465726d2d6c617463682d3030303030303030303001",
      answered: "0000005a00000004000000000000000300000000000000026d6500000000000000030000000000000003000001a2084572" +
        "59000001a20845725900000000000000000000000001000035fd8f000000000002000000000000000000000003",
    },
    "multi()": {
      operation: protocol.multi([protocol.check(NODE), protocol.setData("/g", new Uint8Array([1]))]),
      asked: "00000057000000050000000e0000000d00ffffffff0000001d2f672f5f635f312d7465726d2d6c617463682d30303030303030" +
        "303030ffffffff0000000500ffffffff000000022f670000000101ffffffffffffffff01ffffffff",
      answered: "0000006f000000050000000000000004000000000000000d00000000000000000500000000000000000000000002000000" +
        "0000000004000001a20845720e000001a208457329000000010000000100000000000000000000000000000001000000010000000000" +
        "000003ffffffff01ffffffff",
    },
    "multi() that is refused": {
      operation: protocol.multi(["/g", "/missing", "/g"].map(protocol.check)),
      asked: "00000050000000060000000e0000000d00ffffffff000000022f67ffffffff0000000d00ffffffff000000082f6d697373696e" +
        "67ffffffff0000000d00ffffffff000000022f67ffffffffffffffff01ffffffff",
      answered: "0000004000000006000000000000000500000000ffffffff000000000000000000ffffffff00ffffff9bffffff9bffffff" +
        "ff00fffffffefffffffeffffffff01ffffffff",
    },
    "exists() of a missing node": {
      operation: protocol.exists("/missing"),
      asked: "000000150000000700000003000000082f6d697373696e6700",
      answered: "00000010000000070000000000000005ffffff9b",
    },
    "sync()": {
      operation: protocol.sync("/"),
      asked: "0000000d0000000800000009000000012f",
      answered: "0000001500000008000000000000000500000000000000012f",
    },
    "remove()": {
      operation: protocol.remove(NODE),
      asked: "0000002d00000009000000020000001d2f672f5f635f312d7465726d2d6c617463682d30303030303030303030ffffffff",
      answered: "0000001000000009000000000000000600000000",
    },
  };
const CONNECT = "0000002d00000000000000000000000000000bb80000000000000000000000100000000000000000000000000000000000";
const CONNECTED = "000000250000000000000bb801000035fd8f000000000010c3f4fb57949a875ed9940e95fd9e9e8c00";
const EXPIRED = "00000025000000000000000000000000000000000000001000000000000000000000000000000000" + "00";
const AUTH = "0000001dfffffffc00000064000000000000000664696765737400000003753a70";
const AUTHENTICATED = "00000010fffffffc000000000000000000000000";
const PING = "00000008fffffffe0000000b";
const PONG = "00000010fffffffe000000000000000600000000";
const CLOSE = "000000080000000afffffff5";
const CLOSED = "000000100000000a000000000000000700000000";
const DELETED = "00000039ffffffffffffffffffffffff0000000000000002000000030000001d2f672f5f635f312d7465726d2d6c61746368" +
  "2d30303030303030303030";
const SYNC = RECORDED["sync()"]?.operation ?? assert.fail();

/** The frame `hex` with the request number `xid`. */
function numbered(hex: string, xid: number): string {
  return hex.slice(0, 8) + xid.toString(16).padStart(8, "0") + hex.slice(16);
}

/** A client of `servers`, and what its clock has set and not yet run or cancelled. */
function clientOf(servers: readonly ScriptedServer[], changes: { sessionTimeout?: number; credentials?: string } = {}) {
  const timers = new Set<() => void>();
  const clock: Clock = {
    ...systemClock,
    setTimer(callback, delayMs) {
      const cancel = systemClock.setTimer(() => (timers.delete(cancel), callback()), delayMs);
      timers.add(cancel);
      return () => (timers.delete(cancel), cancel());
    },
  };
  const addresses = servers.map(({ address }) => address);
  return { client: new ZooKeeperClient({ servers: addresses, sessionTimeout: 3_000, clock, ...changes }), timers };
}

/** Accepts a connection and grants it a session. */
async function welcome(server: ScriptedServer): Promise<{ peer: Peer; asked: string | null }> {
  const peer = await server.accept();
  const asked = await peer.next();
  peer.send(CONNECTED);
  return { peer, asked };
}

test("JuteWriter and JuteReader agree, when a frame outgrows its first buffer", () => {
  const long = "\u00e4\u{1f600}".repeat(400);
  const writer = new JuteWriter();
  for (let i = 0; i < 100; i++) {
    writer.int(0 - i).long(-1n << BigInt(i % 63)).boolean(i % 2 === 0).string(long.slice(0, i));
  }
  const [reader] = new FrameDecoder().push(writer.string(long).frame());
  assert.ok(reader);
  for (let i = 0; i < 100; i++) {
    assert.deepEqual([reader.int(), reader.long(), reader.boolean()], [0 - i, -1n << BigInt(i % 63), i % 2 === 0]);
    assert.equal(reader.string(), new TextDecoder().decode(new TextEncoder().encode(long.slice(0, i))));
  }
  assert.equal(reader.string(), long);
});

test("JuteReader throws a RangeError, when a frame is shorter than what it says", () => {
  for (const hex of ["", "000000", "00000005616263", "fffffffe", "7fffffff00"]) {
    assert.throws(() => new JuteReader(Uint8Array.from(bytesOf(hex))).string(), RangeError, hex);
  }
  assert.equal(new JuteReader(Uint8Array.from(bytesOf("ffffffff"))).string(), "", "the length -1 stands for nothing");
  for (const { operation, answered } of Object.values(RECORDED)) {
    const body = bytesOf(answered).slice(20);
    const cut = new JuteReader(Uint8Array.from(body.slice(0, body.length / 2)));
    if (body.length > 0) assert.throws(() => operation.read(cut), RangeError);
  }
});

test("FrameDecoder.push() returns each frame once, however the bytes are cut", () => {
  const stream = bytesOf(CONNECTED + PONG + "00000000" + DELETED);
  for (const size of [1, 2, 3, 5, 17, 1_000]) {
    const decoder = new FrameDecoder();
    let frames = 0;
    for (let at = 0; at < stream.length; at += size) {
      frames += decoder.push(Uint8Array.from(stream.slice(at, at + size))).length;
    }
    assert.equal(frames, 4, `in pieces of ${size}`);
  }
});

test("FrameDecoder.push() throws, when a length is negative or beyond all reason", () => {
  for (const hex of ["ffffffff", "7fffffff", "48545450"]) {
    assert.throws(() => new FrameDecoder().push(Uint8Array.from(bytesOf(hex))), /no ZooKeeper server/, hex);
  }
});

for (const [name, { operation, asked, answered }] of Object.entries(RECORDED)) {
  test(`${name} is asked as it was recorded, and reads what was answered`, async () => {
    const xid = parseInt(asked.slice(8, 16), 16);
    assert.equal(hexOf(protocol.numberRequest(protocol.requestFrame(operation), xid)), asked);
    await using server = await scriptedServer();
    const { client } = clientOf([server]);
    const { peer } = await welcome(server);
    await client.connected();
    const result = client.call(operation, never).then((value) => ({ value }), (error: unknown) => ({ error }));
    assert.equal(await peer.next(), numbered(asked, 1));
    peer.send(numbered(answered, 1));
    const outcome = await result;
    if (name.includes("refused") || name.includes("missing")) {
      assert.ok("error" in outcome && protocol.isError(outcome.error, protocol.ErrorCode.noNode));
    } else {
      assert.ok("value" in outcome, name);
    }
    if (name.includes("sequential")) {
      const stat = { czxid: 3n, ctime: 1795435098713, mtime: 1795435098713, version: 0 };
      assert.deepEqual(outcome, { value: { path: NODE, stat: { ...stat, ephemeralOwner: 0x1000035fd8f0000n } } });
    }
    if (name === "getChildren()") assert.deepEqual(outcome, { value: ["_c_1-term-latch-0000000000"] });
    peer.end();
    await client.close();
  });
}

test("ZooKeeperClient says who it is before anything else, pings when idle, and leaves no timer when closed", async () => {
  await using server = await scriptedServer();
  const { client, timers } = clientOf([server], { sessionTimeout: 3_000, credentials: "u:p" });
  const { peer, asked } = await welcome(server);
  assert.equal(asked, CONNECT);
  assert.equal(await peer.next(), AUTH);
  peer.send(AUTHENTICATED);
  await client.connected();
  assert.equal(client.sessionTimeout, 3_000);
  assert.equal(await peer.next(), PING);
  peer.send(PONG);
  const closing = client.close();
  assert.equal(await peer.next(), numbered(CLOSE, 1));
  peer.send(numbered(CLOSED, 1));
  peer.end();
  await closing;
  assert.equal(timers.size, 0, "a timer would keep the process alive");
  await assert.rejects(client.call(SYNC, never), /closed/);
  await assert.rejects(client.connected(), /closed/);
});

test("ZooKeeperClient.call() never sends what was aborted before it was written", async () => {
  await using server = await scriptedServer();
  const { client } = clientOf([server]);
  const { peer } = await welcome(server);
  await client.connected();
  const reason = new Error("given up");
  const abort = new AbortController();
  const aborted = client.call(protocol.remove(NODE), abort.signal);
  abort.abort(reason);
  await assert.rejects(aborted, (error) => error === reason);
  await assert.rejects(client.call(protocol.remove(NODE), abort.signal), (error) => error === reason);
  const next = client.call(SYNC, never);
  assert.equal(
    await peer.next(),
    numbered(RECORDED["sync()"]?.asked ?? "", 1),
    "the first frame is of the second call",
  );
  peer.send(numbered(RECORDED["sync()"]?.answered ?? "", 1));
  assert.equal(await next, "/");
  peer.end();
  await client.close();
});

test("ZooKeeperClient.call() drops the reply to what was aborted later, and tells the next ones apart", async () => {
  await using server = await scriptedServer();
  const { client } = clientOf([server]);
  const { peer } = await welcome(server);
  await client.connected();
  const abort = new AbortController();
  const aborted = client.call(protocol.getChildren("/g"), abort.signal);
  const second = client.call(SYNC, never);
  await peer.next();
  await peer.next();
  abort.abort(new Error("given up"));
  await assert.rejects(aborted, /given up/);
  peer.send(numbered(RECORDED["getChildren()"]?.answered ?? "", 1) + numbered(RECORDED["sync()"]?.answered ?? "", 2));
  assert.equal(await second, "/");
  assert.equal(client.attachments, 1, "the connection is as good as before");
  peer.end();
  await client.close();
});

test("ZooKeeperClient takes its session to another server, when the connection is lost, and fires its watches", async () => {
  await using first = await scriptedServer();
  await using second = await scriptedServer();
  const { client } = clientOf([first, second]);
  const { peer } = await welcome(first);
  await client.connected();
  let fired = 0;
  const watched = client.call(protocol.getData(NODE, true), never, () => fired++);
  await peer.next();
  peer.send(numbered(RECORDED["getData() with a watch"]?.answered ?? "", 1));
  await watched;
  const unanswered = client.call(SYNC, never);
  await peer.next();
  peer.end();
  await assert.rejects(unanswered, (error) => protocol.isError(error, protocol.ErrorCode.connectionLoss));
  assert.equal(fired, 1, "what the watch was for may have happened meanwhile");
  const { peer: next, asked } = await welcome(second);
  // The newest transaction that was seen, the session and its password go along.
  assert.equal(
    asked,
    "0000002d00000000000000000000000300000bb801000035fd8f000000000010c3f4fb57949a875ed9940e95fd9e9e8c00",
  );
  await client.connected();
  assert.equal(client.attachments, 2);
  next.end();
  await client.close();
});

test("ZooKeeperClient fires a watch once, when its event comes", async () => {
  await using server = await scriptedServer();
  const { client } = clientOf([server]);
  const { peer } = await welcome(server);
  await client.connected();
  let fired = 0;
  const watched = client.call(protocol.getData(NODE, true), never, () => fired++);
  await peer.next();
  peer.send(numbered(RECORDED["getData() with a watch"]?.answered ?? "", 1) + DELETED + DELETED);
  await watched;
  const next = client.call(SYNC, never);
  await peer.next();
  peer.send(numbered(RECORDED["sync()"]?.answered ?? "", 2));
  await next;
  assert.equal(fired, 1);
  peer.end();
  await client.close();
  assert.equal(fired, 1, "it is spent");
});

test("ZooKeeperClient ends, when its session has expired", async () => {
  await using server = await scriptedServer();
  const { client, timers } = clientOf([server]);
  const { peer } = await welcome(server);
  await client.connected();
  peer.end();
  const again = await server.accept();
  await again.next();
  again.send(EXPIRED);
  await assert.rejects(
    client.reconnected(never),
    (error) => protocol.isError(error, protocol.ErrorCode.sessionExpired),
  );
  assert.ok(protocol.isError(client.ended, protocol.ErrorCode.sessionExpired));
  await assert.rejects(client.call(SYNC, never), /expired/);
  assert.equal(timers.size, 0);
});

test("ZooKeeperClient leaves a server that is silent for two thirds of the session", async () => {
  await using frozen = await scriptedServer();
  await using other = await scriptedServer();
  const { client } = clientOf([frozen, other], { sessionTimeout: 600 });
  const peer = await frozen.accept();
  await peer.next();
  peer.send(CONNECTED.replace("00000bb8", "00000258"));
  await client.connected();
  const start = systemClock.monotonic();
  const hanging = client.call(SYNC, AbortSignal.timeout(20_000));
  await assert.rejects(hanging, /no sign of life/);
  const silent = systemClock.monotonic() - start;
  assert.ok(silent >= 390 && silent < 5_000, `it was silent for ${silent} ms`);
  const { asked } = await welcome(other);
  assert.ok(asked?.includes("01000035fd8f0000"), "the session goes along");
  await client.connected();
  await other[Symbol.asyncDispose]();
  await client.close();
});

test("ZooKeeperClient leaves a server, when a call is given up after a quarter of the session without a sign of life", async () => {
  await using frozen = await scriptedServer();
  await using other = await scriptedServer();
  const { client } = clientOf([frozen, other], { sessionTimeout: 3_000 });
  await welcome(frozen);
  await client.connected();
  await assert.rejects(client.call(SYNC, AbortSignal.timeout(900)), { name: "TimeoutError" });
  await welcome(other);
  await client.connected();
  assert.equal(client.attachments, 2);
  await other[Symbol.asyncDispose]();
  await client.close();
});

test("ZooKeeperClient drops a connection that talks nonsense, and fails the calls on it", async () => {
  const nonsense = {
    "a reply to nothing": numbered(RECORDED["sync()"]?.answered ?? "", 77),
    "a reply that is cut short": "000000120000000100000000000000050000000000ff",
    "a frame without a header": "0000000100",
    "a length of 2 GiB": "7fffffff",
    "another protocol": "485454502f312e3120343030",
  };
  for (const [what, hex] of Object.entries(nonsense)) {
    await using server = await scriptedServer();
    const { client } = clientOf([server]);
    const { peer } = await welcome(server);
    await client.connected();
    const call = client.call(SYNC, never);
    await peer.next();
    peer.send(hex);
    await assert.rejects(call, Error, what);
    assert.equal(await peer.next(), null, `${what}: the connection is dropped`);
    const { peer: next } = await welcome(server);
    await client.connected();
    next.end();
    await client.close();
  }
});

test("ZooKeeperClient ends with a reason for each server, when none can be reached", async () => {
  const gone = await scriptedServer();
  await gone[Symbol.asyncDispose]();
  await using deaf = await scriptedServer();
  await using rude = await scriptedServer();
  const { client, timers } = clientOf([gone, deaf, rude], { sessionTimeout: 900 });
  const connected = client.connected();
  connected.catch(() => {});
  const hungUp = rude.accept().then((peer) => peer.end());
  await assert.rejects(connected, (error: Error) => {
    for (const { address: { port } } of [gone, deaf, rude]) {
      assert.ok(error.message.includes(`:${port}: `), error.message);
    }
    assert.match(error.message, /no answer within 300 ms/);
    return true;
  });
  await hungUp;
  await assert.rejects(client.call(SYNC, never), /no server could be reached/);
  assert.equal(timers.size, 0);
});

test("ZooKeeperClient rejects calls at once, when there is no connection", async () => {
  await using server = await scriptedServer();
  const { client } = clientOf([server]);
  await assert.rejects(client.call(SYNC, never), (error) => protocol.isError(error, protocol.ErrorCode.connectionLoss));
  const { peer } = await welcome(server);
  await client.connected();
  const next = client.call(SYNC, never);
  assert.equal(await peer.next(), numbered(RECORDED["sync()"]?.asked ?? "", 1), "the rejected call was not kept");
  peer.end();
  await next.catch(() => {});
  await client.close();
});
