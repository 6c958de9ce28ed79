/** What the tests of the MySQL provider share. */

import mysql from "mysql2/promise";
import { type MysqlOptions, mysqlProvider } from "../../../providers/mysql.ts";

import { OpenProviders } from "../sql_support.ts";

export { acquire, Gate, lead, newTable, soon, took, wait } from "../sql_support.ts";

/** A row, by its columns. */
export interface Row {
  readonly [column: string]: unknown;
}

/** A session at the server. */
export interface Session {
  query(sql: string): Promise<Row[]>;
  end(): Promise<void>;
}

/** Connects a session. */
export async function newSession(url: string): Promise<Session> {
  const connection = await mysql.createConnection({
    ...{ uri: plain(url), multipleStatements: true, supportBigNumbers: true, bigNumberStrings: true },
  });
  connection.on("error", () => {});
  return {
    query: async (sql) => (await connection.query(sql))[0] as Row[],
    end: () => connection.end(),
  };
}

/** A URL as the driver takes it: without settings of the provider's. */
export function plain(url: string): string {
  return url.replace(/\?.*$/, "").replace(/^mariadb:/, "mysql:");
}

/** Runs SQL in a session of its own. */
export async function sql(url: string, text: string): Promise<Row[]> {
  const session = await newSession(url);
  try {
    return await session.query(text);
  } finally {
    await session.end();
  }
}

/** Runs `work` while another session has locked what `lock` says. */
export async function whileLocked(url: string, lock: string, work: () => Promise<void>): Promise<void> {
  const other = await newSession(url);
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
export class Providers extends OpenProviders<MysqlOptions> {
  constructor() {
    super(mysqlProvider);
  }
}
