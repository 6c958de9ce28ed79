/** The lease register of Kubernetes, under concurrent clients and a server that freezes and dies. */

import { test } from "node:test";
import { kubernetesProvider } from "../../providers/kubernetes.ts";
import type { ConformanceFaults } from "../../testing/conformance.ts";
import { checkRegister } from "../linearizability_run.ts";
import { backend } from "../servers/backend.ts";
import { ownServer } from "./kubernetes/own_server.ts";

function check(url: string, faults: ConformanceFaults): Promise<void> {
  return checkRegister({
    name: "kubernetes",
    open: () => kubernetesProvider({ url }),
    faults,
    heartbeatTimeout: 1_000,
    // Longer than a restart takes.
    durationMs: 30_000,
    paceMs: 300,
    // Every observer judges for itself what stands still.
    expiry: "revocable",
    freezesMs: [300, 1_500],
  });
}

const server = backend("kubernetes");
if (server !== null) {
  test("the lease register of kubernetes is linearizable, when its server fails", async () => {
    await check(server.url, server.faults);
  });
}

const start = await ownServer();
if (start !== null) {
  test("the lease register of kubernetes is linearizable, when etcd fails behind the server", async () => {
    const { url, store } = await start();
    // The server goes on: it may have sent a write of which it never hears, or send one again.
    await check(url, store);
  });
}
