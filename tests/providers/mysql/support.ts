/** What the tests of the MySQL provider share. */

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import mysql from "mysql2/promise";
import { type MysqlOptions, mysqlProvider } from "../../../providers/mysql.ts";
import type { Acquired, Held, Lease, Provider } from "../../../src/provider.ts";

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

/** A table of the test's own. */
export const newTable = () => `t_${randomUUID().replaceAll("-", "")}`;

/** A bound that a working call does not meet, on a busy machine either. */
export const soon = () => ({ signal: AbortSignal.timeout(20_000) });

/** Asks for the lease. */
export function acquire(
  provider: Provider,
  electionGroup: string,
  { heartbeatTimeout = 60_000, termId = randomUUID() as string, metadata = {}, signal = soon().signal } = {},
): Promise<Acquired | Held> {
  return provider.acquire({ electionGroup, participantId: "p", termId, heartbeatTimeout, metadata }, { signal });
}

/** Takes the lease, which must be free. */
export async function lead(
  provider: Provider,
  electionGroup: string,
  options?: Parameters<typeof acquire>[2],
): Promise<Lease> {
  const answer = await acquire(provider, electionGroup, options);
  assert.ok(answer.acquired, `${electionGroup} is held`);
  return answer.lease;
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

/** Waits for a condition. */
export async function until(what: string, condition: () => boolean | Promise<boolean>): Promise<void> {
  const deadline = AbortSignal.timeout(20_000);
  while (!(await condition())) {
    assert.ok(!deadline.aborted, `not ${what} in time`);
    await new Promise((resolve) => setTimeout(resolve, 10));
  }
}

/** Opens providers, and closes them all. */
export class Providers {
  readonly #opened: Provider[] = [];

  /** Opens one. */
  open(options: MysqlOptions): Provider {
    const provider = mysqlProvider(options);
    this.#opened.push(provider);
    return provider;
  }

  /** Closes them. */
  async close(): Promise<void> {
    for (const provider of this.#opened) await provider[Symbol.asyncDispose]();
  }
}
