/** The MySQL provider over networks that lose things, and at servers that hang. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { connect, createServer, type Socket } from "node:net";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import { patience } from "../../slowness.ts";
import { programOf, RUNTIMES } from "../../runner/runtimes.ts";
import { mysqlServer } from "../../servers/mysql.ts";
import type { TestServer } from "../../servers/server.ts";
import { acquire, Gate, lead, newTable, Providers, soon, sql } from "./support.ts";
import { until } from "../../until.ts";
import { testWithServer } from "../own_server.ts";

/** Runs `work` with a server of its own, if MariaDB can be had here. */
function withServer(
  name: string,
  work: (server: TestServer, providers: Providers, t: Deno.TestContext) => Promise<void>,
): void {
  testWithServer(mysqlServer, () => new Providers(), name, work);
}

/** A proxy that counts the commands that clients send: each is a packet whose number is 0. */
class Counter {
  commands = 0;
  /** Connections that were begun. */
  connections = 0;
  readonly #server = createServer((client) => this.#join(client));
  readonly #sockets = new Set<Socket>();
  readonly #target: number;

  private constructor(target: number) {
    this.#target = target;
  }

  static async start(url: string): Promise<Counter> {
    const counter = new Counter(Number(new URL(url).port));
    await new Promise<void>((resolve) => counter.#server.listen(0, "127.0.0.1", resolve));
    return counter;
  }

  /** `url`, by way of this. */
  through(url: string): string {
    const address = this.#server.address();
    const changed = new URL(url);
    changed.port = String(typeof address === "object" ? address?.port : "");
    return changed.href;
  }

  close(): void {
    for (const socket of this.#sockets) socket.destroy();
    this.#server.close();
  }

  #join(client: Socket): void {
    this.connections++;
    const server = connect({ port: this.#target, host: "127.0.0.1" });
    let left = new Uint8Array();
    client.on("data", (chunk: Uint8Array) => {
      left = new Uint8Array([...left, ...chunk]);
      for (;;) {
        const [a, b, c, number] = left;
        if (a === undefined || b === undefined || c === undefined || number === undefined) break;
        const length = 4 + a + (b << 8) + (c << 16);
        if (left.length < length) break;
        if (number === 0) this.commands++;
        left = left.slice(length);
      }
      server.write(chunk);
    });
    server.on("data", (chunk: Uint8Array) => client.write(chunk));
    for (const socket of [client, server]) {
      this.#sockets.add(socket);
      // As the driver and the server do: else a reply in two pieces waits 40 ms for an acknowledgement.
      socket.setNoDelay(true).on("error", () => {});
      socket.on("close", () => [client, server].forEach((each) => each.destroy()));
    }
  }
}

withServer("every operation is one round trip, and so are the heartbeats of a thousand", async (server, providers) => {
  const counter = await Counter.start(server.url);
  try {
    // One connection for calls, and the one for heartbeats is warm.
    const provider = providers.open({ url: counter.through(server.url), table: newTable(), poolSize: 1 });
    const lease = await lead(provider, "g");
    const again = await lead(provider, "again");
    await provider.renew(lease, soon());
    await provider.release(again, soon());
    const calls: [string, () => Promise<unknown>][] = [
      ["acquire, of a new group", () => lead(provider, "new")],
      ["acquire, of a free group", () => lead(provider, "again")],
      ["acquire, held", async () => assert.ok(!(await acquire(provider, "g")).acquired)],
      ["renew", async () => assert.equal(await provider.renew(lease, soon()), "renewed")],
      ["renew, with metadata", () => provider.renew(lease, { ...soon(), metadata: { a: "b" } })],
      ["renew, lost", async () => assert.equal(await provider.renew({ ...lease, termId: "x" }, soon()), "lost")],
      ["read", () => provider.read("g", soon())],
      ["groups", () => provider.groups?.(soon()) ?? Promise.resolve()],
      ["healthCheck", () => provider.healthCheck(soon())],
      ["release", async () => assert.equal(await provider.release(lease, soon()), "released")],
      ["release, by another", async () => assert.equal(await provider.release(lease, soon()), "notHolder")],
    ];
    for (const [name, call] of calls) {
      const before = counter.commands;
      await call();
      assert.equal(counter.commands - before, 1, name);
    }
    const leases = await Promise.all(Array.from({ length: 1_000 }, (_, i) => lead(provider, `g${i}`)));
    const before = counter.commands;
    const outcomes = await Promise.all(leases.map((each) => provider.renew(each, soon())));
    assert.ok(outcomes.every((outcome) => outcome === "renewed"));
    // The second connection for heartbeats may be made for it: one trip to log in, and one to set it up.
    assert.ok(counter.commands - before <= 3, `${counter.commands - before} commands`);
    assert.ok(counter.connections <= 3, `${counter.connections} connections`);
  } finally {
    counter.close();
  }
});

const LATE = new Error("it outlives its time");

withServer("a server that hangs is not pressed upon, and no call outlives its time", async (server, providers) => {
  const counter = await Counter.start(server.url);
  try {
    const url = counter.through(server.url);
    const provider = providers.open({ url, table: newTable(), statementTimeout: "300ms" });
    const lease = await lead(provider, "g");
    await server.freeze();
    const before = counter.connections;
    const forEver = { signal: new AbortController().signal };
    const calls = [
      ...Array.from({ length: 40 }, (_, i) => acquire(provider, `h${i}`, forEver)),
      ...Array.from({ length: 5 }, () => provider.renew(lease, forEver)),
    ];
    // Each connection is given up in its time, and at most six are being made.
    const late = new Promise<never>((_, reject) => soon().signal.addEventListener("abort", () => reject(LATE)));
    late.catch(() => {});
    const settled = Promise.allSettled(calls);
    for (const call of [calls[0], calls.at(-1)]) {
      await assert.rejects(Promise.race([call, late]), (error) => error !== LATE);
    }
    await Promise.race([settled, new Promise((resolve) => setTimeout(resolve, patience(1_500)))]);
    assert.ok(counter.connections - before <= 6 * patience(1_500) / 250, `${counter.connections - before} connections`);
    await provider[Symbol.asyncDispose]();
    for (const { status } of await settled) assert.equal(status, "rejected");
  } finally {
    await server.thaw();
    counter.close();
  }
});

withServer("a call that was given up is not run later", async (server, providers) => {
  const table = newTable();
  const provider = providers.open({ url: server.url, table, poolSize: 1 });
  const lease = await lead(provider, "first");
  await provider.renew(lease, soon());
  await server.freeze();
  const bound = () => ({ signal: AbortSignal.timeout(300) });
  // The first has the connection, the others wait behind it.
  const calls = Array.from({ length: 10 }, (_, i) => acquire(provider, `late${i}`, bound()));
  for (const { status } of await Promise.allSettled(calls)) assert.equal(status, "rejected");
  await server.thaw();
  await lead(provider, "last");
  const groups = await provider.groups?.(soon()) ?? [];
  assert.ok(groups.filter((group) => group.startsWith("late")).length <= 1, groups.join());
});

withServer("a connection for heartbeats that dies without a word costs one heartbeat", async (server, providers) => {
  const gate = await Gate.start(server.url);
  try {
    const table = newTable();
    const provider = providers.open({ url: gate.through(server.url), table });
    const lease = await lead(provider, "g");
    assert.equal(await provider.renew(lease, soon()), "renewed");
    assert.ok(gate.kill(new RegExp(`UPDATE .${table}. FORCE INDEX`)) >= 1);
    await assert.rejects(provider.renew(lease, { signal: AbortSignal.timeout(300) }));
    assert.equal(await provider.renew(lease, soon()), "renewed");
  } finally {
    gate.close();
  }
});

withServer(
  "a connection to a server that hangs is closed, both ways, when its call is given up",
  async (server, providers) => {
    const clients: Socket[] = [];
    let hangs = false;
    const { port } = new URL(server.url);
    const proxy = createServer({ allowHalfOpen: true }, (client) => {
      clients.push(client.on("error", () => {}));
      const upstream = connect({ port: Number(port), host: "127.0.0.1" }).on("error", () => {});
      upstream.on("data", (chunk) => client.write(chunk));
      client.on("data", (chunk) => hangs || upstream.write(chunk)).on("close", () => upstream.destroy());
    });
    try {
      await once(proxy.listen(0, "127.0.0.1"), "listening");
      const address = proxy.address();
      assert.ok(address !== null && typeof address === "object");
      const url = server.url.replace(`:${port}/`, `:${address.port}/`);
      const provider = providers.open({ url, table: newTable(), poolSize: 1 });
      await provider.release(await lead(provider, "g"), soon());
      hangs = true;
      const before = clients.length;
      await assert.rejects(provider.read("g", { signal: AbortSignal.timeout(300) }));
      assert.equal(clients.length, before, "the call had a connection");
      // One that has only said farewell takes what is still sent, here the beginning of a long packet; one that is
      // closed answers with a reset.
      const beginning = Uint8Array.of(0xff, 0xff, 0x7f, 1);
      await until("closed", () => clients.some((client) => client.destroyed || void client.write(beginning)), 5_000);
    } finally {
      for (const client of clients) client.destroy();
      proxy.close();
    }
  },
);

withServer("connections that the server closes are replaced", async (server, providers) => {
  const provider = providers.open({ url: server.url, table: newTable() });
  const lease = await lead(provider, "g");
  for (let round = 0; round < 3; round++) {
    await provider.renew(lease, soon());
    const rows = await sql(
      server.url,
      "SELECT ID FROM information_schema.PROCESSLIST WHERE USER = 'elect' AND ID <> CONNECTION_ID()",
    );
    assert.ok(rows.length >= 1);
    for (const { ID } of rows) await sql(server.url, `KILL ${ID}`).catch(() => {});
    await until("renewed", async () => await provider.renew(lease, soon()).catch(() => "unknown") === "renewed");
    assert.equal((await provider.read("g", soon()).catch(() => provider.read("g", soon())))?.termId, lease.termId);
  }
});

const FLAGS = { deno: ["run", "-A", "--no-check"], bun: ["run"], node: [] } as const;

withServer("[Symbol.asyncDispose]() ends at a server that hangs, and leaves nothing behind", async (server, _, t) => {
  const program = fileURLToPath(new URL("../mysql_close.ts", import.meta.url));
  for (const name of RUNTIMES) {
    const command = await programOf(name).catch((error) => console.error(`SKIPPED: closing in ${name}: ${error}`));
    if (!command) continue;
    await t.step(name, () => closesWhileFrozen(server, command, [...FLAGS[name], program, server.url]));
  }
});

async function closesWhileFrozen(server: TestServer, command: string, args: readonly string[]): Promise<void> {
  const child = spawn(command, args, { stdio: ["pipe", "pipe", "inherit"], env: process.env });
  const exited = once(child, "exit");
  try {
    const lines = createInterface(child.stdout)[Symbol.asyncIterator]();
    assert.equal((await lines.next()).value, "ready");
    await server.freeze();
    child.stdin.end("close\n");
    assert.equal((await lines.next()).value, "rejected,rejected");
    // It has nothing left to do, so that it ends by itself.
    const late = AbortSignal.timeout(patience(10_000));
    const onLate = new Promise<never>((_, reject) =>
      late.addEventListener("abort", () => reject(new Error("it stays")))
    );
    assert.equal((await Promise.race([exited, onLate]))[0], 0);
  } finally {
    child.kill("SIGKILL");
    await server.thaw();
  }
}
