/**
 * Elections by way of Redis or Valkey: `redis://user:password@host:6379/0`, or `rediss:` for TLS. Redis 5 or later.
 *
 * - **Token**: the larger of the group's counter plus one and the server's time in microseconds. The counter never expires;
 *   the time makes tokens grow also on a server that was flushed, or that lost its last writes.
 * - **Clock**: the server's decides when a lease has expired; the lease is a key with an expiry.
 * - **Not promised**: that a lease survives a failover. Redis replicates asynchronously: a replica that is promoted may not
 *   know of the last leases, and then two terms overlap until the older one reaches its deadline or its next heartbeat.
 *   The same goes for a server that restarts without the last writes (`appendfsync everysec`, snapshots), and for one that
 *   evicts keys: set `maxmemory-policy noeviction`, which `healthCheck` looks at. A resource that compares tokens is safe
 *   as long as the clocks of primary and replica agree to within the time that a failover takes.
 * - **A heartbeat** costs one script call on one key, and a few hundred bytes. Those that are due together go out together.
 *
 * Every operation is one command and one round trip: `EVALSHA` of a script that the server keeps. Only when it has not seen
 * the script since it started does a second follow. Released leases are told to the others by `PUBLISH`, which reaches
 * them over one more connection, however many groups are watched.
 *
 * A user of the server needs: `~PREFIX* &PREFIX* +evalsha +eval +time +exists +hget +hmget +hset +get +set +del +pexpire
 * +pttl +publish +subscribe +unsubscribe`, and `+scan` to list groups.
 *
 * @module
 */

import { callBackend, providerError } from "../src/call.ts";
import { type Duration, parseDuration } from "../src/duration.ts";
import type { ProviderOperation } from "../src/errors.ts";
import type {
  Acquired,
  AcquireRequest,
  CallOptions,
  Held,
  LeaderInfo,
  Lease,
  Provider,
  ProviderCapabilities,
  RenewOptions,
} from "../src/provider.ts";
import { registerProvider } from "../src/registry.ts";
import { explain, toDate, toLeader } from "./redis/answers.ts";
import { checkClient, clientMaker, parseUrl, type RedisTls } from "./redis/client.ts";
import { Connection, type RedisClient } from "./redis/connection.ts";
import { ACQUIRE, PROBE, READ, RELEASE, RENEW, type Script } from "./redis/scripts.ts";
import { Subscriptions } from "./redis/subscriptions.ts";

export type { RedisTls } from "./redis/client.ts";
export type { RedisClient } from "./redis/connection.ts";

/** How to open the provider. `prefix` and `socketTimeout` can be given as query parameters of the URL, too. */
export interface RedisOptions {
  /** `redis://user:password@host:port/database`, or `rediss:`. @default "redis://127.0.0.1:6379/0" */
  readonly url?: string | URL;
  /**
   * An ioredis `Redis` (with Sentinel, for example) or `Cluster` to use instead. The provider does not close it. It must have
   * `autoResendUnfulfilledCommands: false`, for a lease may not be written after its time, and no `keyPrefix` of its own.
   */
  readonly client?: RedisClient;
  /** What the names of all keys and channels begin with. @default "multilock:" */
  readonly prefix?: string;
  /** How long the server may be silent while an answer is due, before the connection is given up. @default "5s" */
  readonly socketTimeout?: Duration;
  /** How to do TLS, with `rediss:`. @default the runtime's certificate authorities */
  readonly tls?: RedisTls;
}

/**
 * Opens a provider that keeps leases in Redis. It connects on first use.
 *
 * @throws {TypeError} if the URL is not one of Redis, or if `client` would send commands again
 * @throws {RangeError} if `socketTimeout` is out of range
 *
 * @example
 * ```ts
 * import assert from "node:assert/strict";
 * import { redisProvider } from "@multilock/core/redis";
 *
 * await using provider = redisProvider({ url: "redis://cache.example.com", prefix: "app:" });
 * assert(provider.name === "redis");
 * ```
 */
export function redisProvider(options: RedisOptions = {}): Provider {
  const { client } = options;
  const url = parseUrl(options.url ?? "redis://127.0.0.1:6379/0");
  const { searchParams } = url;
  const prefix = options.prefix ?? searchParams.get("prefix") ?? "multilock:";
  const timeout = options.socketTimeout ?? searchParams.get("socketTimeout") as Duration | null ?? "5s";
  const socketTimeoutMs = parseDuration(timeout, "socketTimeout");
  if (client === undefined) {
    const make = clientMaker(url, { socketTimeoutMs, ...(options.tls && { tls: options.tls }) });
    return new RedisProvider(
      new Connection(make, false),
      new Subscriptions(() => new Connection(make, false)),
      prefix,
    );
  }
  checkClient(client);
  const connection = new Connection(() => Promise.resolve(client), true);
  const duplicate = () => new Connection(() => Promise.resolve(client.duplicate()), false);
  return new RedisProvider(connection, new Subscriptions(duplicate), prefix);
}

class RedisProvider implements Provider {
  readonly name = "redis";
  readonly capabilities: ProviderCapabilities = {
    watch: true,
    timeAuthority: "server",
    minTimeout: 100,
    durability:
      "A lease is as durable as the server's last write (appendfsync); a failover to a replica can forget the " +
      "latest leases, while tokens keep growing with the server's clock.",
  };
  readonly #connection: Connection;
  readonly #subscriptions: Subscriptions;
  readonly #prefix: string;

  constructor(connection: Connection, subscriptions: Subscriptions, prefix: string) {
    this.#connection = connection;
    this.#subscriptions = subscriptions;
    this.#prefix = prefix;
  }

  acquire(request: AcquireRequest, { signal }: CallOptions): Promise<Acquired | Held> {
    const { electionGroup, participantId, termId, heartbeatTimeout, metadata } = request;
    const args = () => [termId, participantId, heartbeatTimeout, JSON.stringify(metadata)];
    return this.#run("acquire", electionGroup, signal, ACQUIRE, args, (answer) => {
      const [granted, ...fields] = answer as [number, ...unknown[]];
      if (granted === 0) return { acquired: false, leader: toLeader(fields) };
      const token = BigInt(String(fields[0]));
      const acquiredAt = toDate(fields[1]);
      return { acquired: true, lease: { electionGroup, participantId, termId, token, acquiredAt, heartbeatTimeout } };
    });
  }

  renew({ electionGroup, termId, heartbeatTimeout }: Lease, options: RenewOptions): Promise<"renewed" | "lost"> {
    const { signal, metadata } = options;
    const args = () => [termId, heartbeatTimeout, ...(metadata ? [JSON.stringify(metadata)] : [])];
    return this.#run("renew", electionGroup, signal, RENEW, args, (answer) => answer === 1 ? "renewed" : "lost");
  }

  release(
    { electionGroup, termId }: Pick<Lease, "electionGroup" | "termId">,
    { signal }: CallOptions,
  ): Promise<"released" | "notHolder"> {
    const args = () => [termId, this.#channel(electionGroup)];
    return this.#run(
      "release",
      electionGroup,
      signal,
      RELEASE,
      args,
      (answer) => answer === 1 ? "released" : "notHolder",
    );
  }

  read(electionGroup: string, { signal }: CallOptions): Promise<LeaderInfo | null> {
    const toInfo = (answer: unknown) => answer === null ? null : toLeader(answer as unknown[]);
    return this.#run("read", electionGroup, signal, READ, () => [], toInfo);
  }

  async *watch(electionGroup: string, { signal }: CallOptions): AsyncIterable<void> {
    try {
      yield* this.#subscriptions.watch(this.#channel(electionGroup), signal);
    } catch (error) {
      throw providerError(this.name, "watch", electionGroup, error);
    }
  }

  /** Walks over all keys of the database, in steps. Groups that nobody leads any more are listed too. */
  groups({ signal }: CallOptions): Promise<string[]> {
    return callBackend(this.name, "groups", this.#prefix, signal, async () => {
      const client = await this.#connection.ready();
      const nodes = (client as { nodes?(role: string): RedisClient[] }).nodes?.("master") ?? [client];
      const pattern = `${this.#prefix.replace(/[\\*?[\]]/g, "\\$&")}{*}:token`;
      const found = new Set<string>();
      for (const node of nodes) {
        let cursor = "0";
        do {
          signal.throwIfAborted();
          const [next, keys] = await node.call("scan", cursor, "MATCH", pattern, "COUNT", 1_000) as [string, string[]];
          for (const key of keys) found.add(key.slice(this.#prefix.length + 1, -"}:token".length));
          cursor = String(next);
        } while (cursor !== "0");
      }
      return [...found];
    });
  }

  /** Beside what every provider's does, it looks whether the server may evict leases. It writes keys that live for a second. */
  healthCheck({ signal }: CallOptions): Promise<void> {
    return callBackend(this.name, "healthCheck", this.#prefix, signal, async () => {
      const probe = this.#key(`probe-${crypto.randomUUID()}`);
      const keys = [`${probe}-1`, `${probe}-2`];
      // Who may not ask for information may still lead.
      const memory = this.#connection.send(signal, "info", "memory").then(String, () => "");
      const problems = await this.#connection.run(signal, PROBE, keys, [this.#channel("")]) as string[];
      if (problems.length > 0) throw new Error(problems.join("; "));
      const [, limit] = /^maxmemory:(\d+)/m.exec(await memory) ?? [];
      const [, policy = "noeviction"] = /^maxmemory_policy:(\S+)/m.exec(await memory) ?? [];
      if (limit !== undefined && limit !== "0" && policy !== "noeviction") {
        throw new Error(`the server may evict leases: its maxmemory-policy is "${policy}", and must be "noeviction"`);
      }
    });
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#subscriptions.close();
    this.#connection.close();
    return Promise.resolve();
  }

  /** The braces put all keys of a group into one hash slot of a cluster. */
  #key(electionGroup: string): string {
    return `${this.#prefix}{${electionGroup}}`;
  }

  #channel(electionGroup: string): string {
    return `${this.#key(electionGroup)}:released`;
  }

  #run<T>(
    operation: ProviderOperation,
    electionGroup: string,
    signal: AbortSignal,
    script: Script,
    args: () => (string | number)[],
    result: (answer: unknown) => T,
  ): Promise<T> {
    const key = this.#key(electionGroup);
    const keys = script === ACQUIRE ? [key, `${key}:token`] : [key];
    return callBackend(this.name, operation, electionGroup, signal, async () => {
      try {
        return result(await this.#connection.run(signal, script, keys, args()));
      } catch (error) {
        throw explain(error, key);
      }
    });
  }
}

registerProvider({ name: "redis", protocols: ["redis:", "rediss:"], open: (url) => redisProvider({ url }) });
