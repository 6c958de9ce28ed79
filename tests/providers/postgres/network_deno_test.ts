/** The PostgreSQL provider over networks that lose things, and to more than one host. */

import assert from "node:assert/strict";
import { spawn } from "node:child_process";
import { once } from "node:events";
import { createServer, type Server } from "node:net";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { LeaderElection } from "../../../src/election.ts";
import { programOf, RUNTIMES } from "../../runner/runtimes.ts";
import { certificateOf, postgresServer, startStandby } from "../../servers/postgres.ts";
import type { TestServer } from "../../servers/server.ts";
import { acquire, Gate, lead, newClient, newPool, newTable, Providers, soon, sql, took, wait } from "./support.ts";
import { until } from "../../until.ts";
import { testWithServer } from "../own_server.ts";

/** Runs `work` with a server of its own, if PostgreSQL can be had here. */
function withServer(
  name: string,
  work: (server: TestServer, providers: Providers, t: Deno.TestContext) => Promise<void>,
): void {
  testWithServer(postgresServer, () => new Providers(), name, work);
}

const FLAGS = { deno: ["run", "-A", "--no-check"], bun: ["run"], node: [] } as const;
const silent = { debug() {}, info() {}, warn() {}, error() {} };

withServer("a connection for hints that dies without a word is replaced within a lease", async (server, providers) => {
  const gate = await Gate.start(server.url);
  const table = newTable();
  const direct = providers.open({ url: server.url, table });
  const lease = await lead(direct, "g");
  const follower = new LeaderElection(providers.open({ url: gate.through(server.url), table }), {
    ...{ electionGroup: "g", heartbeatTimeout: "3s", heartbeatInterval: "1s", requestTimeout: "1s", logger: silent },
    // Looks alone would take longer than the test waits.
    electionInterval: "60s",
  });
  await follower.start();
  const listening = async () =>
    (await sql(
      server.url,
      "SELECT DISTINCT pid FROM pg_stat_activity WHERE query ~ 'LISTEN|SELECT 1$' AND pid <> pg_backend_pid()",
    ))
      .map(({ pid }) => Number(pid));
  await until("listening", async () => (await listening()).length === 1);
  // A healthy connection is not replaced, however often it is asked.
  const [first] = await listening();
  await wait(2_500);
  assert.deepEqual(await listening(), [first]);
  assert.equal(gate.kill(/LISTEN/), 1);
  const time = await took(() => until("replaced", async () => (await listening()).some((pid) => pid !== first)));
  assert.ok(time < 3_000, `replaced after ${Math.round(time)} ms, with a lease of 3 s`);
  await wait(100);
  const handOff = await took(async () => {
    await direct.release(lease, soon());
    await until("handed over", () => follower.isLeader);
  });
  assert.ok(handOff < 1_000, `the hand-off took ${Math.round(handOff)} ms`);
  await follower.stop();
  gate.close();
});

for (const whose of ["its own", "a user's"]) {
  withServer(
    `a CREATE TABLE that is lost on its way is given up, and tried again, with ${whose} pool`,
    async (server, providers) => {
      const gate = await Gate.start(server.url);
      gate.deadly = /CREATE TABLE/;
      const url = gate.through(server.url);
      const pool = whose === "its own" ? undefined : newPool({ connectionString: url });
      const options = { table: newTable(), statementTimeout: "1s" } as const;
      const provider = providers.open(pool ? { ...options, pool } : { ...options, url });
      const calls = [1, 2, 3].map((i) => acquire(provider, `g${i}`));
      const time = await took(async () => {
        for (const each of await Promise.allSettled(calls)) {
          assert.match(
            each.status === "rejected" ? each.reason.message : "",
            /was not created within 1000 ms/,
          );
        }
      });
      assert.ok(time < 5_000, `${time} ms`);
      gate.deadly = null;
      await lead(provider, "g");
      await provider[Symbol.asyncDispose]();
      await pool?.end();
      gate.close();
    },
  );
}

withServer("a CREATE TABLE that waits for another session is given up, and tried again", async (server, providers) => {
  const table = newTable();
  // On a user's pool nothing else ends it.
  const pool = newPool({ connectionString: server.url });
  const provider = providers.open({ pool, table, statementTimeout: "1s" });
  const other = await newClient(server.url);
  // Somebody makes the table by hand, and takes a walk before the COMMIT.
  await other.query(`BEGIN; CREATE TABLE ${table} (x int)`);
  await assert.rejects(acquire(provider, "g"), /lock|within 1000 ms/);
  const waiting = "SELECT FROM pg_locks WHERE NOT granted";
  await until("given up by the server", async () => (await sql(server.url, waiting)).length === 0, 5_000);
  await other.query("ROLLBACK");
  await other.end();
  await lead(provider, "g");
  await provider[Symbol.asyncDispose]();
  await pool.end();
});

/**
 * Runs the client program with a `/etc/hosts` of its own, in which `many` has two addresses; null where that cannot be
 * done. What is in front is what the resolver answers first.
 */
async function runWithHosts(command: readonly string[], first: string): Promise<string | null> {
  const directory = await Deno.makeTempDir({ prefix: "elect-test-hosts-" });
  await Deno.writeTextFile(`${directory}/hosts`, `127.0.0.1 localhost\n${first} many\n127.0.0.1 many\n`);
  await Deno.writeTextFile(
    `${directory}/gai.conf`,
    `precedence ::ffff:${first}/128 100\nprecedence ::ffff:0:0/96 10\n`,
  );
  const script = `touch /etc/gai.conf; mount --bind ${directory}/hosts /etc/hosts && ` +
    `mount --bind ${directory}/gai.conf /etc/gai.conf && exec "$@"`;
  try {
    const unshared = new Deno.Command("unshare", {
      args: ["-m", "sh", "-c", script, "sh", ...command],
      stderr: "inherit",
    });
    const { stdout, code } = await unshared.output();
    return code === 0 ? new TextDecoder().decode(stdout) : null;
  } catch {
    return null;
  } finally {
    await Deno.remove(directory, { recursive: true });
  }
}

withServer("a name is reached by its second address, when the first is dead", async (server, _providers, t) => {
  const { port } = new URL(server.url);
  const dead = { refused: "127.0.0.9", silent: "127.0.0.10" };
  const hole = createServer((socket) => socket.on("error", () => {}));
  await new Promise<void>((resolve) => hole.listen(Number(port), dead.silent, resolve));
  const program = fileURLToPath(new URL("reach_client.ts", import.meta.url));
  for (const runtime of RUNTIMES) {
    const command = await programOf(runtime).catch((error) => console.error(`SKIPPED: names in ${runtime}: ${error}`));
    if (!command) continue;
    for (const [how, address] of Object.entries(dead)) {
      await t.step(`${runtime}, ${how}`, async () => {
        const url = server.url.replace("127.0.0.1", "many");
        const output = await runWithHosts([command, ...FLAGS[runtime], program, url], address);
        if (output === null) return console.error("SKIPPED: names with two addresses: no unshare");
        assert.match(output, /^reached/);
      });
    }
  }
  hole.close();
});

withServer("a connection whose server became a standby does not go back to the pool", async (server, providers) => {
  const primary = providers.open({ url: server.url });
  await lead(primary, "first");
  const standby = await startStandby(server);
  const gate = await Gate.start(standby.url);
  // The name of the primary, while a failover moves it: what is connected now reaches a standby.
  const url = gate.through(server.url);
  const pool = newPool({ connectionString: url, max: 6 });
  try {
    for (const [i, options] of [{ url, poolSize: 1 }, { pool }].entries()) {
      const moved = providers.open({ ...options, listen: false });
      gate.target = Number(new URL(standby.url).port);
      const lease = await lead(primary, `held${i}`);
      await until("replicated", async () => await moved.read(`held${i}`, soon()) !== null);
      await assert.rejects(acquire(moved, `free${i}`), /read-only: a standby/);
      await assert.rejects(moved.renew(lease, soon()), /read-only: a standby/);
      gate.target = Number(new URL(server.url).port);
      // Nothing is left that reaches the standby.
      assert.equal(await moved.renew(lease, soon()), "renewed");
      await lead(moved, `free${i}`);
      await moved[Symbol.asyncDispose]();
    }
  } finally {
    await pool.end();
    gate.close();
    await standby.stop();
  }
});

/** Accepts connections and answers nothing. */
async function startSilent(): Promise<{ port: number; server: Server }> {
  const server = createServer((socket) => socket.on("error", () => {}));
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const address = server.address();
  return { port: typeof address === "object" && address !== null ? address.port : 0, server };
}

withServer("of several hosts, the one that writes is found, within the time of one call", async (server, providers) => {
  const standby = await startStandby(server);
  const silentHost = await startSilent();
  const primary = new URL(server.url);
  const { port: standbyPort } = new URL(standby.url);
  const url = (ports: readonly (string | number)[], query = "") =>
    `postgres://${primary.username}:${primary.password}@${
      ports.map((port) => `127.0.0.1:${port}`).join(",")
    }/postgres${query}`;
  try {
    const refused = 1;
    const orders: [string, (string | number)[]][] = [
      ["refused first", [refused, primary.port]],
      ["standby first", [standbyPort, primary.port]],
      ["silent first", [silentHost.port, primary.port]],
      ["all before it", [refused, silentHost.port, standbyPort, primary.port]],
      ["primary first", [primary.port, standbyPort]],
    ];
    for (const [what, ports] of orders) {
      const provider = providers.open({ url: url(ports, "?target_session_attrs=read-write"), table: newTable() });
      const time = await took(() => lead(provider, "g"));
      assert.ok(time < 5_000, `${what}: ${Math.round(time)} ms`);
      assert.equal((await provider.read("g", soon()))?.leaderId, "p", what);
      // What has been found is remembered.
      const again = await took(() => Promise.all([1, 2, 3].map((i) => lead(provider, `g${i}`))));
      assert.ok(again < 1_500, `${what}, again: ${Math.round(again)} ms`);
    }
    // Calls that are shorter than a silent host deserves get there too, by and by.
    const hasty = providers.open({ url: url([silentHost.port, silentHost.port, primary.port]), table: newTable() });
    await until(
      "found",
      () => acquire(hasty, "g", { signal: AbortSignal.timeout(500) }).then(({ acquired }) => acquired, () => false),
    );
    const none = providers.open({ url: url([refused, standbyPort]), table: newTable() });
    await assert.rejects(
      acquire(none, "g"),
      (error: Error) =>
        /127\.0\.0\.1:1: .*refused.*; 127\.0\.0\.1:\d+: it is a standby/i.test(error.message) &&
        !/elect-secret/.test(error.message),
    );
    // After a failover the same provider finds the other one.
    const both = providers.open({ url: url([primary.port, standbyPort]), table: newTable() });
    const lease = await lead(both, "g");
    await until(
      "replicated",
      async () =>
        (await sql(standby.url, "SELECT count(*)::int AS n FROM pg_class WHERE relname LIKE 't_%'"))[0]?.n !== 0,
    );
    await wait(500);
    await server.kill();
    await sql(standby.url, "SELECT pg_promote()");
    await until(
      "renewed",
      () =>
        both.renew(lease, { signal: AbortSignal.timeout(5_000) }).then((outcome) => outcome === "renewed", () => false),
    );
  } finally {
    silentHost.server.close();
    await standby.stop();
  }
});

withServer(
  "a connection is encrypted and verified, to an IP address, on every runtime",
  async (server, _providers, t) => {
    const certificate = certificateOf(server);
    const program = fileURLToPath(new URL("reach_client.ts", import.meta.url));
    const renamed = server.url.replace("127.0.0.1", "localhost");
    const cases: [string, string][] = [
      [`${server.url}?sslmode=verify-full&sslrootcert=${certificate}`, "reached"],
      [`${server.url}?ca=${certificate}`, "reached"],
      [`${server.url}?sslmode=require&uselibpqcompat=true`, "reached"],
      [`${server.url}?sslmode=verify-full`, "refused"],
      // The certificate is for the address, not for the name; unless the name to be verified is the address.
      [`${renamed}?ca=${certificate}`, "refused"],
      [`${renamed}?ca=${certificate}&servername=127.0.0.1`, "reached"],
      [`${renamed}?ca=${certificate}&sslmode=verify-ca&uselibpqcompat=true`, "reached"],
      [`${server.url}?ca=${certificate}&servername=other.example`, "refused"],
    ];
    for (const runtime of RUNTIMES) {
      const command = await programOf(runtime).catch((error) => console.error(`SKIPPED: TLS in ${runtime}: ${error}`));
      if (!command) continue;
      await t.step(runtime, async () => {
        const child = spawn(command, [...FLAGS[runtime], program, ...cases.map(([url]) => url)], {
          stdio: ["ignore", "pipe", "inherit"],
          env: process.env,
        });
        let output = "";
        child.stdout.on("data", (chunk) => output += chunk);
        await once(child, "close");
        assert.deepEqual(
          output.trim().split("\n").map((line) => line.split(" ")[0]),
          cases.map(([, expected]) => expected),
          output,
        );
      });
    }
  },
);
