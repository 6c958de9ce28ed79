// deno-lint-ignore-file camelcase -- columns are named as the server names them
/** The SQL Server provider and its real driver, against servers that are silent, hang, or answer from a script. */

import assert from "node:assert/strict";
import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import { test } from "node:test";
import { sqlserverProvider } from "../../providers/sqlserver.ts";
import { ProviderError } from "../../src/errors.ts";
import type { Provider } from "../../src/provider.ts";
import { type Answer, startTdsServer, type TdsOptions, type TdsServer } from "./sqlserver/tds_server.ts";
import { until } from "../until.ts";

const soon = () => ({ signal: AbortSignal.timeout(10_000) });
const request = { electionGroup: "g", participantId: "p", termId: "t", heartbeatTimeout: 1_500, metadata: { k: "v" } };
const lease = { ...request, token: 1n, acquiredAt: new Date(0) };

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

test("acquire() rejects within connectTimeout, and is tried anew, when nobody answers", async () => {
  const silent = await silentServer();
  const url = `sqlserver://me:secret@127.0.0.1:${silent.port}/d?encrypt=false&connectTimeout=200ms`;
  const provider = sqlserverProvider({ url });
  try {
    for (let calls = 1; calls <= 2; calls++) {
      const error = await provider.acquire(request, soon()).then(() => null, (error) => error);
      assert.ok(error instanceof ProviderError);
      assert.match(error.message, /Failed to connect to 127\.0\.0\.1:\d+ in 200ms/);
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
  options: TdsOptions & { settings?: string } = {},
): Promise<void> {
  const { settings = "", ...tds } = options;
  const server = await startTdsServer(answers, tds);
  const provider = sqlserverProvider({
    url: `sqlserver://me:secret@127.0.0.1:${server.port}/d?encrypt=false${settings}`,
  });
  try {
    await work(provider, server);
    await provider[Symbol.asyncDispose]();
    await until("closed", () => server.open() === 0);
  } finally {
    server.close();
  }
}

const row = {
  participant_id: "p",
  term_id: "t",
  token: 9007199254740993n,
  acquired_at: 1700000000123n,
  heartbeat_at: 1700000000456n,
  version: 7n,
  lease_ms: 1_500n,
  server_now: 1700000000500n,
  metadata: "{}",
  expires_in: 1_000n,
};
const granted = { ...row, granted: 1n };

test("the driver sends one request for each call, and reads numbers as they are", async () => {
  await withDriver([granted, row, null, { held: 1n }], async (provider, server) => {
    const answer = await provider.acquire(request, soon());
    assert.ok(answer.acquired);
    assert.equal(answer.lease.token, 9007199254740993n);
    assert.equal(answer.lease.acquiredAt.getTime(), 1700000000123);
    assert.equal((await provider.read("g", soon()))?.expiresIn, 1_000);
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
    const before = server.logins();
    assert.equal((await provider.read("g", soon()))?.termId, "t");
    assert.equal(server.logins(), before);
  }, { settings: "&poolSize=1&statementTimeout=1m" });
});

test("calls that wait for a connection are not sent, when they are aborted", async () => {
  await withDriver(Array.from({ length: 4 }, () => "hang" as const), async (provider, server) => {
    const stop = new AbortController();
    const calls = Array.from({ length: 20 }, () => provider.renew(lease, { signal: stop.signal }));
    const settled = Promise.allSettled(calls);
    await until("sent", () => server.requests() === 4);
    stop.abort(new Error("enough"));
    assert.ok((await settled).every(({ status }) => status === "rejected"));
    await until("cancelled", () => server.attentions() === 4);
    assert.equal(await provider.read("g", soon()), null);
    assert.equal(server.requests(), 5);
  });
});

test("a call that waited for the first connection is not sent, when its caller has gone", async () => {
  const { promise: welcome, resolve: letIn } = Promise.withResolvers<void>();
  await withDriver([row], async (provider, server) => {
    const stop = new AbortController();
    const rejected = assert.rejects(provider.acquire(request, { signal: stop.signal }), /enough/);
    await until("asked for", () => server.introductions().length === 1);
    stop.abort(new Error("enough"));
    await rejected;
    letIn();
    assert.equal((await provider.read("g", soon()))?.termId, "t", "the answer is for who still waits");
    assert.equal(server.requests(), 1);
  }, { login: () => welcome });
});

test("a connection that breaks is replaced, and ends no process", async () => {
  await withDriver([row, row], async (provider, server) => {
    assert.equal((await provider.read("g", soon()))?.termId, "t");
    server.hangUp();
    await until("broken", () => server.open() === 0);
    // What the driver has not noticed yet may fail once.
    const again = await provider.read("g", soon()).catch(() => provider.read("g", soon()));
    assert.equal(again?.termId, "t");
  });
});

test("renew() has a connection that looks cannot take, when as many look as there are connections", async () => {
  await withDriver(["hang", "hang", "hang", { held: 1n }], async (provider, server) => {
    const stop = new AbortController();
    const looks = Array.from({ length: 20 }, () => provider.read("g", { signal: stop.signal }));
    const settled = Promise.allSettled(looks);
    await until("sent", () => server.requests() === 3);
    assert.equal(await provider.renew(lease, soon()), "renewed");
    assert.equal(server.requests(), 4);
    stop.abort(new Error("enough"));
    await settled;
  });
});

test("renew() has a connection, when looks that were given up hold theirs", async () => {
  const { promise: acknowledged, resolve: acknowledge } = Promise.withResolvers<void>();
  await withDriver(["hang", "hang", "hang", { held: 1n }], async (provider, server) => {
    const patient = { ...lease, heartbeatTimeout: 60_000 };
    await provider.renew(patient, { signal: AbortSignal.abort() }).catch(() => {});
    const stop = new AbortController();
    const looks = Array.from({ length: 3 }, () => provider.read("g", { signal: stop.signal }));
    const settled = Promise.allSettled(looks);
    await until("sent", () => server.requests() === 3);
    stop.abort(new Error("enough"));
    await settled;
    // The server has not acknowledged: who looks next waits, and takes nothing that a heartbeat needs.
    const next = provider.read("g", soon());
    assert.equal(await provider.renew(patient, soon()), "renewed");
    assert.equal(server.requests(), 4);
    acknowledge();
    assert.equal(await next, null);
  }, { acknowledge: () => acknowledged });
});

test("a connection whose server does not acknowledge is given up, within a lease", async () => {
  await withDriver(["hang", row], async (provider, server) => {
    const stop = new AbortController();
    const rejected = assert.rejects(provider.acquire(request, { signal: stop.signal }), /enough/);
    await until("sent", () => server.requests() === 1);
    stop.abort(new Error("enough"));
    await rejected;
    await until("given up", () => server.open() === 0);
    assert.equal((await provider.read("g", soon()))?.termId, "t");
  }, { deaf: true });
});

test("a connection is kept, when a slow server acknowledges within the lease", async () => {
  const slow = () => new Promise((resolve) => setTimeout(resolve, 1_500));
  const patient = { ...lease, heartbeatTimeout: 15_000 };
  await withDriver(["hang", { held: 1n }], async (provider, server) => {
    const stop = new AbortController();
    const rejected = assert.rejects(provider.renew(patient, { signal: stop.signal }), /enough/);
    await until("sent", () => server.requests() === 1);
    stop.abort(new Error("enough"));
    await rejected;
    await until("cancelled", () => server.attentions() === 1);
    // Both need the one connection, and no other is made.
    assert.equal(await provider.renew(patient, soon()), "renewed");
    assert.equal(server.logins(), 2, "the one that tries whether the server is there, and the one that is used");
  }, { acknowledge: slow, settings: "&poolSize=1" });
});

test("connections are made one by one, when many call a slow server at once", async () => {
  const slow = () => new Promise((resolve) => setTimeout(resolve, 50));
  await withDriver([], async (provider, server) => {
    const answers = await Promise.all(Array.from({ length: 50 }, () => provider.renew(lease, soon())));
    assert.deepEqual(new Set(answers), new Set(["lost"]));
    assert.equal(server.mostLogins(), 1);
    assert.ok(server.logins() <= 5, "no more than the pool may have, and one to try");
  }, { login: slow });
});

test("no transaction is opened, whatever the target says of it", async () => {
  for (const target of ["Transaction Binding=Implicit Unbind", "Transaction Binding=Explicit Unbind", ""]) {
    const server = await startTdsServer([granted]);
    const url = `Server=127.0.0.1,${server.port};User=me;Pwd=secret;Encrypt=no;Connection Timeout=30;${target}`;
    const provider = sqlserverProvider({ url });
    try {
      assert.ok((await provider.acquire(request, soon())).acquired);
      assert.match(server.setups().join("\n"), /set implicit_transactions off/);
      assert.doesNotMatch(server.setups().join("\n"), /implicit_transactions on/);
    } finally {
      await provider[Symbol.asyncDispose]();
      server.close();
    }
  }
});

test("a late statement of a call that was given up holds up no other, and its answer counts for none", async () => {
  const { promise: released, resolve: release } = Promise.withResolvers<void>();
  const late = { after: released, reply: null };
  await withDriver([late, { held: 1n }, { held: 1n }], async (provider, server) => {
    const stop = new AbortController();
    const rejected = assert.rejects(provider.renew(lease, { signal: stop.signal }), /enough/);
    await until("sent", () => server.requests() === 1);
    stop.abort(new Error("enough"));
    await rejected;
    assert.equal(await provider.renew(lease, soon()), "renewed", "another connection takes it");
    release();
    assert.equal(await provider.renew(lease, soon()), "renewed");
    assert.equal(server.requests(), 3);
  }, { acknowledge: () => released });
});

test("the connections are left, when the server is no primary any more", async () => {
  for (const number of [3906, 976, 40613]) {
    await withDriver([granted, number, { held: 1n }], async (provider, server) => {
      assert.ok((await provider.acquire(request, soon())).acquired);
      const before = server.logins();
      await assert.rejects(provider.renew(lease, soon()), /Leases need the primary/);
      await until("left", () => server.open() === 0);
      assert.equal(await provider.renew(lease, soon()), "renewed");
      assert.ok(server.logins() > before, "on a new connection");
    });
  }
});

test("a connection is kept, when a statement was chosen as a deadlock's victim", async () => {
  await withDriver([granted, 1205, { held: 1n }], async (provider, server) => {
    assert.ok((await provider.acquire(request, soon())).acquired);
    const before = server.logins();
    await assert.rejects(provider.renew(lease, soon()), /error 1205/);
    assert.equal(await provider.renew(lease, soon()), "renewed");
    assert.equal(server.logins(), before);
  });
});

test("errors name the server and the backend, when it is frozen", async () => {
  await withDriver(Array.from({ length: 9 }, () => "hang" as const), async (provider, server) => {
    const address = `127.0.0.1:${server.port}`;
    const patience = () => ({ signal: AbortSignal.timeout(200) });
    for (
      const call of [
        () => provider.read("g", patience()),
        () => provider.groups?.(patience()),
        () => provider.healthCheck(patience()),
        // No connection is free for these, or will be.
        () => provider.release(lease, patience()),
        () => provider.renew(lease, patience()),
      ]
    ) {
      await assert.rejects(async () => await call(), (error) => {
        assert.ok(error instanceof ProviderError);
        assert.ok(error.message.includes("sqlserver") && error.message.includes(address), error.message);
        assert.match(error.message, /no answer/);
        return true;
      });
    }
  }, { deaf: true });
  for (const deaf of [false, true]) {
    await withDriver(["hang"], async (provider, server) => {
      const forever = { signal: new AbortController().signal };
      const silent = new RegExp(`(complete in 200|cancel request in 1000)ms, from 127\\.0\\.0\\.1:${server.port}`);
      await assert.rejects(provider.renew(lease, forever), silent);
    }, { settings: "&statementTimeout=200ms", deaf });
  }
});

test("[Symbol.asyncDispose]() closes every connection at once, when the server hangs", async () => {
  await withDriver(Array.from({ length: 9 }, () => "hang" as const), async (provider, server) => {
    const { signal } = new AbortController();
    const heartbeatTimeout = 600_000;
    const calls = [
      ...[
        provider.renew({ ...lease, heartbeatTimeout }, { signal }),
        provider.acquire({ ...request, heartbeatTimeout }, { signal }),
      ],
      ...Array.from({ length: 5 }, () => provider.read("g", { signal })),
    ];
    const settled = Promise.allSettled(calls);
    await until("sent", () => server.requests() >= 2);
    let isClosed = false;
    void Promise.resolve(provider[Symbol.asyncDispose]()).then(() => isClosed = true);
    await until("closed", () => isClosed);
    for (const result of await settled) {
      assert.ok(result.status === "rejected");
      assert.match(result.reason.message, /the provider is closed/);
    }
  }, { deaf: true, settings: "&statementTimeout=10m" });
});

test("a host name is connected to by that name", async () => {
  const server = await startTdsServer([row]);
  const provider = sqlserverProvider({ url: `sqlserver://localhost:${server.port}/d?encrypt=false` });
  try {
    assert.equal((await provider.read("g", soon()))?.termId, "t");
  } finally {
    await provider[Symbol.asyncDispose]();
    server.close();
  }
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
