/**
 * The suite on the statements of the SQL Server provider, each translated to PostgreSQL, where PostgreSQL can be had.
 */

import { sqlserverProvider } from "../../providers/sqlserver.ts";
import { type Clock, systemClock } from "../../src/time/clock.ts";
import { conformanceCases, type ConformanceTarget } from "../../testing/conformance.ts";
import { Detour } from "../servers/detour.ts";
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
  const { host } = new URL(server.url);
  const detour = await Detour.start(host);
  function open(clock: Clock = systemClock, url = server.url) {
    const pool = poolOn(url);
    pools.push(pool);
    return sqlserverProvider({ pool, driver, clock });
  }
  const target: ConformanceTarget = {
    name: "sqlserver",
    open: ({ clock } = {}) => open(clock),
    detour: {
      open: () => open(undefined, server.url.replace(host, detour.address)),
      hold: (part) => Promise.resolve(detour.hold(part)),
      bypass: () => Promise.resolve(detour.bypass()),
      deliver: () => Promise.resolve(detour.deliver()),
    },
  };
  try {
    for (const { name, run } of conformanceCases(target)) await t.step(name, run);
  } finally {
    detour.close();
    await Promise.all(pools.map((pool) => pool.end()));
    await server.stop();
  }
});
