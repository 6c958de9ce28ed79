/** The fence in MySQL, with real processes. */

import { createConnection } from "mysql2/promise";
import { test } from "node:test";
import { mysqlFence } from "../../fencing/mod.ts";
import { fenceCases } from "../fencing/cases.ts";
import { waitsForTheLower } from "../fencing/transactions.ts";
import { backend } from "../servers/backend.ts";

const server = backend("mysql");

if (server !== null) {
  const { url } = server;
  for (const { name, run } of fenceCases({ kind: "mysql", url, hasTable: true })) test(name, run);

  test("mysql fence: a higher token waits until the transaction of a lower one has ended", async () => {
    const client = await createConnection(url);
    const fence = mysqlFence(client);
    try {
      await waitsForTheLower("mysql", url, (text) => client.query(text), (...given) => fence.admit(...given));
    } finally {
      await client.end();
    }
  });
}
