/**
 * Runs the T-SQL of the SQL Server provider on PostgreSQL, so that its steps are tried under real concurrency where
 * there is no SQL Server. Babelfish, one of the servers that the provider is for, is PostgreSQL with a T-SQL front,
 * too.
 *
 * The text that the provider sends is taken apart and each statement translated word by word; each runs and commits by
 * itself, as it would there, unless the connection is in a transaction. What this cannot show is that a T-SQL server
 * understands the text as it is.
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

/** How the server behaves. */
export interface TsqlOptions {
  /** By how much its clock is off, in milliseconds. Asked for each statement. */
  readonly clockOffset?: () => number;
  /** Waited for before each statement runs; it gets the T-SQL of the statement. */
  readonly hold?: (statement: string) => Promise<void>;
  /** Whether a statement opens a transaction, if none is open, until a batch ends this mode. */
  readonly implicitTransactions?: boolean;
  /** Whether every connection comes with a transaction that somebody has left open. */
  readonly leftOpen?: boolean;
  /** The number of a duplicate key: 2627, or 2601 where the key is a unique index. */
  readonly duplicate?: 2601 | 2627;
  /** Whether errors that have a number of their own in SQL Server have one for all, as in Babelfish. */
  readonly babelfish?: boolean;
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
  BigInt: "bigint",
  MAX: "max",
};

/** A pool that takes T-SQL and talks to the PostgreSQL server at `url`. */
export function poolOn(url: string, options: TsqlOptions = {}): SqlServerPool & { end(): Promise<void> } {
  const { Pool } = pg as unknown as { Pool: new (options: Record<string, unknown>) => Pool };
  const pool = new Pool({ connectionString: url, max: 8, options: "-c search_path=dbo,public" });
  const sessions = new WeakMap<Client, Session>();
  async function connect(): Promise<Session> {
    const client = await pool.connect();
    const known = sessions.get(client);
    if (known !== undefined) return known;
    const session = new Session(client, options);
    sessions.set(client, session);
    if (options.leftOpen) await session.begin();
    return session;
  }
  return { request: () => new Request(connect), end: () => pool.end() };
}

/** A connection, and what T-SQL has set on it. */
class Session {
  readonly client: Client;
  readonly options: TsqlOptions;
  isImplicit: boolean;
  transactions = 0;

  constructor(client: Client, options: TsqlOptions) {
    this.client = client;
    this.options = options;
    this.isImplicit = options.implicitTransactions ?? false;
  }

  async begin(): Promise<void> {
    await this.client.query("BEGIN");
    this.transactions = 1;
  }
}

class Request implements SqlServerRequest {
  readonly #connect: () => Promise<Session>;
  readonly #inputs = new Map<string, unknown>();
  #session: Session | null = null;
  #cancelled = false;

  constructor(connect: () => Promise<Session>) {
    this.#connect = connect;
  }

  input(name: string, _type: unknown, value: unknown): void {
    this.#inputs.set(name, value);
  }

  cancel(): void {
    this.#cancelled = true;
    this.#session?.client.release(true);
    this.#session = null;
  }

  batch(sql: string): Promise<unknown> {
    return this.query(sql);
  }

  async query(sql: string): Promise<{ recordset: Record<string, unknown>[] }> {
    const session = await this.#connect();
    if (this.#cancelled) {
      session.client.release();
      throw new RequestError(0, "Canceled.");
    }
    this.#session = session;
    try {
      return { recordset: await this.#runBatch(session, await this.#runBeginning(session, sql)) };
    } finally {
      this.#session?.client.release();
      this.#session = null;
    }
  }

  /** Runs what a batch begins with, as far as it is there, and returns the rest. */
  async #runBeginning(session: Session, sql: string): Promise<string> {
    let rest = sql;
    function take(pattern: RegExp): RegExpExecArray | null {
      const match = pattern.exec(rest);
      if (match !== null) rest = rest.slice(match[0].length);
      return match;
    }
    if (take(/^SET IMPLICIT_TRANSACTIONS OFF;\n/) !== null) session.isImplicit = false;
    const refused = take(/^IF @@TRANCOUNT > 0 THROW (\d+), N'([^']*)', 1;\n/);
    if (refused !== null && session.transactions > 0) throw new RequestError(Number(refused[1]), refused[2] ?? "");
    if (take(/^DECLARE @now DATETIME2 = SYSUTCDATETIME\(\);\n/) !== null) {
      const [row] = await this.#run(session, "SELECT CAST(SYSUTCDATETIME() AS NVARCHAR(40)) AS now");
      this.#inputs.set("now", new Timestamp(String(row?.now)));
    }
    return rest;
  }

  async #runBatch(session: Session, sql: string): Promise<Record<string, unknown>[]> {
    const run = (statement: string) => this.#run(session, statement);
    const acquire = ACQUIRE.exec(sql);
    if (acquire !== null) {
      const [, held, known, insert, expected = "", update, select] = acquire;
      if ((await run(held ?? "")).length === 0) {
        if ((await run(known ?? "")).length === 0) {
          await run(insert ?? "").catch((error) => {
            if (!expected.split(", ").includes(String(error.number))) throw error;
          });
        }
        await run(update ?? "");
      }
      return await run(select ?? "");
    }
    const create = CREATE_TABLE.exec(sql);
    if (create !== null) {
      const exists = async () => (await run(`SELECT 1 WHERE to_regclass(${create[1]}) IS NOT NULL`)).length > 0;
      if (await exists()) return [];
      return await run(`CREATE TABLE ${create[2]}`).catch(async (error) => {
        if (!await exists()) throw error;
        return [];
      });
    }
    let rows: Record<string, unknown>[] = [];
    for (const statement of sql.split(";\n")) rows = await run(statement);
    return rows;
  }

  async #run(session: Session, statement: string): Promise<Record<string, unknown>[]> {
    const { client, options } = session;
    await options.hold?.(statement);
    if (session.isImplicit && session.transactions === 0) await session.begin();
    const values: unknown[] = [];
    const offset = options.clockOffset?.() ?? 0;
    const text = translate(statement, offset).replace(/@(\w+)/g, (_, name: string) => {
      if (!this.#inputs.has(name)) throw new RequestError(137, `Must declare the scalar variable "@${name}".`);
      const value = this.#inputs.get(name);
      values.push(typeof value === "bigint" || value instanceof Timestamp ? String(value) : value);
      return `$${values.length}::${typeOf(value)}`;
    });
    try {
      return (await client.query(text, values)).rows;
    } catch (error) {
      throw translateError(error, options);
    }
  }
}

/** A variable of T-SQL that holds a time. */
class Timestamp {
  readonly #text: string;

  constructor(text: string) {
    this.#text = text;
  }

  toString(): string {
    return this.#text;
  }
}

function typeOf(value: unknown): string {
  if (value instanceof Timestamp) return "timestamp";
  return typeof value === "number" ? "int" : typeof value === "bigint" ? "bigint" : "text";
}

const ACQUIRE =
  /^IF NOT EXISTS \((.*)\)\nBEGIN\n\s+BEGIN TRY\n\s+IF NOT EXISTS \((.*)\)\n\s+(INSERT[^;]*);\n\s+END TRY\n\s+BEGIN CATCH\n\s+IF ERROR_NUMBER\(\) NOT IN \((.*)\) THROW;\n\s+END CATCH;\n\s+(UPDATE[^;]*);\nEND;\n(SELECT[^;]*)$/;
const CREATE_TABLE =
  /^BEGIN TRY\n\s+IF OBJECT_ID\((N'[^']*')\) IS NULL\n\s+CREATE TABLE ([^;]*);\nEND TRY\nBEGIN CATCH/;

function translate(statement: string, offset: number): string {
  return statement
    .replace(/DATEADD\(millisecond, @timeout, @now\)/g, "(@now + @timeout * interval '1 ms')")
    .replace(
      /DATEDIFF_BIG\(millisecond, (CAST\([^)]*\)|SYSUTCDATETIME\(\)), (@?\w+)\)/g,
      "floor(extract(epoch FROM $2 - $1) * 1000)::bigint",
    )
    .replace(/SCHEMA_ID\((N'[^']*')\)/g, "to_regnamespace($1)::oid::int")
    .replace(/NVARCHAR\(\w+\)( COLLATE \w+)?/g, "text")
    .replace(/\bDATETIME2\b/g, "timestamp")
    .replace(/SYSUTCDATETIME\(\)/g, `(clock_timestamp() AT TIME ZONE 'UTC' + interval '${offset} ms')`)
    .replace(/N'/g, "'")
    .replace(/\[([^\]]*)\]/g, '"$1"');
}

function translateError(error: unknown, { duplicate = 2627, babelfish = false }: TsqlOptions): Error {
  const message = error instanceof Error ? error.message : String(error);
  const code = error instanceof Error && "code" in error ? String(error.code) : "";
  /** The numbers that SQL Server has for what PostgreSQL says. */
  const numbers: Readonly<Record<string, number>> = {
    ...(!babelfish && { "42P01": 208, "3F000": 2760 }),
    "23505": duplicate,
    "42P07": 2714,
  };
  return new RequestError(numbers[code] ?? (babelfish ? 33_557_097 : 50_000), message);
}
