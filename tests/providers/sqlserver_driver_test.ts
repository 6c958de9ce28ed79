// deno-lint-ignore-file camelcase -- columns are named as the server names them
/** The SQL Server provider and its real driver, against servers that are silent, hang, or answer from a script. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { test } from "node:test";
import { sqlserverProvider } from "../../providers/sqlserver.ts";
import { ProviderError } from "../../src/errors.ts";
import type { Provider } from "../../src/provider.ts";
import { type Answer, startTdsServer, type TdsServer } from "./sqlserver/tds_server.ts";

const soon = () => ({ signal: AbortSignal.timeout(10_000) });
const request = { electionGroup: "g", participantId: "p", termId: "t", heartbeatTimeout: 1_500, metadata: { k: "v" } };

test("acquire() is bounded by its signal, and closing ends the connection, when the server is silent", async () => {
  const silent = await silentServer();
  try {
    const provider = sqlserverProvider({ url: `sqlserver://me:secret@127.0.0.1:${silent.port}/d?encrypt=false` });
    const stop = new AbortController();
    const waiting = provider.read("g", { signal: new AbortController().signal });
    const closed = assert.rejects(waiting, /the provider is closed/);
    const aborted = assert.rejects(provider.acquire(request, { signal: stop.signal }), /enough/);
    const socket = await silent.first;
    stop.abort(new Error("enough"));
    await aborted;
    const gone = once(socket, "close");
    await provider[Symbol.asyncDispose]();
    await closed;
    await gone;
  } finally {
    silent.close();
  }
});

test("acquire() rejects within statementTimeout, and is tried anew, when nobody answers", async () => {
  const silent = await silentServer();
  const url = `sqlserver://me:secret@127.0.0.1:${silent.port}/d?encrypt=false&statementTimeout=200ms`;
  const provider = sqlserverProvider({ url });
  try {
    for (let calls = 1; calls <= 2; calls++) {
      const error = await provider.acquire(request, soon()).then(() => null, (error) => error);
      assert.ok(error instanceof ProviderError);
      assert.match(error.message, /Failed to connect to 127\.0\.0\.1/);
      assert.doesNotMatch(`${error.message} ${error.stack}`, /secret/);
      assert.equal(silent.count(), calls);
    }
  } finally {
    silent.close();
  }
  await assert.rejects(provider.acquire(request, soon()), /ECONNREFUSED|Failed to connect/);
  await provider[Symbol.asyncDispose]();
});

/** What the real driver makes of it, when a server answers with `answers`. */
async function withDriver(
  answers: Answer[],
  work: (provider: Provider, server: TdsServer) => Promise<void>,
  options: { deaf?: boolean } = {},
): Promise<void> {
  const server = await startTdsServer(answers, options);
  const provider = sqlserverProvider({ url: `sqlserver://me:secret@127.0.0.1:${server.port}/d?encrypt=false` });
  try {
    await work(provider, server);
    await provider[Symbol.asyncDispose]();
    await until("closed", () => server.open() === 0);
  } finally {
    server.close();
  }
}

async function until(what: string, condition: () => boolean): Promise<void> {
  const deadline = AbortSignal.timeout(5_000);
  while (!condition()) {
    assert.ok(!deadline.aborted, `not ${what} in time`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

const row = {
  participant_id: "p",
  term_id: "t",
  token: 9007199254740993n,
  acquired_at: 1700000000123n,
  heartbeat_at: 1700000000456n,
  metadata: "{}",
  expires_in: 5_000n,
};

test("the driver sends one request for each call, and reads numbers as they are", async () => {
  await withDriver([row, row, null, { held: 1n }], async (provider, server) => {
    const answer = await provider.acquire(request, soon());
    assert.ok(answer.acquired);
    assert.equal(answer.lease.token, 9007199254740993n);
    assert.equal(answer.lease.acquiredAt.getTime(), 1700000000123);
    assert.equal((await provider.read("g", soon()))?.expiresIn, 5_000);
    assert.equal(await provider.read("g", soon()), null);
    assert.equal(await provider.renew(answer.lease, soon()), "renewed");
    assert.equal(server.requests(), 4);
  });
});

test("the driver's errors bear the server's number", async () => {
  await withDriver([208, 3906], async (provider) => {
    assert.equal(await provider.read("g", soon()), null);
    await assert.rejects(provider.acquire(request, soon()), /Leases need the primary/);
  });
});

test("an aborted call is cancelled at the server, and the connection serves the next", async () => {
  await withDriver(["hang", row], async (provider, server) => {
    const stop = new AbortController();
    const aborted = assert.rejects(provider.acquire(request, { signal: stop.signal }), /enough/);
    await until("sent", () => server.requests() === 1);
    stop.abort(new Error("enough"));
    await aborted;
    await until("cancelled", () => server.attentions() === 1);
    assert.equal((await provider.read("g", soon()))?.termId, "t");
  });
});

test("calls that wait for a connection are not sent, when they are aborted", async () => {
  await withDriver(Array.from({ length: 4 }, () => "hang" as const), async (provider, server) => {
    const stop = new AbortController();
    const calls = Array.from({ length: 20 }, () => provider.acquire(request, { signal: stop.signal }));
    const settled = Promise.allSettled(calls);
    await until("sent", () => server.requests() === 4);
    stop.abort(new Error("enough"));
    assert.ok((await settled).every(({ status }) => status === "rejected"));
    await until("cancelled", () => server.attentions() === 4);
    assert.equal(await provider.read("g", soon()), null);
    assert.equal(server.requests(), 5);
  });
});

test("a connection whose server does not acknowledge is given up", async () => {
  await withDriver(["hang", row], async (provider, server) => {
    const call = provider.acquire(request, { signal: AbortSignal.timeout(100) });
    await assert.rejects(call);
    await until("given up", () => server.open() === 0);
    assert.equal((await provider.read("g", soon()))?.termId, "t");
  }, { deaf: true });
});

test("[Symbol.asyncDispose]() closes every connection at once, when the server hangs", async () => {
  await withDriver(["hang", "hang"], async (provider, server) => {
    const { signal } = new AbortController();
    const calls = [provider.read("g", { signal }), provider.acquire(request, { signal })];
    const settled = Promise.allSettled(calls);
    await until("sent", () => server.requests() === 2);
    await provider[Symbol.asyncDispose]();
    for (const result of await settled) {
      assert.ok(result.status === "rejected");
      assert.match(result.reason.message, /the provider is closed/);
    }
  }, { deaf: true });
});

/** A server that accepts connections and says nothing. */
async function silentServer(): Promise<{ port: number; first: Promise<Socket>; count(): number; close(): void }> {
  const sockets: Socket[] = [];
  const silent = createServer((socket) => {
    // What it is told is read, or it would not learn that the connection has ended.
    sockets.push(socket.on("error", () => {}).resume());
  });
  const first = once(silent, "connection").then(([socket]) => socket as Socket);
  silent.listen(0, "127.0.0.1");
  await once(silent, "listening");
  return {
    port: (silent.address() as AddressInfo).port,
    first,
    count: () => sockets.length,
    close() {
      for (const socket of sockets) socket.destroy();
      silent.close();
    },
  };
}
