/** Simulations in threads: as many at once as the machine has cores. */

import { patience } from "../slowness.ts";
import type { SimulationJob, SimulationReport } from "./worker.ts";

/** Runs one job in a thread of its own, for at most `boundMs` of an idle machine. */
export function runInThread(job: SimulationJob, boundMs: number): Promise<SimulationReport> {
  const { promise, resolve, reject } = Promise.withResolvers<SimulationReport>();
  const worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
  const mostMs = patience(boundMs);
  const bound = setTimeout(() => reject(new Error(`Cannot simulate: no end within ${mostMs} ms`)), mostMs);
  worker.onmessage = ({ data }: MessageEvent<SimulationReport>) => resolve(data);
  worker.onerror = (event) => {
    event.preventDefault();
    reject(new Error(`Cannot simulate: ${event.message}`));
  };
  worker.postMessage(job);
  return promise.finally(() => {
    clearTimeout(bound);
    worker.terminate();
  });
}

/** Does `work` on each of `items`, as many at once as there are cores, and returns what came of each, in order. */
export async function inParallel<T, R>(items: readonly T[], work: (item: T) => Promise<R>): Promise<R[]> {
  const results: R[] = [];
  const queue = items.entries();
  const threads = Array.from({ length: navigator.hardwareConcurrency }, async () => {
    for (const [index, item] of queue) results[index] = await work(item);
  });
  await Promise.all(threads);
  return results;
}
