/**
 * What does it take to win and to lose an election, and to give leadership back? Each beside the bare call underneath.
 *
 * @module
 */

import { openBackends, request, unbounded, win } from "./backend.ts";

for (const { name, backend } of await openBackends()) {
  const { provider, bare } = backend;

  Deno.bench(`${name}: bare set-if-absent`, { group: `${name}: acquire won`, baseline: true }, async (b) => {
    b.start();
    await bare.acquireWon();
    b.end();
    await bare.release();
  });
  Deno.bench(`${name}: acquire won`, { group: `${name}: acquire won` }, async (b) => {
    const wanted = request(backend, "bench-won");
    b.start();
    const answer = await provider.acquire(wanted, unbounded);
    b.end();
    if (!answer.acquired) throw new Error(`Cannot measure "${name}": the group is held`);
    await provider.release(answer.lease, unbounded);
  });

  Deno.bench(`${name}: bare set-if-absent, held`, { group: `${name}: acquire lost`, baseline: true }, async (b) => {
    await bare.acquireWon();
    b.start();
    await bare.acquireLost();
    b.end();
    await bare.release();
  });
  Deno.bench(`${name}: acquire lost`, { group: `${name}: acquire lost` }, async (b) => {
    const lease = await win(backend, "bench-lost");
    const wanted = request(backend, "bench-lost");
    b.start();
    const answer = await provider.acquire(wanted, unbounded);
    b.end();
    if (answer.acquired) throw new Error(`Cannot measure "${name}": two hold one lease`);
    await provider.release(lease, unbounded);
  });

  Deno.bench(`${name}: bare delete`, { group: `${name}: release`, baseline: true }, async (b) => {
    await bare.acquireWon();
    b.start();
    await bare.release();
    b.end();
  });
  Deno.bench(`${name}: release`, { group: `${name}: release` }, async (b) => {
    const lease = await win(backend, "bench-release");
    b.start();
    const outcome = await provider.release(lease, unbounded);
    b.end();
    if (outcome !== "released") throw new Error(`Cannot measure "${name}": ${outcome}`);
  });
}
