/** What does a renewal take? Beside the bare call. */

import { openBackend, unbounded, win } from "../backend.ts";
import { inTurn, type Measurement, type Setting } from "../measurement.ts";

/** Measures it. */
export async function* heartbeat(setting: Setting): AsyncIterable<Measurement> {
  const backend = await openBackend(setting.url);
  const { provider, bare } = backend;
  try {
    const lease = await win(backend, `beat-${crypto.randomUUID()}`);
    await bare.acquireWon();
    const results = await inTurn(setting, setting.quick ? 50 : 500, {
      "bare renewal": () => bare.heartbeat(),
      renewal: async () => {
        const outcome = await provider.renew(lease, unbounded);
        if (outcome !== "renewed") throw new Error(`Cannot measure "${setting.backend}": ${outcome}`);
      },
    });
    await bare.release();
    await provider.release(lease, unbounded);
    const line = { suite: "heartbeat", backend: setting.backend, unit: "us" };
    for (const [what, runs] of results) {
      yield { ...line, what, runs, ...(what === "renewal" && { beside: "bare renewal" }) };
    }
  } finally {
    await backend.close();
  }
}
