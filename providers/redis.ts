/**
 * Elections by way of Redis or Valkey: `redis://user:password@host:6379/0`, `redis+sentinel://host1,host2/NAME`,
 * `redis+cluster://host1,host2`, and the same with `rediss` for TLS. Redis 5 or later. Setting up servers and users:
 * `docs/backends/redis.md`.
 *
 * - **Token**: the larger of the group's counter plus one and the server's time in microseconds. The counter never
 *   expires; the time makes tokens grow also on a server that was flushed, or that lost its last writes.
 * - **Clock**: the server's decides when a lease has expired, as far as it is believed. Set forward while this process
 *   watches, it ends no lease early: for one lease from then on only a record that has stood still for a whole lease,
 *   on our own monotonic clock, is taken over. Set back, it keeps nobody in: the same rule frees the lease of a dead
 *   leader within a lease of the last look. What remains: a process that has not asked the server before it was set
 *   forward believes it, and may take over from a leader that is up to a lease from its deadline.
 * - **Not promised**: that a lease survives a failover. Redis replicates asynchronously: a replica that is promoted may
 *   not know of the last leases, and then two terms overlap until the older one reaches its deadline or its next
 *   heartbeat. The same goes for a server that restarts without the last writes (`appendfsync everysec`, snapshots),
 *   for one that evicts keys (`healthCheck` looks at `maxmemory-policy`), and for whoever edits or deletes keys by
 *   hand. A resource that compares tokens is safe as long as the clocks of primary and replica agree to within the time
 *   that a failover takes.
 * - **A heartbeat** costs one script call on one key, and a few hundred bytes. Those that are due together share calls,
 *   a hundred leases each, but for those of a cluster, whose keys are in different slots: they go out together.
 *
 * Every operation is one command and one round trip: `EVALSHA` of a script that the server keeps. A second follows when
 * the server has not seen the script since it started, when it does not have the key any more, when an expired lease
 * was asked for too slowly, and when its clock was set forward. Leases that were released and taken, and renewals of
 * those shorter than 7.5 s, are told to the others by `PUBLISH`, which reaches them over one more connection, however
 * many groups are watched.
 *
 * A user of the server needs the keys `~PREFIX*`, the channels `&PREFIX*`, and the commands
 * `+evalsha +eval +time +exists +hmget +hset +persist +get +set +sadd +del +publish +subscribe +unsubscribe`;
 * `+select` where the database is not 0, `+sscan` to list groups, `+role` with Sentinel, and
 * `+cluster|slots +asking +scan` with Cluster.
 *
 * @module
 */

import { abortable, callBackend, providerError } from "../src/call.ts";
import { type Clock, systemClock } from "../src/time/clock.ts";
import { type Duration, parseDuration } from "../src/time/duration.ts";
import type { ProviderOperation } from "../src/errors.ts";
import type {
  Acquired,
  AcquireRequest,
  CallOptions,
  Held,
  Hint,
  Inspection,
  LeaderInfo,
  Lease,
  Provider,
  ProviderCapabilities,
  ReleaseCallOptions,
  RenewOptions,
} from "../src/provider.ts";
import { registerProvider } from "../src/registry.ts";
import { CATALOG } from "./catalog.ts";
import { checkOptions } from "./kit/parameters.ts";
import { dateOf, explain, listOf, outcomeOf } from "./redis/answers.ts";
import type { Answer } from "./redis/commands.ts";
import type { RedisTls } from "./redis/driver.ts";
import type { RedisClient } from "./redis/injected.ts";
import { makeParts, type RedisParts } from "./redis/parts.ts";
import { messageOf } from "./redis/link.ts";
import { RedisRenewals } from "./redis/renewals.ts";
import { ACQUIRE, READ, RELEASE, type Script } from "./redis/scripts.ts";
import { inspectServers } from "./redis/inspection.ts";
import { checkServers, listGroups } from "./redis/upkeep.ts";

export type { RedisTls } from "./redis/driver.ts";
export type { RedisClient } from "./redis/injected.ts";

/** The settings of the provider. `prefix` and `socketTimeout` can be given as query parameters of the URL, too. */
export interface RedisOptions {
  /**
   * `redis://user:password@host:port/database`, `redis+sentinel://user:password@host1:port,host2/NAME/database` or
   * `redis+cluster://user:password@host1:port,host2`, or the same with `rediss`. Settings follow as a query: `prefix`,
   * `socketTimeout`; with `rediss` `ca`, `cert`, `key` (paths of PEM files) and `servername`; with Sentinel
   * `sentinelUsername` and `sentinelPassword`, where those of the URL do not fit the sentinels.
   *
   * @default "redis://127.0.0.1:6379/0"
   */
  readonly url?: string | URL | undefined;
  /**
   * An ioredis `Redis` (with Sentinel, for example) or `Cluster` to take the servers, the credentials, the database and
   * TLS from, instead of `url`. The provider makes connections of its own and sends nothing on this one. Once its owner
   * has closed it, calls reject, and nothing is opened again.
   */
  readonly client?: RedisClient | undefined;
  /** The beginning of the names of all keys and channels. @default "multilock:" */
  readonly prefix?: string | undefined;
  /**
   * The time for which the server may be silent while an answer is due, before the connection is given up: at most
   * this, at most the shortest lease in use, and at most as long as a call may last. At least 50 ms. @default "5s"
   */
  readonly socketTimeout?: Duration | undefined;
  /**
   * The settings of TLS, with `rediss:`. Goes before what the URL says. @default the runtime's certificate authorities
   */
  readonly tls?: RedisTls | undefined;
  /** Measures silence, and how long a record stands still. @default the clock of the machine */
  readonly clock?: Clock | undefined;
}

/**
 * Opens a provider that keeps leases in Redis. It connects on first use.
 *
 * @throws {TypeError} if the URL or a setting is malformed or unknown, or if `client` would look for leases elsewhere
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
  checkOptions("redis", options, ["url", "client", "prefix", "socketTimeout", "tls", "clock"]);
  return new RedisProvider(makeParts({
    ...options,
    clock: options.clock ?? systemClock,
    socketTimeoutMs: options.socketTimeout === undefined
      ? undefined
      : parseDuration(options.socketTimeout, "socketTimeout"),
  }));
}

class RedisProvider implements Provider {
  readonly name = "redis";
  readonly capabilities: ProviderCapabilities = {
    watch: true,
    transfer: true,
    timeAuthority: "server",
    minTimeout: 100,
    durability:
      "A lease is as durable as the server's last write (appendfsync); a failover to a replica can forget the " +
      "latest leases, while tokens keep growing with the server's clock.",
  };
  readonly #parts: RedisParts;
  readonly #renewals: RedisRenewals;
  /** The key of the set of groups; null where there can be none. */
  #groupsKey: string | null;
  /** Ends what goes over connections of its own. */
  readonly #closing = new AbortController();

  constructor(parts: RedisParts) {
    this.#parts = parts;
    this.#renewals = new RedisRenewals(parts);
    this.#groupsKey = parts.groupsKey;
  }

  acquire(request: AcquireRequest, { signal }: CallOptions): Promise<Acquired | Held> {
    const { electionGroup, participantId, termId, heartbeatTimeout, metadata } = request;
    const { sightings, pace, channelOf } = this.#parts;
    pace.note(heartbeatTimeout);
    return this.#call("acquire", electionGroup, signal, async (key) => {
      const evidence = sightings.evidence(electionGroup, heartbeatTimeout);
      const keys = [key, `${key}:token`];
      const facts = [termId, participantId, heartbeatTimeout, JSON.stringify(metadata)];
      const args = [...facts, ...evidence, electionGroup, channelOf(electionGroup)];
      const answered = await this.#grant(signal, keys, args);
      const [outcome, stamp, ...rest] = listOf(answered.answer);
      if (!outcomeOf([outcome], { 0: false, 1: true })) {
        return { acquired: false, leader: sightings.see(electionGroup, stamp, rest, answered.sentAt) };
      }
      sightings.see(electionGroup, stamp, [], answered.sentAt);
      const [token, acquiredAt] = [BigInt(String(rest[0])), dateOf(rest[1])];
      return { acquired: true, lease: { electionGroup, participantId, termId, token, acquiredAt, heartbeatTimeout } };
    });
  }

  renew(lease: Lease, options: RenewOptions): Promise<"renewed" | "lost"> {
    const { electionGroup, heartbeatTimeout } = lease;
    this.#parts.pace.note(heartbeatTimeout);
    return this.#call("renew", electionGroup, options.signal, () => this.#renewals.renew(lease, options));
  }

  release(
    { electionGroup, termId }: Pick<Lease, "electionGroup" | "termId">,
    { signal, transferTo = "" }: ReleaseCallOptions,
  ): Promise<"released" | "notHolder"> {
    const { sightings, channelOf } = this.#parts;
    return this.#call<"released" | "notHolder">("release", electionGroup, signal, async (key) => {
      const values = [termId, channelOf(electionGroup), transferTo];
      const { answer, sentAt } = await this.#run(signal, RELEASE, [key], values);
      const list = listOf(answer);
      const outcome = outcomeOf(list, { 0: "notHolder", 1: "released", 2: "over" });
      sightings.see(electionGroup, list[1], [], sentAt);
      if (outcome === "over") return sightings.distrusts(electionGroup) ? "released" : "notHolder";
      return outcome;
    });
  }

  read(electionGroup: string, { signal }: CallOptions): Promise<LeaderInfo | null> {
    const { sightings } = this.#parts;
    return this.#call("read", electionGroup, signal, async (key) => {
      const { answer, sentAt } = await this.#run(signal, READ, [key], []);
      const [stamp, ...record] = listOf(answer);
      const leader = sightings.see(electionGroup, stamp, record, sentAt);
      return leader === null || sightings.isFree(electionGroup) ? null : leader;
    });
  }

  async *watch(electionGroup: string, { signal }: CallOptions): AsyncIterable<Hint> {
    const { subscriptions, channelOf } = this.#parts;
    try {
      yield* subscriptions.watch(channelOf(electionGroup), signal);
    } catch (error) {
      throw providerError(this.name, "watch", electionGroup, error);
    }
  }

  /**
   * Groups that nobody leads any more are listed too. In a cluster it walks over all keys of all primaries, in steps.
   */
  groups({ signal }: CallOptions): Promise<string[]> {
    const { prefix, commands } = this.#parts;
    return callBackend(
      this.name,
      "groups",
      prefix,
      signal,
      () => this.#untilClosed(signal, (end) => listGroups(commands.router, prefix, this.#groupsKey, end)),
    );
  }

  /**
   * Beside what every provider's does, it logs in anew, to each primary of a cluster, and looks whether the server may
   * evict leases. It writes keys that live for a second at most.
   */
  healthCheck({ signal }: CallOptions): Promise<void> {
    const { prefix, commands } = this.#parts;
    return callBackend(
      this.name,
      "healthCheck",
      prefix,
      signal,
      () => this.#untilClosed(signal, (end) => checkServers(commands.router, prefix, end)),
    );
  }

  /** Asks each primary. */
  inspect({ signal }: CallOptions): Promise<Inspection> {
    const { prefix, commands } = this.#parts;
    const inspect = () => this.#untilClosed(signal, (end) => inspectServers(commands.router, end));
    return callBackend(this.name, "healthCheck", prefix, signal, inspect);
  }

  [Symbol.asyncDispose](): Promise<void> {
    this.#closing.abort(new Error("the provider is closed"));
    this.#parts.subscriptions.close();
    this.#parts.commands.close();
    return Promise.resolve();
  }

  /** Runs ACQUIRE so that it adds the group to the set, where that may be. */
  async #grant(signal: AbortSignal, keys: string[], args: (string | number)[]): Promise<Answer> {
    const set = this.#groupsKey;
    if (set !== null) {
      try {
        return await this.#run(signal, ACQUIRE, [...keys, set], args);
      } catch (error) {
        // Behind one address there is a cluster, which refuses keys of two slots before it runs anything.
        if (!/\bCROSSSLOT\b/.test(messageOf(error))) throw error;
        this.#groupsKey = null;
      }
    }
    return await this.#run(signal, ACQUIRE, keys, args);
  }

  /** Runs `work` with a signal that aborts when nobody waits for it any more, or the provider is closed. */
  async #untilClosed<T>(signal: AbortSignal, work: (end: AbortSignal) => Promise<T>): Promise<T> {
    const { signal: closing } = this.#closing;
    closing.throwIfAborted();
    return await abortable(work(AbortSignal.any([signal, closing])), closing);
  }

  #run(signal: AbortSignal, script: Script, keys: string[], args: (string | number)[]): Promise<Answer> {
    return this.#parts.commands.run(signal, script, keys, args);
  }

  async #call<T>(
    operation: ProviderOperation,
    electionGroup: string,
    signal: AbortSignal,
    work: (key: string) => Promise<T>,
  ): Promise<T> {
    const { keyOf, commands } = this.#parts;
    const key = keyOf(electionGroup);
    try {
      return await callBackend(this.name, operation, electionGroup, signal, () =>
        work(key).catch((error: unknown) => {
          throw explain(error, key);
        }));
    } catch (error) {
      if (signal.aborted) commands.gaveUp();
      throw error;
    }
  }
}

registerProvider({
  ...CATALOG.redis,
  open: (url, { clock }) => redisProvider({ url, clock }),
});
