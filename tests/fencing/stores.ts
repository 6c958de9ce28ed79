/** What leaders write to in the tests of fences: one text for each resource, in a real store, past its guard or not. */

import {
  azureBlobFence,
  FencedError,
  FENCING_TOKEN,
  mysqlFence,
  postgresFence,
  redisFence,
  type SqlFence,
  sqliteFence,
  sqlserverFence,
} from "../../fencing/mod.ts";

/** A store, as one leader has it: over a connection of its own. */
export interface Store {
  /** Creates what the store and its guard need, if it is missing. Any number may do it at once. */
  setUp(): Promise<void>;
  /** Writes `value`, through the guard if `isGuarded`. @throws {FencedError} if the guard refuses */
  write(resource: string, token: bigint, value: string, isGuarded: boolean): Promise<void>;
  /** Returns what was written last; null if nothing was. */
  read(resource: string): Promise<string | null>;
  /** Admits a token, and writes nothing. */
  admit(resource: string, token: bigint): Promise<void>;
  /** Loses what the guard remembers of `resource`, or of all. */
  loseGuard(resource: string): Promise<void>;
  /** Ends the connection. */
  close(): Promise<void>;
}

/** Opens a store by the name of its kind. */
export const STORES: Readonly<Record<string, (url: string) => Promise<Store>>> = {
  postgres: openPostgres,
  mysql: openMysql,
  sqlserver: openSqlServer,
  sqlite: openSqlite,
  redis: openRedis,
  "azure-blob": openAzureBlob,
  http: (url) => Promise.resolve(openHttp(url)),
};

interface Rows {
  query(text: string, values?: unknown[]): Promise<{ rows: { value?: string }[] }>;
}

/** The part of a SQL store in which the kinds differ. */
interface SqlStore {
  readonly fence: SqlFence;
  readonly begin: () => Promise<unknown>;
  readonly commit: () => Promise<unknown>;
  readonly rollback: () => Promise<unknown>;
  readonly put: (resource: string, value: string) => Promise<unknown>;
  readonly get: (resource: string) => Promise<string | undefined>;
  readonly createValues: () => Promise<unknown>;
  readonly dropFences: () => Promise<unknown>;
  readonly close: () => Promise<void>;
}

function sqlStore(sql: SqlStore): Store {
  const transaction = async (work: () => Promise<void>) => {
    await sql.begin();
    try {
      await work();
    } catch (error) {
      await sql.rollback();
      throw error;
    }
    await sql.commit();
  };
  return {
    async setUp() {
      await sql.createValues();
      await sql.fence.createTable();
    },
    write: (resource, token, value, isGuarded) =>
      transaction(async () => {
        if (isGuarded) await sql.fence.admit(resource, token);
        await sql.put(resource, value);
      }),
    admit: (resource, token) => transaction(() => sql.fence.admit(resource, token)),
    read: async (resource) => await sql.get(resource) ?? null,
    loseGuard: async () => void await sql.dropFences(),
    close: sql.close,
  };
}

/** A client of PostgreSQL, for tests that look behind the store. */
export async function postgresClient(url: string): Promise<Rows & { end(): Promise<void> }> {
  const { default: pg } = await import("pg");
  const { Client } = pg as unknown as {
    Client: new (url: string) => Rows & { connect(): Promise<void>; end(): Promise<void> };
  };
  const client = new Client(url);
  await client.connect();
  return client;
}

async function openPostgres(url: string): Promise<Store> {
  const client = await postgresClient(url);
  return sqlStore({
    fence: postgresFence(client),
    begin: () => client.query("BEGIN"),
    commit: () => client.query("COMMIT"),
    rollback: () => client.query("ROLLBACK"),
    put: (resource, value) =>
      client.query("INSERT INTO fenced VALUES ($1, $2) ON CONFLICT (resource) DO UPDATE SET value = $2", [
        resource,
        value,
      ]),
    get: async (resource) =>
      (await client.query("SELECT value FROM fenced WHERE resource = $1", [resource])).rows[0]?.value,
    createValues: () =>
      client.query(`DO $$ BEGIN PERFORM pg_advisory_xact_lock(4711);
        CREATE TABLE IF NOT EXISTS fenced (resource text PRIMARY KEY, value text); END $$`),
    dropFences: () => client.query("DROP TABLE multilock_fences"),
    close: () => client.end(),
  });
}

async function openMysql(url: string): Promise<Store> {
  const { createConnection } = await import("mysql2/promise");
  const client = await createConnection(url);
  const put = "INSERT INTO fenced VALUES (?, ?) ON DUPLICATE KEY UPDATE value = VALUES(value)";
  return sqlStore({
    fence: mysqlFence(client),
    begin: () => client.query("START TRANSACTION"),
    commit: () => client.query("COMMIT"),
    rollback: () => client.query("ROLLBACK"),
    put: (resource, value) => client.query(put, [resource, value]),
    async get(resource) {
      const [rows] = await client.query("SELECT value FROM fenced WHERE resource = ?", [resource]);
      return (rows as { value: string }[])[0]?.value;
    },
    createValues: () =>
      client.query("CREATE TABLE IF NOT EXISTS fenced (resource VARCHAR(255) PRIMARY KEY, value TEXT) ENGINE = InnoDB"),
    dropFences: () => client.query("DROP TABLE multilock_fences"),
    close: () => client.end(),
  });
}

/** SQL Server's statements, translated to PostgreSQL at `url`. */
async function openSqlServer(url: string): Promise<Store> {
  const { transactionOn } = await import("../providers/sqlserver/fence_on_postgres.ts");
  const transaction = await transactionOn(url);
  const inner = await openPostgres(url);
  const client = transaction.client as unknown as Rows;
  return sqlStore({
    fence: sqlserverFence(transaction),
    begin: () => transaction.begin(),
    commit: () => transaction.end("COMMIT"),
    rollback: () => transaction.end("ROLLBACK"),
    put: (resource, value) =>
      client.query("INSERT INTO fenced VALUES ($1, $2) ON CONFLICT (resource) DO UPDATE SET value = $2", [
        resource,
        value,
      ]),
    get: async (resource) => await inner.read(resource) ?? undefined,
    createValues: () => inner.setUp(),
    dropFences: () => client.query("DROP TABLE dbo.multilock_fences"),
    async close() {
      await transaction.close();
      await inner.close();
    },
  });
}

async function openSqlite(path: string): Promise<Store> {
  const { DatabaseSync } = await import("node:sqlite");
  const database = new DatabaseSync(path);
  database.exec("PRAGMA busy_timeout = 30000");
  const run = (text: string) => Promise.resolve(database.exec(text));
  return sqlStore({
    fence: sqliteFence(database),
    begin: () => run("BEGIN IMMEDIATE"),
    commit: () => run("COMMIT"),
    rollback: () => run("ROLLBACK"),
    put: (resource, value) =>
      Promise.resolve(
        database.prepare("INSERT INTO fenced VALUES (?, ?) ON CONFLICT DO UPDATE SET value = excluded.value")
          .run(resource, value),
      ),
    get(resource) {
      const row = database.prepare("SELECT value FROM fenced WHERE resource = ?").get(resource);
      return Promise.resolve((row as { value: string } | undefined)?.value);
    },
    createValues: () => run("CREATE TABLE IF NOT EXISTS fenced (resource TEXT PRIMARY KEY, value TEXT)"),
    dropFences: () => run("DROP TABLE multilock_fences"),
    close: () => Promise.resolve(database.close()),
  });
}

async function openRedis(url: string): Promise<Store> {
  const { Redis } = await import("ioredis");
  const client = new Redis(url);
  const fence = redisFence(client);
  const key = (resource: string) => `value:${resource}`;
  return {
    setUp: () => Promise.resolve(),
    async write(resource, token, value, isGuarded) {
      if (!isGuarded) await client.set(key(resource), value);
      else {
        const script = "return redis.call('SET', KEYS[1], ARGV[1])";
        await fence.write(resource, token, { script, keys: [key(resource)], values: [value] });
      }
    },
    read: (resource) => client.get(key(resource)),
    admit: (resource, token) => fence.admit(resource, token),
    loseGuard: async (resource) => void await client.del(`multilock:fence:${resource}`),
    close: async () => void await client.quit(),
  };
}

async function openAzureBlob(url: string): Promise<Store> {
  const { ContainerClient, StorageSharedKeyCredential } = await import("@azure/storage-blob");
  const [, account = ""] = new URL(url).pathname.split("/");
  const emulator = "Eby8vdM02xNOcqFlqUwJPLlmEtlCDXJ1OUzFT50uSRZ6IFsuFq2UVErCz4I6tq/K1SZFPTOtr/KBHBeksoGMGw==";
  const place = `${new URL(url).origin}/${account}/fenced`;
  const container = new ContainerClient(place, new StorageSharedKeyCredential(account, emulator));
  const fence = azureBlobFence(container);
  return {
    setUp: async () => void await container.createIfNotExists(),
    async write(resource, token, value, isGuarded) {
      const blob = container.getBlockBlobClient(resource);
      if (!isGuarded) await blob.upload(value, value.length);
      else await fence.write(resource, token, (options) => blob.upload(value, value.length, options));
    },
    async read(resource) {
      const blob = container.getBlockBlobClient(resource);
      return await blob.exists() ? String(await blob.downloadToBuffer()) : null;
    },
    admit: (resource, token) => fence.admit(resource, token),
    loseGuard: async (resource) => void await container.getBlockBlobClient(resource).setMetadata({}),
    close: () => Promise.resolve(),
  };
}

/** A server with a guard under `/guarded/` and none under `/bare/`, which keeps what it is sent. */
function openHttp(url: string): Store {
  const put = async (path: string, token: bigint, value: string) => {
    const response = await fetch(new URL(path, url), {
      method: "PUT",
      body: value,
      headers: { [FENCING_TOKEN]: String(token) },
    });
    const body = await response.text();
    if (response.ok) return;
    if (response.status !== 412) throw new Error(`${response.status}: ${body}`);
    const { resource, highest } = JSON.parse(body);
    throw new FencedError(resource, token, BigInt(highest));
  };
  return {
    setUp: () => Promise.resolve(),
    write: (resource, token, value, isGuarded) => put(`${isGuarded ? "guarded" : "bare"}/${resource}`, token, value),
    async read(resource) {
      const response = await fetch(new URL(`bare/${resource}`, url));
      return await response.text() || null;
    },
    admit: (resource, token) => put(`guarded/${resource}`, token, ""),
    loseGuard: async () => void await (await fetch(new URL("lost", url), { method: "POST" })).text(),
    close: () => Promise.resolve(),
  };
}
