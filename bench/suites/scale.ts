/** What do many elections of one process on one provider cost? All start and are won, then rest, then stop. */

import process from "node:process";
import { LeaderElection } from "../../mod.ts";
import { sleep, systemClock } from "../../src/time/clock.ts";
import { openBackend } from "../backend.ts";
import type { Measurement, Setting } from "../measurement.ts";

/** Backends that are measured with ten thousand; a thousand are asked of the others, and a hundred where files sync. */
const MANY: Readonly<Record<string, number>> = {
  memory: 10_000,
  redis: 10_000,
  postgres: 10_000,
  file: 100,
  sqlite: 100,
};

/** Measures it. */
export async function* scale({ backend, url, quick }: Setting): AsyncIterable<Measurement> {
  const most = MANY[backend] ?? 1_000;
  const counts = quick ? [100] : [100, 1_000, 10_000].filter((count) => count <= most);
  for (const count of counts) yield* measure(backend, url, count, quick);
}

async function* measure(backend: string, url: string, count: number, quick: boolean): AsyncIterable<Measurement> {
  const { provider, close } = await openBackend(url);
  const prefix = `scale-${crypto.randomUUID()}`;
  const heap = heapKiB();
  const lost = { count: 0 };
  const start = performance.now();
  const elections = Array.from(
    { length: count },
    (_, index) => new LeaderElection(provider, { electionGroup: `${prefix}-${index}`, logger: null }),
  );
  await Promise.all(elections.map((election) => election.start()));
  while (!elections.every(({ isLeader }) => isLeader)) await sleep(systemClock, 10);
  const started = performance.now() - start;
  const each = (heapKiB() - heap) / count;
  const terms = elections.map(({ term }) => term?.termId);
  const [restMs, cpu] = [quick ? 1_000 : 15_000, process.cpuUsage()];
  await sleep(systemClock, restMs);
  const { user, system } = process.cpuUsage(cpu);
  lost.count = elections.filter(({ term }, index) => term?.termId !== terms[index]).length;
  const stop = performance.now();
  await Promise.all(elections.map((election) => election.stop()));
  const stopped = performance.now() - stop;
  await close();
  const line = { suite: "scale", backend };
  yield { ...line, what: `${count}: all lead`, unit: "ms", runs: [started] };
  yield { ...line, what: `${count}: CPU`, unit: "%", runs: [(user + system) / 10 / restMs] };
  yield { ...line, what: `${count}: heap of each`, unit: "KiB", runs: [each] };
  yield { ...line, what: `${count}: lost`, unit: "leases", runs: [lost.count] };
  yield { ...line, what: `${count}: all have stopped`, unit: "ms", runs: [stopped] };
}

function heapKiB(): number {
  (globalThis as { gc?: () => void }).gc?.();
  return process.memoryUsage().heapUsed / 1_024;
}
