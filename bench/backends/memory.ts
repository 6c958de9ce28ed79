import { memoryProvider } from "../../providers/memory.ts";
import type { BenchBackend } from "../backend.ts";

/** Beside a `Map`, behind the promise that any backend needs. */
export function open(url: string): Promise<BenchBackend> {
  const provider = memoryProvider({ name: url.slice("memory:".length) });
  const map = new Map<string, { until: number }>();
  const extend = () => Promise.resolve(map.set("lock", { until: performance.now() + 15_000 }));
  return Promise.resolve({
    provider,
    bare: {
      acquireWon: extend,
      acquireLost: () => Promise.resolve((map.get("lock")?.until ?? 0) > performance.now()),
      heartbeat: extend,
      release: () => Promise.resolve(map.delete("lock")),
    },
    heartbeatTimeout: 15_000,
    close: async () => await provider[Symbol.asyncDispose](),
  });
}
