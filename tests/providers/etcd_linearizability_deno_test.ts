/** The lease register of etcd, under concurrent clients and a server that freezes and dies. */

import { test } from "node:test";
import { etcdProvider } from "../../providers/etcd.ts";
import { checkRegister } from "../linearizability_run.ts";
import { backend } from "../servers/backend.ts";

const server = backend("etcd");
if (server !== null) {
  const { url, faults } = server;
  test("the lease register of etcd is linearizable, when its server fails", async () => {
    await checkRegister({
      name: "etcd",
      open: () => etcdProvider({ url }),
      faults,
      heartbeatTimeout: 2_000,
      durationMs: 12_000,
      paceMs: 60,
      // A leader that has just started grants every lease its whole time again.
      expiry: "revocable",
      freezesMs: [200, 2_500],
      // Another provider deletes the keys of its own terms.
      renewsOthers: false,
    });
  });
}
