/** The lease register of MySQL, under concurrent clients and a server that freezes and dies. */

import { test } from "node:test";
import { mysqlProvider } from "../../providers/mysql.ts";
import { checkRegister } from "../linearizability_run.ts";
import { backend } from "../servers/backend.ts";

const server = backend("mysql");
if (server !== null) {
  const { url, faults } = server;
  test("the lease register of mysql is linearizable, when its server fails", async () => {
    await checkRegister({
      name: "mysql",
      open: () => mysqlProvider({ url }),
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
