/** The fence in PostgreSQL, with real processes that are elected there, too. */

import { test } from "node:test";
import { postgresFence } from "../../../fencing/mod.ts";
import { fenceCases } from "../../fencing/cases.ts";
import { postgresClient } from "../../fencing/stores.ts";
import { waitsForTheLower } from "../../fencing/transactions.ts";
import { backend } from "../../servers/backend.ts";

const server = backend("postgres");

if (server !== null) {
  const { url } = server;
  for (const { name, run } of fenceCases({ kind: "postgres", url, provider: url, hasTable: true })) test(name, run);

  test("postgres fence: a higher token waits until the transaction of a lower one has ended", async () => {
    const client = await postgresClient(url);
    const fence = postgresFence(client);
    try {
      await waitsForTheLower("postgres", url, (text) => client.query(text), (...given) => fence.admit(...given));
    } finally {
      await client.end();
    }
  });
}
