/**
 * The file of a database: how it comes to be, that it is ours, and statements that wait for others without blocking.
 *
 * @module
 */

import { existsSync } from "node:fs";
import { link, open, rm, stat, writeFile } from "node:fs/promises";
import { dirname } from "node:path";
import process from "node:process";
import type { DatabaseSync, StatementSync } from "node:sqlite";
import { pathToFileURL } from "node:url";
import { permanently } from "../../src/call.ts";
import { type Clock, sleep } from "../../src/time/clock.ts";
import { explainFile, hasCode } from "../kit/file_failure.ts";
import { refuseNetwork, type Statfs } from "./network.ts";

/** Marks a file as ours, where SQLite has a place for that: "ELCT". */
const APPLICATION_ID = 0x454c_4354;
/** The layout of the file. Another number is another layout, and is refused. */
const LAYOUT = 2;
/** The number of times that a file is made which then is not there. */
const MAX_CREATIONS = 5;
/** The longest pause between two tries, in milliseconds. */
const MAX_PAUSE_MS = 25;
const NOT_OURS = "the file is not a database of elections; it is left as it is";
/** Codes of SQLite: another connection has the lock; and the same, while a write-ahead log is being opened. */
const [BUSY, PROTOCOL] = [5, 15];

/**
 * The mark is written by the transaction that makes the table, and before the log is used: it is in the file itself.
 */
const SCHEMA = `
  BEGIN;
  PRAGMA application_id = ${APPLICATION_ID};
  PRAGMA user_version = ${LAYOUT};
  CREATE TABLE elections (
    election_group TEXT PRIMARY KEY,
    token INTEGER NOT NULL,
    version INTEGER NOT NULL,
    term_id TEXT,
    leader_id TEXT NOT NULL,
    acquired_at INTEGER NOT NULL,
    heartbeat_at INTEGER NOT NULL,
    heartbeat_timeout INTEGER NOT NULL,
    metadata TEXT NOT NULL,
    holders TEXT NOT NULL
  ) STRICT;
  COMMIT;
  PRAGMA journal_mode = WAL;
`;

/** One open file. */
export class Connection {
  /** Which file it is: another one may get its name. */
  readonly id: string;
  readonly #db: DatabaseSync;
  readonly #statements = new Map<string, StatementSync>();

  /** Takes over `db`. */
  constructor(id: string, db: DatabaseSync) {
    this.id = id;
    this.#db = db;
  }

  /** Runs a statement that is kept for the next time. Integers are of type bigint. */
  rows(sql: string, ...values: (string | number | bigint | null)[]): unknown[] {
    return this.#prepare(sql).all(...values);
  }

  /** Runs a statement that writes, and returns how many rows it changed. */
  write(sql: string, ...values: (string | number | bigint | null)[]): number {
    return Number(this.#prepare(sql).run(...values).changes);
  }

  /**
   * As {@linkcode write}, and waits for the disk: what was written before is on it then, too. A token must not be
   * granted again after a power failure; a heartbeat that is missing does no harm.
   */
  writeThrough(sql: string, ...values: (string | number | bigint | null)[]): number {
    // Not kept: this pragma takes effect when it is prepared, not when it is run.
    this.#db.exec("PRAGMA synchronous = FULL");
    try {
      return this.write(sql, ...values);
    } finally {
      this.#db.exec("PRAGMA synchronous = NORMAL");
    }
  }

  /** Lets go of the file. */
  close(): void {
    this.#statements.clear();
    this.#db.close();
  }

  #prepare(sql: string): StatementSync {
    let statement = this.#statements.get(sql);
    if (statement === undefined) {
      statement = this.#db.prepare(sql);
      statement.setReadBigInts(true);
      this.#statements.set(sql, statement);
    }
    return statement;
  }
}

/** A database by its path. Opened at first use, and again when another file has got its name. */
export class Database {
  /** Where it is. */
  readonly path: string;
  readonly #clock: Clock;
  readonly #busyTimeout: number;
  readonly #statfs: Statfs | undefined;
  #connection: Connection | null = null;
  #lastWrite: Promise<unknown> = Promise.resolve();
  #closed = false;

  /** Does no I/O. `busyTimeout` is how long a call waits for the locks of others, in milliseconds. */
  constructor(path: string, clock: Clock, busyTimeout: number, statfs?: Statfs) {
    this.path = path;
    this.#clock = clock;
    this.#busyTimeout = busyTimeout;
    this.#statfs = statfs;
  }

  /**
   * Runs `step`, which is synchronous and has one statement that writes at most. One that found the database locked has
   * done nothing: it runs again, after a pause in which the process does other work. Null where there is no file.
   */
  read<T>(signal: AbortSignal, step: (connection: Connection) => T): Promise<T | null> {
    return this.#run(() => this.#connect(), signal, step);
  }

  /** As {@linkcode read}, one after the other in the order of the calls, so that what was asked last stays. */
  write<T>(signal: AbortSignal, step: (connection: Connection) => T): Promise<T | null> {
    return this.#inTurn(() => this.#run(() => this.#connect(), signal, step));
  }

  /** As {@linkcode write}, and makes the file where there is none. `prepare` gives the step, when it is its turn. */
  writeOrCreate<T>(signal: AbortSignal, prepare: () => Promise<(connection: Connection) => T>): Promise<T> {
    return this.#inTurn(async () => {
      signal.throwIfAborted();
      const step = await prepare();
      return await this.#run(() => this.#connectOrCreate(), signal, step);
    });
  }

  #inTurn<T>(run: () => Promise<T>): Promise<T> {
    const mine = this.#lastWrite.then(run);
    this.#lastWrite = mine.catch(() => {});
    return mine;
  }

  async #run<C extends Connection | null, T>(
    connect: () => Promise<C>,
    signal: AbortSignal,
    step: (connection: Connection) => T,
  ): Promise<T | Extract<C, null>> {
    const start = this.#clock.monotonic();
    for (let pauseMs = 1;; pauseMs = Math.min(pauseMs * 2, MAX_PAUSE_MS)) {
      // The caller may have gone meanwhile: nothing is done then.
      signal.throwIfAborted();
      try {
        const connection = await connect();
        signal.throwIfAborted();
        return connection === null ? connection as Extract<C, null> : step(connection);
      } catch (error) {
        if (!isBusy(error) || this.#clock.monotonic() - start >= this.#busyTimeout) throw error;
      }
      await sleep(this.#clock, pauseMs * (0.5 + Math.random()), signal);
    }
  }

  /** Checks that the database can be written, or made. */
  async probe(signal: AbortSignal): Promise<void> {
    const isThere = await this.read(signal, (connection) => {
      connection.write("BEGIN IMMEDIATE");
      connection.write("ROLLBACK");
      return true;
    });
    if (isThere === null) await tryDirectory(this.path);
  }

  /** Closes it for good. */
  close(): void {
    this.#closed = true;
    this.#forget();
  }

  async #connectOrCreate(): Promise<Connection> {
    for (let attempt = 0; attempt < MAX_CREATIONS; attempt++) {
      const connection = await this.#connect();
      if (connection !== null) return connection;
      await create(this.path, await loadSqlite());
    }
    throw new Error(
      "the file is not there when it has been made: its name is a link that leads nowhere, or others remove it",
    );
  }

  async #connect(): Promise<Connection | null> {
    const Sqlite = await loadSqlite();
    let id = await identify(this.path);
    if (id === null || this.#connection?.id !== id) {
      // A file is made with a hard link, so it is where its directory is.
      await refuseNetwork(id === null ? dirname(this.path) : this.path, this.#statfs);
      id = await identify(this.path);
    }
    if (this.#closed) throw new Error("the provider is closed");
    if (id !== null && this.#connection?.id === id) return this.#connection;
    this.#forget();
    if (id === null) return null;
    // No pause in what follows, so that nobody opens a second one.
    refuseForeign(this.path, Sqlite);
    const db = new Sqlite(this.path);
    try {
      db.exec("PRAGMA busy_timeout = 0; PRAGMA synchronous = NORMAL");
      return this.#connection = new Connection(id, db);
    } catch (error) {
      db.close();
      throw error;
    }
  }

  #forget(): void {
    this.#connection?.close();
    this.#connection = null;
  }
}

/** Loads what opens databases: every runtime that we run on brings it. */
async function loadSqlite(): Promise<typeof DatabaseSync> {
  try {
    return (await import("node:sqlite")).DatabaseSync;
  } catch (cause) {
    throw permanently(new Error("this runtime lacks node:sqlite; Node has it from version 22.13 on", { cause }));
  }
}

/** Returns which file has the name; null where none has. */
async function identify(path: string): Promise<string | null> {
  try {
    const found = await stat(path, { bigint: true });
    if (found.isDirectory()) throw permanently(new Error("it is a directory; it must be a file"));
    const { dev, ino } = found;
    return `${dev}:${ino}`;
  } catch (error) {
    if (hasCode(error, "ENOENT")) return null;
    throw error;
  }
}

/**
 * Makes a database under another name, and gives it its own when it is complete: nobody ever sees a part of one. Of all
 * who try, one wins.
 */
async function create(path: string, Sqlite: typeof DatabaseSync): Promise<void> {
  const draft = `${path}.${crypto.randomUUID()}`;
  try {
    await writeFile(draft, "", { flag: "wx", mode: 0o600 });
    const db = new Sqlite(draft);
    try {
      db.exec(SCHEMA);
    } finally {
      db.close();
    }
    await link(draft, path).catch((error: unknown) => {
      if (!hasCode(error, "EEXIST")) throw error;
    });
    await syncDirectory(dirname(path));
  } finally {
    for (const end of ["", "-wal", "-shm", "-journal"]) await rm(draft + end, { force: true });
  }
}

/** Makes a file beside the one to come, and removes it: Deno has no other way to ask whether that is allowed. */
async function tryDirectory(path: string): Promise<void> {
  const draft = `${path}.${crypto.randomUUID()}`;
  try {
    await writeFile(draft, "", { flag: "wx", mode: 0o600 });
  } finally {
    await rm(draft, { force: true });
  }
}

/** Brings the name of a new file to the disk, where a directory can be opened for that. */
async function syncDirectory(path: string): Promise<void> {
  if (process.platform === "win32") return;
  const directory = await open(path, "r");
  try {
    await directory.sync();
  } finally {
    await directory.close();
  }
}

/**
 * Looks at a file without a right to change it: opening a stranger's database would roll back or write what it left
 * unfinished. By SQLite, since closing a file that was opened beside it would end the locks of this process.
 *
 * @throws {Error} if it is not ours
 */
function refuseForeign(path: string, Sqlite: typeof DatabaseSync): void {
  const [id, layout] = marksOf(path, Sqlite);
  if (id !== APPLICATION_ID) throw permanently(new Error(NOT_OURS));
  if (layout === LAYOUT) return;
  throw permanently(new Error(`the file has layout ${layout}, which this version does not know`));
}

/**
 * As `immutable` SQLite reads the file alone, and makes nothing beside it; a log that is left there, or about to be
 * written back, has no say about marks that are older than it. A file half of which was written back is read with its
 * log.
 */
function marksOf(path: string, Sqlite: typeof DatabaseSync): readonly unknown[] {
  const alone = pathToFileURL(path);
  alone.search = "immutable=1";
  try {
    return read(new Sqlite(alone, { readOnly: true }));
  } catch (error) {
    // Deno takes a URL for a path, which only `--allow-read` without a list allows.
    const isRefused = error instanceof Error && error.name === "NotCapable";
    if (isRefused || existsSync(`${path}-wal`)) return read(new Sqlite(path, { readOnly: true }));
    throw error;
  }
}

function read(db: DatabaseSync): readonly unknown[] {
  try {
    return ["application_id", "user_version"].map((name) => db.prepare(`PRAGMA ${name}`).get()?.[name]);
  } finally {
    db.close();
  }
}

/** Returns whether a lock of somebody else was in the way. Deno's `exec` tells by the message alone. */
function isBusy(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const { errcode } = error as { errcode?: unknown };
  // An extended code has the plain one in its last byte.
  if (typeof errcode === "number") return (errcode & 0xff) === BUSY || (errcode & 0xff) === PROTOCOL;
  return /database is locked|locking protocol/.test(error.message);
}

/** Puts into words why the file system or SQLite failed `work`. */
export async function explain<T>(work: Promise<T>): Promise<T> {
  try {
    return await explainFile(work);
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    const cause = hasCode(error.cause, "ENOENT") ? error.cause : null;
    if (cause !== null) throw permanently(new Error("the directory of the file does not exist", { cause }));
    throw FOR_GOOD.test(error.message) ? permanently(error) : error;
  }
}

/** The words of SQLite for what only a person mends. Not every runtime tells its codes. */
const FOR_GOOD =
  /file is not a database|database disk image is malformed|readonly database|unable to open database file/;
