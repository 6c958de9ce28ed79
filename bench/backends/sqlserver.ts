/** SQL Server beside a bare `mssql` pool: three updates and a select of one row with an expiry. */

import sql from "mssql";
import { sqlserverProvider } from "../../providers/sqlserver.ts";
import { parseTarget } from "../../providers/sqlserver/target.ts";
import type { BenchBackend } from "../backend.ts";

/** What of `mssql`, whose package brings no types, is used here. */
interface Request {
  input(name: string, type: unknown, value: unknown): Request;
  query(text: string): Promise<{ recordset?: unknown[] }>;
}
interface Pool {
  connect(): Promise<unknown>;
  request(): Request;
  close(): Promise<unknown>;
}
interface Driver {
  NVarChar(length: number): unknown;
  readonly Int: unknown;
  readonly ConnectionPool: new (config: unknown) => Pool;
}

const TABLE = "bench_bare";

/** Opens the provider, and a connection of the same kind for the bare calls. */
export async function open(url: string): Promise<BenchBackend> {
  const heartbeatTimeout = 60_000;
  const driver = sql as unknown as Driver;
  const { config } = parseTarget(url);
  const bare = new driver.ConnectionPool(
    typeof config === "string" ? config : { ...config, pool: { max: 1 }, validateConnection: "socket" },
  );
  const provider = sqlserverProvider({ url, table: "bench_leases" });
  await bare.connect();
  await bare.request().query(`IF OBJECT_ID(N'${TABLE}') IS NULL
    CREATE TABLE ${TABLE} (id NVARCHAR(64) NOT NULL PRIMARY KEY, term NVARCHAR(64) NOT NULL, expires DATETIME2 NOT NULL)`);
  const id = crypto.randomUUID();
  const run = (text: string) =>
    bare.request().input("id", driver.NVarChar(64), id).input("timeout", driver.Int, heartbeatTimeout).query(text);
  await run(`INSERT INTO ${TABLE} (id, term, expires) VALUES (@id, N'', SYSUTCDATETIME())`);
  const expires = "DATEADD(millisecond, @timeout, SYSUTCDATETIME())";
  return {
    provider,
    bare: {
      acquireWon: () =>
        run(`UPDATE ${TABLE} SET term = N'term', expires = ${expires} WHERE id = @id AND term = N'';
SELECT term, expires FROM ${TABLE} WHERE id = @id`),
      acquireLost: () => run(`SELECT term, expires FROM ${TABLE} WHERE id = @id`),
      heartbeat: () => run(`UPDATE ${TABLE} SET expires = ${expires} WHERE id = @id AND term = N'term'`),
      release: () => run(`UPDATE ${TABLE} SET term = N'' WHERE id = @id AND term = N'term'`),
    },
    heartbeatTimeout,
    async close() {
      await provider[Symbol.asyncDispose]();
      await bare.close();
    },
  };
}
