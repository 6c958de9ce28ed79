/** What does a renewal take? Beside the bare call, and those of others on the same backend. */

import { openBackend, unbounded, win } from "../backend.ts";
import { inTurn, type Measurement, type Setting } from "../measurement.ts";
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
  } finally {
    await Promise.all(peers.map(([, peer]) => peer.close()));
    await backend.close();
  }
}
