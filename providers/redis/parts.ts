/**
 * Puts a provider together, from a URL or from a client of the user's.
 *
 * @module
 */

import type { Clock } from "../../src/time/clock.ts";
import { Commands } from "./commands.ts";
import { ClusterRouter } from "./cluster.ts";
import { clientMaker, type DriverSettings, type RedisTls } from "./driver.ts";
import { type Injected, readClient, type RedisClient } from "./injected.ts";
import type { LinkParts, Setup } from "./link.ts";
import { Pace } from "./pace.ts";
import { Links, PrimaryRouter, type Router } from "./router.ts";
import { askSentinels } from "./sentinel.ts";
import { Sightings } from "./sightings.ts";
import { Subscriptions } from "./subscriptions.ts";
import { type Address, parseTarget } from "./target.ts";

/** The parts of a provider. */
export interface RedisParts {
  readonly prefix: string;
  readonly pace: Pace;
  readonly commands: Commands;
  readonly subscriptions: Subscriptions;
  readonly sightings: Sightings;
  /** The key of the set of groups; null in a cluster, where it would be in another slot than a lease. */
  readonly groupsKey: string | null;
  /** Returns the key of a group's lease. The braces put all keys of a group into one slot of a cluster. */
  readonly keyOf: (electionGroup: string) => string;
  /** Returns the channel on which a group's releases are told. */
  readonly channelOf: (electionGroup: string) => string;
}

/** The options of a provider, as far as they have been read. */
export interface PartsOptions {
  readonly url?: string | URL | undefined;
  readonly client?: RedisClient | undefined;
  readonly prefix?: string | undefined;
  readonly tls?: RedisTls | undefined;
  readonly clock: Clock;
  readonly socketTimeoutMs: number | undefined;
}

/**
 * Puts the parts together. Nothing is connected.
 *
 * @throws {TypeError | RangeError} if the options do not make sense, or not together
 */
export function makeParts(options: PartsOptions): RedisParts {
  const { client, clock } = options;
  if (client !== undefined && (options.url !== undefined || options.tls !== undefined)) {
    throw new TypeError(
      "Cannot open redis: client says where the servers are and how to do TLS; url and tls are not for it",
    );
  }
  const source = client === undefined ? readUrl(options) : readClient(client);
  const { target, isOver } = source;
  const socketTimeoutMs = options.socketTimeoutMs ?? target.socketTimeoutMs ?? 5_000;
  if (socketTimeoutMs < 50) {
    throw new RangeError(
      `Cannot use redis option "socketTimeout": it must be at least 50 ms, is ${socketTimeoutMs} ms`,
    );
  }
  const prefix = options.prefix ?? target.prefix ?? "multilock:";
  const pace = new Pace(socketTimeoutMs);
  const router = makeRouter(source, pace, clock);
  const listen = async () => {
    const primaries = await commands.router.primaries();
    // Messages reach every node of a cluster.
    const any = primaries[Math.floor(Math.random() * primaries.length)];
    if (any === undefined) throw new Error("no server has slots");
    return await commands.router.open(any);
  };
  const subscriptions = new Subscriptions(listen, pace, clock, isOver);
  const commands = new Commands(router, pace, clock, isOver, (error) => subscriptions.reset(error));
  const keyOf = (electionGroup: string) => `${prefix}{${electionGroup}}`;
  const channelOf = (electionGroup: string) => `${keyOf(electionGroup)}:released`;
  // No group's key is like it: theirs have a brace after the prefix.
  const groupsKey = target.topology === "cluster" ? null : `${prefix}groups`;
  const sightings = new Sightings(clock, pace, target.topology === "cluster");
  return { prefix, pace, commands, subscriptions, sightings, groupsKey, keyOf, channelOf };
}

/** Reads the URL, as if it were a client's settings. */
function readUrl({ url, tls }: PartsOptions): Injected {
  const target = parseTarget(url ?? "redis://127.0.0.1:6379/0");
  if (tls !== undefined && target.tls === null) {
    throw new TypeError('Cannot use redis option "tls": it needs a URL that begins with rediss');
  }
  const driver: DriverSettings = {
    tls: target.tls === null ? null : { files: target.tls, options: tls ?? {} },
    socket: { keepAlive: 10_000 },
  };
  return { target, driver, sentinelDriver: driver, translate: (address) => address, isOver: () => false };
}

function makeRouter({ target, driver, sentinelDriver, translate }: Injected, pace: Pace, clock: Clock): Router {
  const { topology, addresses, credentials, database } = target;
  const parts: LinkParts = { make: clientMaker(driver), pace, clock };
  const setup: Setup = { credentials, database, mustBePrimary: topology === "sentinel" };
  const links = new Links(parts, setup);
  if (topology === "cluster") return new ClusterRouter(links, addresses, translate);
  if (topology === "sentinel") {
    const sentinels: LinkParts = { ...parts, make: clientMaker(sentinelDriver) };
    const how = {
      sentinels: addresses,
      primary: target.primary,
      credentials: target.sentinelCredentials,
      fallback: credentials,
      translate,
    };
    return new PrimaryRouter(links, () => askSentinels(sentinels, how));
  }
  return new PrimaryRouter(links, () => Promise.resolve(addresses[0] as Address));
}
