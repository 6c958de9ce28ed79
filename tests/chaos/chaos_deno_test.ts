/**
 * The short chaos run of the gate: fifty faults on each backend that this machine can start, three backends at a time.
 * What a backend's absence means is decided by its own tests; here it is skipped by name.
 */

import { serverKinds } from "../servers/kinds.ts";
import { chaos, type ChaosResult, CONTESTED, isClean } from "./chaos.ts";
import { rowOf } from "./report.ts";

const FAULTS = 50;
const AT_ONCE = 3;
const SEED = 20_261_123;

/** A server that is built beside the tests is not waited for. */
const unbuilt: string[] = [];
for (const kind of await serverKinds()) if (await kind.isThere?.() === false) unbuilt.push(kind.name);
if (unbuilt.length > 0) console.log(`not run, since its server is not built yet: ${unbuilt.join(", ")}`);

// The longest first: Azure's leases last 15 s, and an API server of Kubernetes takes as long to start.
const first = ["azure-blob", "kubernetes", "file"];
const backends = [...first, ...CONTESTED.filter((name) => !first.includes(name))]
  .filter((name) => !unbuilt.includes(name));
const results = new Map(backends.map((backend) => [backend, Promise.withResolvers<ChaosResult>()]));
for (const { promise } of results.values()) promise.catch(() => {});

async function runAll(): Promise<void> {
  const waiting = [...results];
  await Promise.all(Array.from({ length: AT_ONCE }, async () => {
    for (let next = waiting.shift(); next !== undefined; next = waiting.shift()) {
      const [backend, { resolve, reject }] = next;
      await chaos({ backend, faults: FAULTS, seed: SEED }).then(resolve, reject);
    }
  }));
}

let running: Promise<void> | null = null;

for (const [backend, { promise }] of results) {
  Deno.test({
    name: `${backend}: ${FAULTS} faults, and never two leaders`,
    // The runs go on beside each other, so what one leaves open belongs to another.
    sanitizeOps: false,
    sanitizeResources: false,
    async fn() {
      running ??= runAll();
      const result = await promise;
      console.log(rowOf(result));
      if (!isClean(result)) {
        throw new Error([rowOf(result), ...result.overlaps.values(), ...result.regressions].join("\n"));
      }
    },
  });
}
