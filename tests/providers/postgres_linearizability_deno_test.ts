/** The lease register of PostgreSQL, under concurrent clients and a server that freezes and dies. */

import { test } from "node:test";
import { postgresProvider } from "../../providers/postgres.ts";
import { checkRegister } from "../linearizability_run.ts";
import { backend } from "../servers/backend.ts";

const server = backend("postgres");
if (server !== null) {
  const { url, faults } = server;
  test("the lease register of postgres is linearizable, when its server fails", async () => {
    await checkRegister({
      name: "postgres",
      open: () => postgresProvider({ url }),
      faults,
      // A clock that was stepped ends no term that this process knows to live, and its release counts.
      expiry: "revocable",
      heartbeatTimeout: 400,
      durationMs: 6_000,
      paceMs: 40,
      freezesMs: [150, 600],
    });
  });
}
