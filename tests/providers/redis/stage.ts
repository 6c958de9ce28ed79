/** What the tests of the Redis provider share. */

import assert from "node:assert/strict";
import { connect, createServer, type Socket } from "node:net";
import type { AddressInfo } from "node:net";
import { after } from "node:test";
import { Redis } from "ioredis";
import { type RedisOptions, redisProvider } from "../../../providers/redis.ts";
import type { AcquireRequest, Lease, Provider } from "../../../src/provider.ts";

/** Bun gives a test five seconds unless it is told. */
export const LONG = { timeout: 120_000 };

export function request(electionGroup: string, changes: Partial<AcquireRequest> = {}): AcquireRequest {
  const termId = crypto.randomUUID();
  return { electionGroup, participantId: "tester", termId, heartbeatTimeout: 30_000, metadata: {}, ...changes };
}

/** Acquires a lease that must be free. */
export async function win(
  provider: Provider,
  electionGroup: string,
  changes: Partial<AcquireRequest> = {},
): Promise<Lease> {
  const answer = await provider.acquire(request(electionGroup, changes), soon());
  assert.ok(answer.acquired, `"${electionGroup}" must be free`);
  return answer.lease;
}

export function soon(ms = 10_000): { signal: AbortSignal } {
  return { signal: AbortSignal.timeout(ms) };
}

export function delay(ms: number): Promise<void> {
  return new Promise((resolve) => setTimeout(resolve, ms));
}

/** An administrator's own connection. It is closed by whoever made it, and outlives restarts. */
export function administrator(url: string): Redis {
  const admin = new Redis(url, { lazyConnect: true, retryStrategy: () => 50 });
  admin.on("error", () => {});
  return admin;
}

/**
 * Opens providers at `url` for the tests of one file, each with a prefix of its own unless told, and an administrator's
 * connection beside them. All are closed after the last test.
 */
export function stage(url: string): { admin: Redis; open: (options?: RedisOptions) => Provider } {
  const admin = administrator(url);
  const opened: Provider[] = [];
  after(async () => {
    admin.disconnect();
    for (const provider of opened) await provider[Symbol.asyncDispose]();
  });
  return {
    admin,
    open(options = {}) {
      const provider = redisProvider({ url, prefix: `t${crypto.randomUUID().slice(0, 8)}:`, ...options });
      opened.push(provider);
      return provider;
    },
  };
}

/** Stands between client and server. */
export interface Proxy extends AsyncDisposable {
  readonly port: number;
  /** The `redis:` URL that leads through it. */
  readonly url: string;
  /** How many connections have been made so far. */
  connections(): number;
  /** How many connections are open. */
  open(): number;
  /**
   * Lets nothing pass any more on those open connections that `which` picks by what the client has sent; returns how
   * many.
   */
  silence(which?: (sent: string) => boolean): number;
  /** Whether new connections are silent from the start. */
  silent: boolean;
  /** Ends all connections. */
  cut(): void;
  /** Where new connections lead. */
  target: { host: string; port: number };
}

/** Passes bytes on to `host:port` of `url`. */
export async function startProxy(url: string): Promise<Proxy> {
  const { hostname, port } = new URL(url);
  interface Pair {
    readonly client: Socket;
    sent: string;
    isSilent: boolean;
  }
  const pairs = new Set<Pair>();
  let connections = 0;
  const server = createServer((client) => {
    connections++;
    const pair: Pair = { client, sent: "", isSilent: proxy.silent };
    pairs.add(pair);
    const upstream = connect(proxy.target);
    for (const socket of [client, upstream]) socket.setNoDelay(true).on("error", () => {});
    client.on("data", (data) => {
      pair.sent += data.toString("latin1").slice(0, 10_000);
      if (!pair.isSilent) upstream.write(data);
    });
    upstream.on("data", (data) => pair.isSilent || client.write(data));
    client.on("close", () => {
      pairs.delete(pair);
      upstream.destroy();
    });
    upstream.on("close", () => pair.isSilent || client.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  const own = (server.address() as AddressInfo).port;
  const proxy: Proxy = {
    port: own,
    url: `redis://127.0.0.1:${own}`,
    target: { host: hostname, port: Number(port) },
    silent: false,
    connections: () => connections,
    open: () => pairs.size,
    silence(which = () => true) {
      const hit = [...pairs].filter((pair) => !pair.isSilent && which(pair.sent));
      for (const pair of hit) pair.isSilent = true;
      return hit.length;
    },
    cut() {
      for (const { client } of pairs) client.destroy();
    },
    async [Symbol.asyncDispose]() {
      for (const { client } of pairs) client.destroy();
      await new Promise((resolve) => server.close(resolve));
    },
  };
  return proxy;
}
