/**
 * What does a heartbeat take? Beside the bare call underneath.
 *
 * @module
 */

import type { Lease } from "../src/provider.ts";
import { openBackends, unbounded, win } from "./backend.ts";

for (const { name, backend } of await openBackends()) {
  const { provider, bare } = backend;
  let held: Lease | null = null;
  let bareHeld = false;

  Deno.bench(`${name}: bare extend`, { group: `${name}: heartbeat`, baseline: true }, async (b) => {
    if (!bareHeld) await bare.acquireWon();
    bareHeld = true;
    b.start();
    await bare.heartbeat();
    b.end();
  });
  Deno.bench(`${name}: heartbeat`, { group: `${name}: heartbeat` }, async (b) => {
    held ??= await win(backend, "bench-heartbeat");
    b.start();
    const outcome = await provider.renew(held, unbounded);
    b.end();
    if (outcome !== "renewed") throw new Error(`Cannot measure "${name}": ${outcome}`);
  });
}
