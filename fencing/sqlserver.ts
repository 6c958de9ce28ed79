/**
 * A fence in a table of SQL Server, inside the caller's transaction.
 *
 * @module
 */

import { abortable } from "../src/call.ts";
import { type AdmitOptions, checkAdmission, refuseLower } from "./fence.ts";
import {
  explainMissing,
  notInTransaction,
  propertyOf,
  resolveSqlFence,
  type SqlFence,
  type SqlFenceOptions,
} from "./sql.ts";

/** A request of `mssql`, as far as the fence needs it. */
export interface SqlServerFenceRequest {
  /** Names a value. */
  input(name: string, value: unknown): unknown;
  /** Runs a batch. */
  query(text: string): Promise<{ readonly recordset?: readonly object[] }>;
}

/** The part of a transaction of `mssql` that the fence needs. */
export interface SqlServerFenceClient {
  /** Makes a request in the transaction. */
  request(): SqlServerFenceRequest;
}

/** Options of `sqlserverFence`. */
export interface SqlServerFenceOptions extends SqlFenceOptions {
  /** The schema of the table. @default "dbo" */
  readonly schema?: string | undefined;
}

/**
 * Makes a fence on `client`, a transaction of `mssql` that the caller has begun: admit first, write then, commit. For
 * `createTable()` a pool will do.
 *
 * @throws {TypeError} if an option is malformed or does not exist
 */
export function sqlserverFence(client: SqlServerFenceClient, options: SqlServerFenceOptions = {}): SqlFence {
  const { schema, table, inTransaction } = resolveSqlFence(options, "dbo");
  return new SqlServerFence(client, `[${schema}].[${table}]`, inTransaction);
}

class SqlServerFence implements SqlFence {
  readonly #client: SqlServerFenceClient;
  readonly #table: string;
  readonly #inTransaction: boolean;

  constructor(client: SqlServerFenceClient, table: string, inTransaction: boolean) {
    this.#client = client;
    this.#table = table;
    this.#inTransaction = inTransaction;
  }

  async admit(resource: string, token: bigint, options: AdmitOptions = {}): Promise<void> {
    checkAdmission(resource, token, options);
    const request = this.#client.request();
    request.input("resource", resource);
    request.input("token", String(token));
    // In: @resource, @token, as text. Out: the highest token. HOLDLOCK keeps the row, or the place where it is missing,
    // locked until the transaction ends, so of two that are the first one waits; with UPDLOCK neither has to give way.
    const text = `${this.#inTransaction ? `IF @@TRANCOUNT = 0 THROW ${NO_TRANSACTION}, N'no transaction', 1;\n` : ""}\
MERGE INTO ${this.#table} WITH (UPDLOCK, HOLDLOCK) AS fence
USING (SELECT CAST(@resource AS VARCHAR(255)) AS resource, CAST(@token AS BIGINT) AS token) AS claim
ON fence.resource = claim.resource
WHEN MATCHED THEN UPDATE SET token = CASE WHEN fence.token < claim.token THEN claim.token ELSE fence.token END
WHEN NOT MATCHED THEN INSERT (resource, token) VALUES (claim.resource, claim.token)
OUTPUT CAST(inserted.token AS VARCHAR(20)) AS highest;`;
    const admitted = request.query(text).catch((error: unknown) => {
      const number = propertyOf(error, "number");
      if (number === NO_TRANSACTION) throw notInTransaction(resource);
      throw explainMissing(error, this.#table, number === NO_SUCH_OBJECT);
    });
    const { recordset } = await abortable(admitted, options.signal ?? NEVER);
    refuseLower(resource, token, propertyOf(recordset?.[0], "highest"));
  }

  async createTable(): Promise<void> {
    // Of two that do it at once, one may find that the other was faster, which is as good.
    await this.#client.request().query(`BEGIN TRY
  IF OBJECT_ID(N'${this.#table}') IS NULL
    CREATE TABLE ${this.#table} (
      resource VARCHAR(255) COLLATE Latin1_General_100_BIN2 NOT NULL PRIMARY KEY,
      token BIGINT NOT NULL
    );
END TRY
BEGIN CATCH
  IF OBJECT_ID(N'${this.#table}') IS NULL THROW;
END CATCH;`);
  }
}

/** The number of the error that the batch raises itself. */
const NO_TRANSACTION = 51_000;
/** Invalid object name. */
const NO_SUCH_OBJECT = 208;
const NEVER = new AbortController().signal;
