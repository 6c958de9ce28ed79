/** Locks of sessions of databases: no lease, no renewal, and who waits is woken by the server. */

import mysql from "mysql2/promise";
import pg from "pg";
import type { Peer } from "./peer.ts";

/** Opens an advisory lock of PostgreSQL. */
export async function openAdvisory(url: string, key: string): Promise<Peer> {
  const { Client } = pg as unknown as {
    Client: new (url: string) => {
      connect(): Promise<unknown>;
      query(query: object): Promise<unknown>;
      end(): Promise<void>;
    };
  };
  const client = new Client(url);
  await client.connect();
  const call = (name: string) => client.query({ name, text: `SELECT ${name}(hashtextextended($1, 0))`, values: [key] });
  return {
    acquire: () => call("pg_advisory_lock"),
    release: () => call("pg_advisory_unlock"),
    close: () => client.end(),
  };
}

/** Opens a lock of MySQL's `GET_LOCK`. */
export async function openGetLock(url: string, key: string): Promise<Peer> {
  const connection = await mysql.createConnection({ uri: url.replace(/^mariadb:/, "mysql:") });
  return {
    acquire: () => connection.query("SELECT GET_LOCK(?, 31536000)", [key]),
    release: () => connection.query("SELECT RELEASE_LOCK(?)", [key]),
    close: () => connection.end(),
  };
}
