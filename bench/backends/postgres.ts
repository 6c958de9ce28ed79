/**
 * PostgreSQL beside a bare `pg` client: an upsert, a select and two updates, each prepared, of one row with an expiry.
 */

import pg from "pg";
import { postgresProvider } from "../../providers/postgres.ts";
import type { BenchBackend } from "../backend.ts";

/** What of `pg`, whose package brings no types, is used here. */
interface Client {
  connect(): Promise<unknown>;
  query(query: { name?: string; text: string; values?: unknown[] }): Promise<{ rows: unknown[] }>;
  end(): Promise<void>;
}

const TABLE = "bench_bare";

/** Opens the provider, and a connection of the same kind for the bare calls. */
export async function open(url: string): Promise<BenchBackend> {
  const heartbeatTimeout = 60_000;
  const bare = new (pg as unknown as { Client: new (url: string) => Client }).Client(url);
  const provider = postgresProvider({ url, table: "bench_leases" });
  await bare.connect();
  await bare.query({
    text:
      `CREATE TABLE IF NOT EXISTS ${TABLE} (key text PRIMARY KEY, term text, expires timestamptz) WITH (fillfactor = 50)`,
  });
  const key = crypto.randomUUID();
  const run = (name: string, text: string, ...values: unknown[]) =>
    bare.query({ name, text, values: [key, ...values] });
  const expires = "clock_timestamp() + $3::float8 * interval '1 millisecond'";
  return {
    provider,
    bare: {
      acquireWon: () =>
        run(
          "won",
          `INSERT INTO ${TABLE} AS bare VALUES ($1, $2, ${expires}) ON CONFLICT (key)
          DO UPDATE SET term = excluded.term, expires = excluded.expires WHERE bare.term = '' RETURNING term, expires`,
          ...["term", heartbeatTimeout],
        ),
      acquireLost: () => run("lost", `SELECT term, expires FROM ${TABLE} WHERE key = $1`),
      heartbeat: () =>
        run("beat", `UPDATE ${TABLE} SET expires = ${expires} WHERE key = $1 AND term = $2`, "term", heartbeatTimeout),
      release: () => run("release", `UPDATE ${TABLE} SET term = '' WHERE key = $1 AND term = $2`, "term"),
    },
    heartbeatTimeout,
    async close() {
      await provider[Symbol.asyncDispose]();
      await bare.end();
    },
  };
}
