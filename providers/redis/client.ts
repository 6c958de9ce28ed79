/**
 * Makes ioredis clients that send nothing late: they queue nothing while offline, repeat nothing, and do not reconnect by
 * themselves. The next call connects.
 *
 * @module
 */

import type { MakeClient, RedisClient } from "./connection.ts";

/** How to do TLS, as `tls.connect` of `node:tls` takes it. */
export interface RedisTls {
  /** Certificate authorities to trust instead of the runtime's, as PEM. */
  readonly ca?: string | string[];
  /** The client's certificate chain, as PEM. */
  readonly cert?: string;
  /** The client's private key, as PEM. */
  readonly key?: string;
  /** The name that the server's certificate must have. @default the URL's host */
  readonly servername?: string;
  /** Whether to refuse a server whose certificate is not trusted. @default true */
  readonly rejectUnauthorized?: boolean;
}

/** Returns a function that makes clients for `url`. It loads the driver when it is first called. */
export function clientMaker(
  url: URL,
  options: { readonly socketTimeoutMs: number; readonly tls?: RedisTls },
): MakeClient {
  const host = decodeURIComponent(url.hostname).replace(/^\[|\]$/g, "") || "127.0.0.1";
  const database = Number(url.pathname.slice(1) || 0);
  if (!Number.isInteger(database)) {
    throw new TypeError(`Cannot open redis: its database must be a number, not "${url.pathname.slice(1)}"`);
  }
  const settings = {
    host,
    port: Number(url.port || 6379),
    ...(url.username && { username: decodeURIComponent(url.username) }),
    ...(url.password && { password: decodeURIComponent(url.password) }),
    ...(url.protocol === "rediss:" && { tls: { servername: host, ...options.tls } }),
    db: database,
    lazyConnect: true,
    // The check asks for INFO, which not every user may. A server that still loads its data says so to each call.
    enableReadyCheck: false,
    enableOfflineQueue: false,
    autoResendUnfulfilledCommands: false,
    autoResubscribe: false,
    maxRetriesPerRequest: 0,
    retryStrategy: () => null,
    connectTimeout: options.socketTimeoutMs,
    socketTimeout: options.socketTimeoutMs,
    disconnectTimeout: 200,
  };
  return async () => {
    const { Redis } = await import("ioredis");
    return new Redis(settings) as unknown as RedisClient;
  };
}

/** Reads the URL of a server. Its text stays out of the error: it may hold a password. */
export function parseUrl(target: string | URL): URL {
  const url = URL.canParse(String(target)) ? new URL(target) : null;
  if (url === null || !["redis:", "rediss:"].includes(url.protocol)) {
    throw new TypeError("Cannot open redis: the URL must look like redis://user:password@host:6379/0");
  }
  return url;
}

/** Refuses a client that would send a command again, or to other keys than ours. */
export function checkClient(client: RedisClient): void {
  const { options } = client as { options?: { autoResendUnfulfilledCommands?: boolean; keyPrefix?: string } };
  if (options?.autoResendUnfulfilledCommands === true) {
    throw new TypeError("Cannot use the redis client: its autoResendUnfulfilledCommands must be false");
  }
  if (options?.keyPrefix) {
    throw new TypeError("Cannot use the redis client: give prefix to the provider, not keyPrefix");
  }
}
