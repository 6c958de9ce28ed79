/** The fence of SQL Server, its statements translated to PostgreSQL, where PostgreSQL can be had. */

import { fenceCases } from "../fencing/cases.ts";
import { postgresServer } from "../servers/postgres.ts";

Deno.test("sqlserverFence() holds, when its statements run on PostgreSQL", async (t) => {
  try {
    await postgresServer.install();
  } catch (error) {
    console.error(`SKIPPED: the fence of SQL Server on PostgreSQL: ${error}`);
    return;
  }
  const server = await postgresServer.start();
  try {
    const target = { kind: "sqlserver", url: server.url, hasTable: true };
    for (const { name, run } of fenceCases(target)) await t.step(name, run);
  } finally {
    await server.stop();
  }
});
