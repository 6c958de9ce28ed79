/** What does a renewal take? Beside the bare call, and those of others on the same backend. */

import process from "node:process";
import { type BenchBackend, openBackend, unbounded, win } from "../backend.ts";
import { inTurn, type Measurement, type Setting } from "../measurement.ts";

/** Backends whose renewals are measured a thousand at once, too. */
const TOGETHER = ["redis", "postgres"];
const MANY = 1_000;
import { openPeers } from "../peers/all.ts";

/** Measures it. */
export async function* heartbeat(setting: Setting): AsyncIterable<Measurement> {
  const backend = await openBackend(setting.url);
  const { provider, bare } = backend;
  const peers = setting.quick ? [] : await openPeers(provider.name, setting.url);
  try {
    const lease = await win(backend, `beat-${crypto.randomUUID()}`);
    await bare.acquireWon();
    const renewing = peers.flatMap(([name, { acquire, renew }]) =>
      renew === undefined ? [] : [{ name, acquire, renew }]
    );
    for (const { acquire } of renewing) await acquire();
    const results = await inTurn(setting, setting.quick ? 50 : 500, {
      "bare renewal": () => bare.heartbeat(),
      renewal: async () => {
        const outcome = await provider.renew(lease, unbounded);
        if (outcome !== "renewed") throw new Error(`Cannot measure "${setting.backend}": ${outcome}`);
      },
      ...Object.fromEntries(renewing.map(({ name, renew }) => [`${name}: renewal`, renew])),
    });
    await bare.release();
    await provider.release(lease, unbounded);
    const line = { suite: "heartbeat", backend: setting.backend, unit: "us" };
    for (const [what, runs] of results) {
      yield { ...line, what, runs, ...(what !== "bare renewal" && { beside: "bare renewal" }) };
    }
    if (TOGETHER.includes(setting.backend)) {
      for (const [what, runs] of await together(setting, backend)) {
        yield { ...line, what, unit: "ms", runs, ...(what === OURS && { beside: BARE }) };
      }
    }
  } finally {
    await Promise.all(peers.map(([, peer]) => peer.close()));
    await backend.close();
  }
}

const [BARE, OURS] = [`CPU, ${MANY} bare at once`, `CPU, ${MANY} at once`];

/** The CPU of this process for a thousand renewals that are asked for in one turn: the bare calls, and ours. */
async function together({ runs, quick }: Setting, backend: BenchBackend): Promise<Map<string, number[]>> {
  const prefix = `many-${crypto.randomUUID()}`;
  const leases = await Promise.all(Array.from({ length: MANY }, (_, index) => win(backend, `${prefix}-${index}`)));
  await backend.bare.acquireWon();
  const works: [string, () => Promise<unknown>][] = [
    [BARE, () => Promise.all(leases.map(() => backend.bare.heartbeat()))],
    // Each with a signal of its own, as elections have them.
    [OURS, () => Promise.all(leases.map((lease) => backend.provider.renew(lease, new AbortController())))],
  ];
  const results = new Map(works.map(([what]) => [what, [] as number[]]));
  const rounds = quick ? 3 : 20;
  for (let run = -1; run < runs; run++) {
    for (const [what, work] of works) {
      const before = process.cpuUsage();
      for (let round = 0; round < rounds; round++) await work();
      const { user, system } = process.cpuUsage(before);
      // The first is for the compiler.
      if (run >= 0) results.get(what)?.push((user + system) / 1_000 / rounds);
    }
  }
  await backend.bare.release();
  await Promise.all(leases.map((lease) => backend.provider.release(lease, unbounded)));
  return results;
}
