/** The suite on the statements of the SQL Server provider, each translated to PostgreSQL, where PostgreSQL can be had. */

import { sqlserverProvider } from "../../providers/sqlserver.ts";
import { conformanceCases } from "../../testing/conformance.ts";
import { postgresServer } from "../servers/postgres.ts";
import { driver, poolOn } from "./sqlserver/tsql_on_postgres.ts";

// The pools keep timers for their idle connections until they are ended.
const options = { sanitizeOps: false, sanitizeResources: false };

Deno.test("sqlserverProvider() conforms, when its statements run on PostgreSQL", options, async (t) => {
  try {
    await postgresServer.install();
  } catch (error) {
    console.error(`SKIPPED: the statements of SQL Server on PostgreSQL: ${error}`);
    return;
  }
  const server = await postgresServer.start();
  const pools: ReturnType<typeof poolOn>[] = [];
  function open() {
    const pool = poolOn(server.url);
    pools.push(pool);
    return sqlserverProvider({ pool, driver });
  }
  try {
    for (const { name, run } of conformanceCases({ name: "sqlserver", open })) await t.step(name, run);
  } finally {
    await Promise.all(pools.map((pool) => pool.end()));
    await server.stop();
  }
});
