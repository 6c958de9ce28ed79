/** The lease register of Kubernetes, under concurrent clients and a server that freezes. */

import { test } from "node:test";
import { kubernetesProvider } from "../../providers/kubernetes.ts";
import { checkRegister } from "../linearizability_run.ts";
import { backend } from "../servers/backend.ts";

const server = backend("kubernetes");
if (server !== null) {
  // Not killed: with its etcd gone in the middle of a write, the API server repeats that by itself, and one term was
  // then seen under two tokens (docs/backends/kubernetes.md).
  const { url } = server;
  const { kill: _, ...faults } = server.faults;
  test("the lease register of kubernetes is linearizable, when its server fails", async () => {
    await checkRegister({
      name: "kubernetes",
      open: () => kubernetesProvider({ url }),
      faults,
      heartbeatTimeout: 1_000,
      durationMs: 12_000,
      paceMs: 200,
      // Every observer judges for itself what stands still.
      expiry: "revocable",
      freezesMs: [300, 1_500],
    });
  });
}
