/**
 * Runs the T-SQL of the SQL Server provider on PostgreSQL, so that its steps are tried under real concurrency where there is
 * no SQL Server. Babelfish, one of the servers that the provider is for, is PostgreSQL with a T-SQL front, too.
 *
 * The text that the provider sends is taken apart and each statement translated word by word; each runs and commits by
 * itself, as it would there. What this cannot show is that a T-SQL server understands the text as it is.
 */

import pg from "pg";
import type { SqlServerDriver, SqlServerPool, SqlServerRequest } from "../../../providers/sqlserver.ts";

interface Client {
  query(text: string, values?: unknown[]): Promise<{ rows: Record<string, unknown>[] }>;
  release(destroy?: boolean): void;
}

interface Pool {
  connect(): Promise<Client>;
  end(): Promise<void>;
}

/** An error as `mssql` raises it. */
class RequestError extends Error {
  readonly number: number;

  constructor(number: number, message: string) {
    super(message);
    this.number = number;
  }
}

/** Stands for the module `mssql`; its types are what a declaration in T-SQL would say. */
export const driver: SqlServerDriver = {
  NVarChar: (length) => `nvarchar(${length})`,
  Int: "int",
  MAX: "max",
};

/** A pool that takes T-SQL and talks to the PostgreSQL server at `url`. */
export function poolOn(url: string): SqlServerPool & { end(): Promise<void> } {
  const { Pool } = pg as unknown as { Pool: new (options: Record<string, unknown>) => Pool };
  const pool = new Pool({ connectionString: url, max: 8, options: "-c search_path=dbo,public" });
  return { request: () => new Request(pool), end: () => pool.end() };
}

class Request implements SqlServerRequest {
  readonly #pool: Pool;
  readonly #inputs = new Map<string, unknown>();
  #client: Client | null = null;
  #cancelled = false;

  constructor(pool: Pool) {
    this.#pool = pool;
  }

  input(name: string, _type: unknown, value: unknown): void {
    this.#inputs.set(name, value);
  }

  cancel(): void {
    this.#cancelled = true;
    this.#client?.release(true);
    this.#client = null;
  }

  batch(sql: string): Promise<unknown> {
    return this.query(sql);
  }

  async query(sql: string): Promise<{ recordset: Record<string, unknown>[] }> {
    const client = await this.#pool.connect();
    if (this.#cancelled) {
      client.release();
      throw new RequestError(0, "Canceled.");
    }
    this.#client = client;
    try {
      return { recordset: await this.#runBatch(client, sql) };
    } finally {
      this.#client?.release();
      this.#client = null;
    }
  }

  async #runBatch(client: Client, sql: string): Promise<Record<string, unknown>[]> {
    const run = (statement: string) => this.#run(client, statement);
    const acquire = ACQUIRE.exec(sql);
    if (acquire !== null) {
      const [, held, known, insert, update, select] = acquire;
      if ((await run(held ?? "")).length === 0) {
        if ((await run(known ?? "")).length === 0) {
          await run(insert ?? "").catch((error) => {
            if (error.number !== 2627) throw error;
          });
        }
        await run(update ?? "");
      }
      return await run(select ?? "");
    }
    const create = CREATE_TABLE.exec(sql);
    if (create !== null) return await run(`CREATE TABLE ${create[1]}`);
    let rows: Record<string, unknown>[] = [];
    for (const statement of sql.split(";\n")) rows = await run(statement);
    return rows;
  }

  async #run(client: Client, statement: string): Promise<Record<string, unknown>[]> {
    const values: unknown[] = [];
    const text = translate(statement).replace(/@(\w+)/g, (_, name: string) => {
      if (!this.#inputs.has(name)) throw new RequestError(137, `Must declare the scalar variable "@${name}".`);
      const index = values.push(this.#inputs.get(name));
      return `$${index}${typeof values[index - 1] === "number" ? "::int" : "::text"}`;
    });
    try {
      return (await client.query(text, values)).rows;
    } catch (error) {
      throw translateError(error);
    }
  }
}

const ACQUIRE =
  /^IF NOT EXISTS \((.*)\)\nBEGIN\n\s+BEGIN TRY\n\s+IF NOT EXISTS \((.*)\)\n\s+(INSERT[^;]*);\n\s+END TRY\n\s+BEGIN CATCH\n\s+IF ERROR_NUMBER\(\) <> 2627 THROW;\n\s+END CATCH;\n\s+(UPDATE[^;]*);\nEND;\n(SELECT[^;]*)$/;
const CREATE_TABLE = /^BEGIN TRY\n\s+IF OBJECT_ID\(N'[^']*'\) IS NULL\n\s+CREATE TABLE ([^;]*);\nEND TRY\nBEGIN CATCH/;

function translate(statement: string): string {
  return statement
    .replace(/DATEADD\(millisecond, @timeout, SYSUTCDATETIME\(\)\)/g, "SYSUTCDATETIME() + @timeout * interval '1 ms'")
    .replace(
      /DATEDIFF_BIG\(millisecond, (CAST\([^)]*\)|SYSUTCDATETIME\(\)), (\w+)\)/g,
      "floor(extract(epoch FROM $2 - $1) * 1000)::bigint",
    )
    .replace(/SCHEMA_ID\((N'[^']*')\)/g, "to_regnamespace($1)::oid::int")
    .replace(/NVARCHAR\(\w+\)( COLLATE \w+)?/g, "text")
    .replace(/\bDATETIME2\b/g, "timestamp")
    .replace(/SYSUTCDATETIME\(\)/g, "(clock_timestamp() AT TIME ZONE 'UTC')")
    .replace(/N'/g, "'")
    .replace(/\[([^\]]*)\]/g, '"$1"');
}

/** The numbers that SQL Server has for what PostgreSQL says. */
const NUMBERS: Readonly<Record<string, number>> = { "42P01": 208, "3F000": 2760, "23505": 2627, "42P07": 2714 };

function translateError(error: unknown): Error {
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  return new RequestError(NUMBERS[code] ?? 50_000, error instanceof Error ? error.message : String(error));
}
