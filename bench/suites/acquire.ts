/**
 * What does it take to win a lease and to give it back, and to lose to its holder? Beside the bare calls, and beside
 * what others on the same backend take for a lock.
 */

import { openBackend, request, unbounded, win } from "../backend.ts";
import { inTurn, type Measurement, type Setting } from "../measurement.ts";
import { openPeers } from "../peers/all.ts";

/** Measures it. */
export async function* acquire(setting: Setting): AsyncIterable<Measurement> {
  const backend = await openBackend(setting.url);
  const { provider, bare } = backend;
  const count = setting.quick ? 30 : 300;
  const peers = setting.quick ? [] : await openPeers(provider.name, setting.url);
  try {
    const held = await win(backend, `lost-${crypto.randomUUID()}`);
    const electionGroup = `won-${crypto.randomUUID()}`;
    const results = await inTurn(setting, count, {
      "bare acquire + release": async () => {
        await bare.acquireWon();
        await bare.release();
      },
      "acquire + release": async () => {
        const answer = await provider.acquire(request(backend, electionGroup), unbounded);
        if (!answer.acquired) throw new Error(`Cannot measure "${setting.backend}": the group is held`);
        await provider.release(answer.lease, unbounded);
      },
      "acquire, held": () => provider.acquire(request(backend, held.electionGroup), unbounded),
      ...Object.fromEntries(peers.map(([name, peer]) => [`${name}: acquire + release`, async () => {
        await peer.acquire();
        await peer.release();
      }])),
    });
    await provider.release(held, unbounded);
    for (const [what, runs] of results) {
      const line = { suite: "acquire", backend: setting.backend, what, unit: "us", runs };
      yield what.endsWith("acquire + release") && !what.startsWith("bare")
        ? { ...line, beside: "bare acquire + release" }
        : line;
    }
  } finally {
    await Promise.all(peers.map(([, peer]) => peer.close()));
    await backend.close();
  }
}
