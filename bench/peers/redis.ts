/** Locks on Redis from npm. */

import { Redis } from "ioredis";
import { type LockOptions, Mutex } from "redis-semaphore";
import type { Peer } from "./peer.ts";

const LEASE_MS = 15_000;

/** Opens a `Mutex` of redis-semaphore: it asks every 10 ms, and renews by itself. */
export function openSemaphore(url: string, key: string): Promise<Peer> {
  const redis = new Redis(url);
  const options: LockOptions = { lockTimeout: LEASE_MS, acquireTimeout: Infinity };
  const mutex = new Mutex(redis as unknown as ConstructorParameters<typeof Mutex>[0], key, options);
  return Promise.resolve({
    acquire: () => mutex.acquire(),
    release: () => mutex.release(),
    close: () => Promise.resolve(redis.disconnect()),
  });
}

/** What of redlock, whose types cannot be found by its own manifest, is used here. */
interface Lock {
  release(): Promise<unknown>;
  extend(ms: number): Promise<Lock>;
}

/** Opens a lock of redlock 5: it asks every 200 ms, give or take as much. */
export async function openRedlock(url: string, key: string): Promise<Peer> {
  const module: { default: unknown } = await import("redlock");
  // A module of CommonJS, whose default is its exports on some runtimes.
  const found = module.default as { default?: unknown };
  const Redlock = (found.default ?? found) as new (clients: unknown[], settings: object) => {
    acquire(keys: string[], ms: number): Promise<Lock>;
  };
  const redis = new Redis(url);
  const redlock = new Redlock([redis], { retryCount: -1 });
  let lock: Lock | undefined;
  return {
    acquire: async () => lock = await redlock.acquire([key], LEASE_MS),
    release: async () => await lock?.release(),
    renew: async () => lock = await lock?.extend(LEASE_MS),
    close: () => Promise.resolve(redis.disconnect()),
  };
}
