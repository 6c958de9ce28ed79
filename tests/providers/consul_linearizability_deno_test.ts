/** The lease register of Consul, under concurrent clients and a server that freezes and dies. */

import { test } from "node:test";
import { consulProvider } from "../../providers/consul.ts";
import { checkRegister } from "../linearizability_run.ts";
import { backend } from "../servers/backend.ts";

const server = backend("consul");
if (server !== null) {
  const { url, faults } = server;
  test("the lease register of consul is linearizable, when its server fails", async () => {
    await checkRegister({
      name: "consul",
      open: () => consulProvider({ url }),
      faults,
      heartbeatTimeout: 500,
      durationMs: 7_000,
      paceMs: 60,
      // Every observer judges for itself what stands still.
      expiry: "revocable",
      freezesMs: [200, 800],
    });
  });
}
