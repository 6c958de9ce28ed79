/**
 * Runs the T-SQL of the fence of SQL Server on PostgreSQL, as `tsql_on_postgres.ts` does that of the provider: its one
 * MERGE under HOLDLOCK becomes an INSERT with ON CONFLICT, which locks the same row for as long.
 */

import pg from "pg";
import type { SqlServerFenceClient, SqlServerFenceRequest } from "../../../fencing/mod.ts";

interface Client {
  connect(): Promise<void>;
  query(text: string, values?: unknown[]): Promise<{ rows: Record<string, unknown>[] }>;
  end(): Promise<void>;
}

/** A transaction as `mssql` has it, on a connection of its own. */
export interface Transaction extends SqlServerFenceClient {
  readonly client: Client;
  begin(): Promise<void>;
  end(how: "COMMIT" | "ROLLBACK"): Promise<void>;
  close(): Promise<void>;
}

/** Connects to the server at `url`. */
export async function transactionOn(url: string): Promise<Transaction> {
  const { Client } = pg as unknown as { Client: new (url: string) => Client };
  const client = new Client(url);
  await client.connect();
  let depth = 0;
  return {
    client,
    async begin() {
      await client.query("BEGIN");
      depth = 1;
    },
    async end(how) {
      await client.query(how);
      depth = 0;
    },
    request: () => new Request(client, () => depth),
    close: () => client.end(),
  };
}

/** An error as `mssql` raises it. */
class RequestError extends Error {
  readonly number: number;

  constructor(number: number, message: string) {
    super(message);
    this.number = number;
  }
}

const GUARD = /^IF @@TRANCOUNT = 0 THROW (\d+), N'([^']*)', 1;\n/;
const MERGE =
  /^MERGE INTO \[(\w+)\]\.\[(\w+)\] WITH \(UPDLOCK, HOLDLOCK\) AS fence\nUSING \(SELECT CAST\(@resource AS VARCHAR\(255\)\) AS resource, CAST\(@token AS BIGINT\) AS token\) AS claim\nON fence\.resource = claim\.resource\nWHEN MATCHED THEN UPDATE SET token = (CASE WHEN [^;]*? END)\nWHEN NOT MATCHED THEN INSERT \(resource, token\) VALUES \(claim\.resource, claim\.token\)\nOUTPUT CAST\(inserted\.token AS VARCHAR\(20\)\) AS highest;$/;
const CREATE =
  /^BEGIN TRY\n\s+IF OBJECT_ID\(N'\[(\w+)\]\.\[(\w+)\]'\) IS NULL\n\s+CREATE TABLE \[\1\]\.\[\2\] \(([^;]*)\);\nEND TRY\nBEGIN CATCH\n\s+IF OBJECT_ID\(N'\[\1\]\.\[\2\]'\) IS NULL THROW;\nEND CATCH;$/;

class Request implements SqlServerFenceRequest {
  readonly #client: Client;
  readonly #depth: () => number;
  readonly #inputs: Record<string, unknown> = {};

  constructor(client: Client, depth: () => number) {
    this.#client = client;
    this.#depth = depth;
  }

  input(name: string, value: unknown): void {
    this.#inputs[name] = value;
  }

  async query(batch: string): Promise<{ recordset: Record<string, unknown>[] }> {
    const [guard = "", number, message] = GUARD.exec(batch) ?? [];
    if (guard !== "" && this.#depth() === 0) throw new RequestError(Number(number), message ?? "");
    const create = CREATE.exec(batch);
    if (create !== null) return await this.#create(create[1] ?? "", create[2] ?? "", create[3] ?? "");
    const merge = MERGE.exec(batch.slice(guard.length));
    if (merge === null) throw new Error(`Cannot translate: ${batch}`);
    const [, schema, table, update = ""] = merge;
    const text = `INSERT INTO "${schema}"."${table}" AS fence (resource, token) VALUES ($1, $2::bigint)
ON CONFLICT (resource) DO UPDATE SET token = ${update.replaceAll("claim.", "excluded.")}
RETURNING token::text AS highest`;
    try {
      return { recordset: (await this.#client.query(text, [this.#inputs.resource, this.#inputs.token])).rows };
    } catch (error) {
      const code = error instanceof Error && "code" in error ? error.code : "";
      throw code === "42P01" ? new RequestError(208, `Invalid object name '${schema}.${table}'.`) : error;
    }
  }

  async #create(schema: string, table: string, columns: string): Promise<{ recordset: [] }> {
    const translated = columns.replace(/VARCHAR\(255\) COLLATE \w+/, 'text COLLATE "C"');
    await this.#client.query(`DO $$ BEGIN PERFORM pg_advisory_xact_lock(4712);
      CREATE SCHEMA IF NOT EXISTS ${schema};
      CREATE TABLE IF NOT EXISTS ${schema}.${table} (${translated}); END $$`);
    return { recordset: [] };
  }
}
