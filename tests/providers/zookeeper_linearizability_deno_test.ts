/** The lease register of ZooKeeper, under concurrent clients and a server that freezes and dies. */

import { test } from "node:test";
import { zookeeperProvider } from "../../providers/zookeeper.ts";
import { checkRegister } from "../linearizability_run.ts";
import { backend } from "../servers/backend.ts";

const server = backend("zookeeper");
if (server !== null) {
  const { url, faults } = server;
  test("the lease register of zookeeper is linearizable, when its server fails", async () => {
    await checkRegister({
      name: "zookeeper",
      open: () => zookeeperProvider({ url }),
      faults,
      heartbeatTimeout: 1_000,
      durationMs: 8_000,
      paceMs: 60,
      // Its own provider ends a lease in time; the node may be seen until it is deleted.
      expiry: "revocable",
      // A term is its session's.
      renewsOthers: false,
      freezesMs: [300, 2_000],
    });
  });
}
