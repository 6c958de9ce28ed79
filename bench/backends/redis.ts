/** Redis beside a bare ioredis: `SET NX PX`, a compare-and-extend script, and `DEL`. */

import { Redis } from "ioredis";
import { redisProvider } from "../../providers/redis.ts";
import type { BenchBackend } from "../backend.ts";

const EXTEND =
  "if redis.call('GET', KEYS[1]) == ARGV[1] then return redis.call('PEXPIRE', KEYS[1], ARGV[2]) end return 0";

/** Opens the provider, and a connection of the same kind for the bare calls. */
export async function open(url: string): Promise<BenchBackend> {
  const heartbeatTimeout = 60_000;
  const bare = new Redis(url, { enableOfflineQueue: true });
  const provider = redisProvider({ url, prefix: "bench:" });
  const sha = String(await bare.script("LOAD", EXTEND));
  const key = `bench:bare:${crypto.randomUUID()}`;
  return {
    provider,
    bare: {
      acquireWon: () => bare.set(key, "term", "PX", heartbeatTimeout, "NX"),
      acquireLost: () => bare.set(key, "other", "PX", heartbeatTimeout, "NX"),
      heartbeat: () => bare.evalsha(sha, 1, key, "term", heartbeatTimeout),
      release: () => bare.del(key),
    },
    heartbeatTimeout,
    async close() {
      await provider[Symbol.asyncDispose]();
      bare.disconnect();
    },
  };
}
