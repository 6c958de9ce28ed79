/** Uses a Redis that hangs, closes the provider, and must then end by itself. Run by `redis_deno_test.ts`. */

import process from "node:process";
import { redisProvider } from "../../providers/redis.ts";

const provider = redisProvider({ url: process.argv[2] ?? "" });
await provider.healthCheck({ signal: AbortSignal.timeout(10_000) });
const watching = new AbortController();
const hints = provider.watch?.("group", { signal: watching.signal })[Symbol.asyncIterator]();
await hints?.next();
console.log("connected");
await new Promise((resolve) => process.stdin.once("data", resolve));
process.stdin.pause();
process.stdin.unref?.();
await provider.read("group", { signal: AbortSignal.timeout(200) }).catch(() => {});
const call = provider.read("group", { signal: AbortSignal.timeout(60_000) }).catch(() => {});
await provider[Symbol.asyncDispose]();
await call;
await hints?.next().catch(() => {});
console.log("closed");
