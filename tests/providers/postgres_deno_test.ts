/** The PostgreSQL provider behind a pooler, at a standby, and closing while its server hangs. */

import { delay } from "@std/async";
import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { randomUUID } from "node:crypto";
import { once } from "node:events";
import process from "node:process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import pg from "pg";
import { postgresProvider } from "../../providers/postgres.ts";
import { ProviderError } from "../../src/errors.ts";
import type { Acquired, Held, Provider } from "../../src/provider.ts";
import { conformanceCases } from "../../testing/conformance.ts";
import { postgresServer, startPooler, startStandby } from "../servers/postgres.ts";
import { programOf, type Runtime, RUNTIMES } from "../runner/runtimes.ts";
import type { TestServer } from "../servers/server.ts";
import { testOnServer } from "./own_server.ts";

const soon = () => ({ signal: AbortSignal.timeout(10_000) });

function acquire(provider: Provider, electionGroup: string): Promise<Acquired | Held> {
  const request = { electionGroup, participantId: "p", termId: randomUUID(), heartbeatTimeout: 60_000, metadata: {} };
  return provider.acquire(request, soon());
}

/** Runs `work` with a server of its own, if PostgreSQL can be had here. */
function withServer(name: string, work: (server: TestServer, t: Deno.TestContext) => Promise<void>): void {
  testOnServer(postgresServer, name, work);
}

withServer(
  "postgresProvider() conforms, when it reaches the server through a transaction-mode pooler",
  async (server, t) => {
    const pooler = await startPooler(server);
    try {
      const open = () => postgresProvider({ url: `${pooler.url}?listen=false` });
      for (const { name, run } of conformanceCases({ name: "postgres", open, faults: {} })) await t.step(name, run);
    } finally {
      await pooler.stop();
    }
  },
);

withServer("watch() rejects and is gone, when there is a pooler", async (server) => {
  const pooler = await startPooler(server);
  try {
    await using provider = postgresProvider({ url: pooler.url });
    await using direct = postgresProvider({ url: server.url });
    assert.ok(provider.watch && provider.capabilities.watch);
    const hints = provider.watch("g", soon())[Symbol.asyncIterator]();
    await assert.rejects(
      hints.next(),
      (error) => error instanceof ProviderError && /pooler.*polling/.test(error.message),
    );
    assert.equal(provider.watch, undefined);
    assert.equal(provider.capabilities.watch, false);
    // Nothing else changed for its user.
    assert.ok((await acquire(provider, "g")).acquired);
    const answer = await acquire(direct, "g");
    assert.ok(!answer.acquired && answer.leader?.leaderId === "p");
  } finally {
    await pooler.stop();
  }
});

withServer("acquire() does without prepared statements, when a pooler hides that it is one", async (server) => {
  const pooler = await startPooler(server, ["ignore_startup_parameters = statement_timeout"]);
  const providers = Array.from({ length: 6 }, () => postgresProvider({ url: pooler.url }));
  try {
    for (let round = 0; round < 5; round++) {
      const calls = providers.flatMap((provider, i) => [0, 1, 2].map((j) => acquire(provider, `g${round}-${i}-${j}`)));
      for (const answer of await Promise.all(calls)) assert.ok(answer.acquired);
      const leases = await Promise.all(providers.map((provider, i) => provider.read(`g${round}-${i}-0`, soon())));
      assert.ok(leases.every((leader) => leader?.token === 1n));
    }
  } finally {
    for (const provider of providers) await provider[Symbol.asyncDispose]();
    await pooler.stop();
  }
});

withServer("acquire() refuses with a clear error, when the server is a hot standby", async (server) => {
  await using primary = postgresProvider({ url: server.url });
  const answer = await acquire(primary, "g");
  assert.ok(answer.acquired);
  const standby = await startStandby(server);
  try {
    await using provider = postgresProvider({ url: standby.url });
    for (const call of [() => acquire(provider, "g"), () => provider.renew(answer.lease, soon())]) {
      await assert.rejects(
        call,
        (error) => error instanceof ProviderError && /read-only: a standby.*need the primary/.test(error.message),
      );
    }
    await assert.rejects(provider.healthCheck(soon()), /read-only: a standby/);
    assert.equal(await provider.renew(answer.lease, soon()).catch(() => "unknown"), "unknown");
    assert.equal((await provider.read("g", soon()))?.termId, answer.lease.termId);
    // After a failover the same provider goes on, and tokens go on where they were.
    await primary.release(answer.lease, soon());
    while (await provider.read("g", soon()) !== null) await delay(20);
    await query(standby, "SELECT pg_promote()");
    const promoted = await acquire(provider, "g");
    assert.ok(promoted.acquired && promoted.lease.token > answer.lease.token);
  } finally {
    await standby.stop();
  }
});

withServer("acquire() encrypts, when the URL says so", async (server) => {
  const [{ setting: ssl } = {}] = await query(server, "SELECT setting FROM pg_settings WHERE name = 'ssl'");
  if (ssl !== "on") return console.error("SKIPPED: TLS to PostgreSQL: there is no openssl");
  const encrypted = postgresProvider({ url: `${server.url}?sslmode=no-verify&application_name=encrypted` });
  const doubtful = postgresProvider({ url: `${server.url}?sslmode=verify-full` });
  try {
    assert.ok((await acquire(encrypted, "g")).acquired);
    const hints = encrypted.watch?.("g", soon())[Symbol.asyncIterator]();
    assert.equal((await hints?.next())?.done, false);
    const sessions = await query(
      server,
      "SELECT ssl FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE application_name = 'encrypted'",
    );
    assert.ok(sessions.length > 0 && sessions.every((row) => row.ssl === true));
    // Nobody vouches for the certificate.
    await assert.rejects(acquire(doubtful, "g"), /self.?signed|certificate|unknown ?issuer/i);
  } finally {
    await encrypted[Symbol.asyncDispose]();
    await doubtful[Symbol.asyncDispose]();
  }
});

withServer("[Symbol.asyncDispose]() lets the process end, when the server hangs", async (server, t) => {
  const program = fileURLToPath(new URL("postgres_close.ts", import.meta.url));
  const flags: Readonly<Record<Runtime, readonly string[]>> = {
    deno: ["run", "-A", "--no-check"],
    bun: ["run"],
    node: [],
  };
  for (const name of RUNTIMES) {
    const args = flags[name];
    const command = await programOf(name).catch((error) => console.error(`SKIPPED: closing in ${name}: ${error}`));
    if (command) {
      await t.step(name, () => closesWhileFrozen(server, command, [...args, program, server.url]));
      const encrypted = `${server.url}?sslmode=no-verify`;
      await t.step(`${name}, encrypted`, () => closesWhileFrozen(server, command, [...args, program, encrypted]));
    }
  }
});

async function query(server: TestServer, text: string): Promise<Record<string, unknown>[]> {
  const { Client } = pg as unknown as { Client: new (url: string) => QueryClient };
  const client = new Client(server.url);
  await client.connect();
  try {
    return (await client.query(text)).rows;
  } finally {
    await client.end();
  }
}

interface QueryClient {
  connect(): Promise<unknown>;
  query(text: string): Promise<{ rows: Record<string, unknown>[] }>;
  end(): Promise<void>;
}

async function closesWhileFrozen(server: TestServer, command: string, args: string[]): Promise<void> {
  const child = spawn(command, args, { stdio: ["pipe", "pipe", "inherit"], env: process.env });
  const exited = once(child, "exit");
  const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
  try {
    assert.equal((await lines.next()).value, "ready");
    await server.freeze();
    child.stdin.write("close\n");
    const start = performance.now();
    assert.equal((await lines.next()).value, "rejected,rejected,rejected");
    const [code] = await exited;
    assert.equal(code, 0);
    assert.ok(performance.now() - start < 10_000, "it must not wait for the server");
  } finally {
    child.kill("SIGKILL");
    await server.thaw();
  }
}
