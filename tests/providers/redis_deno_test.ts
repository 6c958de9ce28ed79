/** The Redis provider where a test must start servers or programs of its own: TLS, a cluster, a proxy, processes. */

import assert from "node:assert/strict";
import { connect, createServer, type Socket } from "node:net";
import type { AddressInfo } from "node:net";
import { Cluster } from "ioredis";
import { type RedisClient, redisProvider } from "../../providers/redis.ts";
import type { AcquireRequest, Lease, Provider } from "../../src/provider.ts";
import { programOf, RUNTIMES } from "../runner/runtimes.ts";
import { backend } from "../servers/backend.ts";
import { removeDirectory, run, temporaryDirectory } from "../servers/process.ts";
import { startRedis } from "../servers/redis.ts";
import { until } from "../until.ts";

const server = backend("redis");
if (server !== null) testServer(server.url);

function testServer(url: string): void {
  Deno.test("renew() sends a thousand heartbeats in a few writes, when they are due together", async () => {
    await using proxy = await startProxy(url);
    await using provider = redisProvider({ url: proxy.url, prefix: `many-${crypto.randomUUID()}:` });
    const leases = await Promise.all(Array.from({ length: 1_000 }, (_, i) => win(provider, `group-${i}`)));
    const before = proxy.chunks();
    const outcomes = await Promise.all(leases.map((lease) => provider.renew(lease, soon())));
    assert.deepEqual(new Set(outcomes), new Set(["renewed"]));
    const chunks = proxy.chunks() - before;
    // A read of the proxy takes 64 KiB at most, and a heartbeat is 200 bytes: 4 chunks, were nothing split on the way.
    assert.ok(chunks <= 50, `1,000 heartbeats travelled in ${chunks} pieces`);
  });

  for (const runtime of RUNTIMES) {
    Deno.test(`a process ends after it closed the provider, while the server hangs, on ${runtime}`, async () => {
      const program = await programOf(runtime).catch(() => null);
      // The driver names a runtime that is not there.
      if (program === null) return;
      const redis = await startRedis();
      try {
        const script = "tests/providers/redis_close.ts";
        const args = runtime === "deno" ? ["run", "-A", script, redis.url] : [script, redis.url];
        const child = new Deno.Command(program, { args, stdin: "piped", stdout: "piped", stderr: "inherit" }).spawn();
        const output = child.stdout.pipeThrough(new TextDecoderStream()).getReader();
        let text = "";
        while (!text.includes("connected")) {
          const { value, done } = await output.read();
          assert.ok(!done, `it ended after "${text}"`);
          text += value;
        }
        await redis.freeze();
        const start = performance.now();
        const input = child.stdin.getWriter();
        await input.write(new TextEncoder().encode("go\n"));
        const limit = setTimeout(() => child.kill("SIGKILL"), 20_000);
        const status = await child.status;
        clearTimeout(limit);
        const took = performance.now() - start;
        for (let part = await output.read(); !part.done; part = await output.read()) text += part.value;
        await input.close().catch(() => {});
        assert.ok(status.success, `it ended with ${status.code} ${status.signal} after "${text}"`);
        assert.match(text, /closed/);
        assert.ok(took < 10_000, `it took ${took} ms`);
      } finally {
        await redis.stop();
      }
    });
  }

  Deno.test("rediss: encrypts, trusts what it is told to trust, and refuses the rest", async () => {
    const directory = await temporaryDirectory("redis-tls");
    const [key, cert] = [`${directory}/key.pem`, `${directory}/cert.pem`];
    const subject = ["-subj", "/CN=localhost", "-addext", "subjectAltName=DNS:localhost"];
    const openssl = [
      "req",
      "-x509",
      "-newkey",
      "rsa:2048",
      "-nodes",
      "-days",
      "2",
      "-keyout",
      key,
      "-out",
      cert,
      ...subject,
    ];
    await run("openssl", openssl);
    const args = [
      "--tls-cert-file",
      cert,
      "--tls-key-file",
      key,
      "--tls-ca-cert-file",
      cert,
      "--tls-auth-clients",
      "no",
    ];
    const redis = await startRedis({ args, tls: true });
    try {
      await using trusting = redisProvider({ url: redis.url, tls: { ca: await Deno.readTextFile(cert) } });
      const lease = await win(trusting, "group");
      assert.equal(await trusting.renew(lease, soon()), "renewed");
      await using wary = redisProvider({ url: redis.url });
      await assert.rejects(wary.healthCheck(soon()), /certificate/i);
    } finally {
      await redis.stop();
      await removeDirectory(directory);
    }
  });

  Deno.test("redisProvider() elects on a cluster", async () => {
    const redis = await startRedis({ args: ["--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1"] });
    const { port } = new URL(redis.url);
    const cluster = new Cluster([{ host: "127.0.0.1", port: Number(port) }], { lazyConnect: true });
    try {
      await run("redis-cli", ["-p", port, "cluster", "addslotsrange", "0", "16383"]);
      await until(
        "a cluster",
        async () => /cluster_state:ok/.test(await run("redis-cli", ["-p", port, "cluster", "info"])),
      );
      const provider = redisProvider({ client: cluster as unknown as RedisClient });
      const hints = provider.watch?.("group-0", soon())[Symbol.asyncIterator]();
      await hints?.next();
      const leases = await Promise.all(Array.from({ length: 20 }, (_, i) => win(provider, `group-${i}`)));
      for (const lease of leases) {
        assert.equal(await provider.renew(lease, soon()), "renewed");
        assert.equal((await provider.read(lease.electionGroup, soon()))?.token, lease.token);
      }
      await provider.healthCheck(soon());
      assert.equal((await provider.groups?.(soon()))?.length, 20);
      for (const lease of leases) assert.equal(await provider.release(lease, soon()), "released");
      await hints?.next();
      await provider[Symbol.asyncDispose]();
    } finally {
      cluster.disconnect();
      await redis.stop();
    }
  });
}

interface Proxy extends AsyncDisposable {
  readonly url: string;
  /** In how many pieces the clients' bytes came so far. */
  chunks(): number;
}

/** Passes bytes on to the server of `url`, and counts the pieces that they came in. */
async function startProxy(url: string): Promise<Proxy> {
  const { hostname, port } = new URL(url);
  const sockets = new Set<Socket>();
  let chunks = 0;
  const proxy = createServer((client) => {
    const upstream = connect(Number(port), hostname);
    for (const socket of [client, upstream]) {
      sockets.add(socket);
      socket.setNoDelay(true).on("error", () => {});
    }
    client.on("data", (data) => {
      chunks++;
      upstream.write(data);
    });
    upstream.on("data", (data) => client.write(data));
    client.on("close", () => upstream.destroy());
    upstream.on("close", () => client.destroy());
  });
  await new Promise<void>((resolve) => proxy.listen(0, "127.0.0.1", resolve));
  return {
    url: `redis://127.0.0.1:${(proxy.address() as AddressInfo).port}`,
    chunks: () => chunks,
    async [Symbol.asyncDispose]() {
      for (const socket of sockets) socket.destroy();
      await new Promise((resolve) => proxy.close(resolve));
    },
  };
}

async function win(provider: Provider, electionGroup: string): Promise<Lease> {
  const termId = crypto.randomUUID();
  const request: AcquireRequest = {
    electionGroup,
    participantId: "tester",
    termId,
    heartbeatTimeout: 30_000,
    metadata: {},
  };
  const answer = await provider.acquire(request, soon());
  assert.ok(answer.acquired, `"${electionGroup}" must be free`);
  return answer.lease;
}

function soon(): { signal: AbortSignal } {
  return { signal: AbortSignal.timeout(10_000) };
}
