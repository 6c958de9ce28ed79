/** What the tests of the PostgreSQL provider share. */

import pg from "pg";
import { type PostgresOptions, postgresProvider } from "../../../providers/postgres.ts";

import { OpenProviders } from "../sql_support.ts";

export { acquire, Gate, lead, newTable, soon, took, wait } from "../sql_support.ts";

/** A row, by its columns. */
export interface Row {
  readonly [column: string]: unknown;
}

/** What `pg` offers and these tests use. Its package brings no types. */
export interface Client {
  connect(): Promise<unknown>;
  query(text: string, values?: unknown[]): Promise<{ rows: Row[] }>;
  end(): Promise<void>;
  release(destroy?: boolean): void;
}

/** A pool of `pg`. */
export interface Pool {
  connect(): Promise<never>;
  query: Client["query"];
  end(): Promise<void>;
  on(event: "error", listener: () => void): unknown;
  readonly totalCount: number;
  readonly idleCount: number;
  readonly waitingCount: number;
}

const driver = pg as unknown as {
  Client: new (options: string | Readonly<Record<string, unknown>>) => Client;
  Pool: new (options: Readonly<Record<string, unknown>>) => Pool;
};

/** Makes a pool such as an application has. */
export function newPool(options: Readonly<Record<string, unknown>>): Pool {
  const pool = new driver.Pool(options);
  pool.on("error", () => {});
  return pool;
}

/** Connects one client. */
export async function newClient(url: string): Promise<Client> {
  const client = new driver.Client(url);
  await client.connect();
  return client;
}

/** Runs one statement on a connection of its own. */
export async function sql(url: string, text: string, values: unknown[] = []): Promise<Row[]> {
  const client = await newClient(url);
  try {
    return (await client.query(text, values)).rows;
  } finally {
    await client.end();
  }
}

/** Runs `work` while another session has locked what `lock` says. */
export async function whileLocked(url: string, lock: string, work: () => Promise<void>): Promise<void> {
  const other = await newClient(url);
  try {
    await other.query("BEGIN");
    await other.query(lock);
    await work();
    await other.query("COMMIT");
  } finally {
    await other.end();
  }
}

/** Opens providers, and closes them all. */
export class Providers extends OpenProviders<PostgresOptions> {
  constructor() {
    super(postgresProvider);
  }
}
