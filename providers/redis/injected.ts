/**
 * A client of the user's, taken as a description of servers. Nothing is ever sent on it: its queues, its retries, its
 * parsers and its prefix are made for another use, and what it does next is its owner's to decide.
 *
 * @module
 */

import type { DriverSettings } from "./driver.ts";
import type { Address, RedisTarget } from "./target.ts";

/** The part of a client that the provider needs: a `Redis` or a `Cluster` of ioredis. */
export interface RedisClient {
  /** The settings that it was made with. */
  readonly options: object;
  /** Where its connection stands: `"end"` once its owner has closed it. */
  readonly status: string;
}

/** The part of a client's settings that is read. */
interface ClientOptions {
  readonly host?: string;
  readonly port?: number | string;
  readonly path?: string;
  readonly username?: string | null;
  readonly password?: string | null;
  readonly db?: number;
  readonly tls?: object | null;
  readonly keyPrefix?: string;
  readonly Connector?: unknown;
  readonly sentinels?: readonly { readonly host?: string; readonly port?: number | string }[] | null;
  readonly name?: string | null;
  readonly role?: string;
  readonly sentinelUsername?: string | null;
  readonly sentinelPassword?: string | null;
  readonly sentinelTLS?: object;
  readonly enableTLSForSentinelMode?: boolean;
  readonly natMap?: unknown;
  readonly redisOptions?: ClientOptions;
  readonly useSRVRecords?: boolean;
}

/** The servers, as a client names them. */
export interface Injected {
  readonly target: RedisTarget;
  readonly driver: DriverSettings;
  /** The connection to sentinels. */
  readonly sentinelDriver: DriverSettings;
  readonly translate: (address: Address) => Address;
  /** True if its owner has closed it. One that was lost and does not come back by itself looks the same. */
  readonly isOver: () => boolean;
}

/**
 * Reads the settings of a client.
 *
 * @throws {TypeError} if it is no client of ioredis, or if it would look for leases elsewhere than the provider
 */
export function readClient(client: RedisClient): Injected {
  const { options, startupNodes } = client as { options?: ClientOptions; startupNodes?: readonly unknown[] };
  if (typeof options !== "object" || options === null || typeof client.status !== "string") {
    throw refuse("it must be a Redis or a Cluster of ioredis");
  }
  const nodes = options.redisOptions ?? (startupNodes ? {} : options);
  if (options.keyPrefix || nodes.keyPrefix) throw refuse("give prefix to the provider, not keyPrefix");
  if (options.role !== undefined && options.role !== "master") throw refuse("its role must be master");
  if (options.useSRVRecords) throw refuse("useSRVRecords is not supported");
  const credentials = login(nodes.username, nodes.password);
  const shared = { primary: "", sentinelCredentials: {}, database: 0, tls: null, credentials } as const;
  const isSentinel = !startupNodes && Boolean(options.sentinels);
  const tls = isSentinel && !options.enableTLSForSentinelMode ? null : nodes.tls;
  const driver = { tls: tls ? { files: {}, options: tls } : null, socket: socketOf(nodes, isSentinel) };
  const base = {
    driver,
    sentinelDriver: driver,
    translate: translator(options.natMap),
    isOver: () => client.status === "end",
  };
  if (startupNodes !== undefined) {
    return { ...base, target: { ...shared, topology: "cluster", addresses: startupNodes.map(addressOf) } };
  }
  const database = Number(options.db ?? 0);
  if (!isSentinel) {
    return { ...base, target: { ...shared, topology: "server", addresses: [addressOf(options)], database } };
  }
  const { sentinelTLS } = options;
  return {
    ...base,
    sentinelDriver: { ...driver, tls: sentinelTLS ? { files: {}, options: sentinelTLS } : null },
    target: {
      ...shared,
      topology: "sentinel",
      addresses: (options.sentinels ?? []).map((each) => addressOf({ port: 26_379, ...each })),
      primary: options.name ?? "",
      sentinelCredentials: login(options.sentinelUsername, options.sentinelPassword),
      database,
    },
  };
}

function refuse(why: string): TypeError {
  return new TypeError(`Cannot use the redis client: ${why}`);
}

function login(username?: string | null, password?: string | null) {
  return { ...(username && { username }), ...((password || username) && { password: password ?? "" }) };
}

/** Of all settings these alone: they say how to reach a server, and nothing about when and how often. */
function socketOf(options: ClientOptions, isSentinel: boolean): Record<string, unknown> {
  const kept = ["family", "keepAlive", "noDelay", ...(isSentinel ? [] : ["path", "Connector"])];
  const given = Object.entries(options).filter(([name, value]) => kept.includes(name) && value !== undefined);
  return Object.fromEntries(given);
}

function addressOf(node: unknown): Address {
  if (typeof node === "number") return { host: "127.0.0.1", port: node };
  if (typeof node === "string") {
    const url = new URL(node.includes("://") ? node : `redis://${node}`);
    return { host: url.hostname.replace(/^\[|\]$/g, "") || "127.0.0.1", port: Number(url.port || 6_379) };
  }
  const { host, port } = node as { readonly host?: string | null; readonly port?: number | string | null };
  return { host: host || "127.0.0.1", port: Number(port ?? 6_379) };
}

/** Applies the client's `natMap`, a function or an object. */
function translator(natMap: unknown): (address: Address) => Address {
  return (address) => {
    const name = `${address.host}:${address.port}`;
    const mapped = typeof natMap === "function"
      ? natMap(name)
      : (natMap as { readonly [name: string]: Address } | null | undefined)?.[name];
    return mapped ? { host: String(mapped.host), port: Number(mapped.port) } : address;
  };
}
