/**
 * MySQL or MariaDB beside a bare `mysql2` connection: an upsert, a select and two updates of one row with an expiry.
 */

import mysql from "mysql2/promise";
import { mysqlProvider } from "../../providers/mysql.ts";
import type { BenchBackend } from "../backend.ts";

const TABLE = "bench_bare";

/** Opens the provider, and a connection of the same kind for the bare calls. */
export async function open(url: string): Promise<BenchBackend> {
  const heartbeatTimeout = 60_000;
  const provider = mysqlProvider({ url, table: "bench_leases" });
  const bare = await mysql.createConnection({ uri: url, multipleStatements: true });
  await bare.query(
    `CREATE TABLE IF NOT EXISTS ${TABLE} (id VARBINARY(255) PRIMARY KEY, term VARBINARY(255), expires DATETIME(6))`,
  );
  const key = crypto.randomUUID();
  const expires = "UTC_TIMESTAMP(6) + INTERVAL 60 SECOND";
  return {
    provider,
    bare: {
      acquireWon: () =>
        bare.query(
          `INSERT INTO ${TABLE} VALUES (?, 'term', ${expires}) ON DUPLICATE KEY UPDATE
  expires = IF(term = '', VALUES(expires), expires), term = IF(term = '', 'term', term);
SELECT term, expires FROM ${TABLE} WHERE id = ?`,
          [key, key],
        ),
      acquireLost: () => bare.query(`SELECT term, expires FROM ${TABLE} WHERE id = ?`, [key]),
      heartbeat: () => bare.query(`UPDATE ${TABLE} SET expires = ${expires} WHERE id = ? AND term = 'term'`, [key]),
      release: () => bare.query(`UPDATE ${TABLE} SET term = '' WHERE id = ? AND term = 'term'`, [key]),
    },
    async version() {
      const [rows] = await bare.query("SELECT VERSION() AS version");
      return (rows as { version: string }[])[0]?.version ?? "";
    },
    heartbeatTimeout,
    async close() {
      await provider[Symbol.asyncDispose]();
      await bare.end();
    },
  };
}
