/** The lease register of Redis, under concurrent clients and a server that freezes and dies. */

import { test } from "node:test";
import { redisProvider } from "../../providers/redis.ts";
import { checkRegister } from "../linearizability_run.ts";
import { backend } from "../servers/backend.ts";

const server = backend("redis");
if (server !== null) {
  const { url, faults } = server;
  test("the lease register of redis is linearizable, when its server fails", async () => {
    await checkRegister({
      name: "redis",
      open: () => redisProvider({ url }),
      faults,
      heartbeatTimeout: 400,
      durationMs: 6_000,
      paceMs: 40,
      freezesMs: [150, 600],
    });
  });
}
