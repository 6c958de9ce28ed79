/**
 * The meaning of a database's place and modes for the durability of leases.
 *
 * @module
 */

import type { Finding, Inspection } from "../../src/provider.ts";
import { inspectFileSystem } from "../kit/file_system.ts";
import type { Connection, Database } from "./database.ts";

/** Looks at the database, where there is one, and at its file system. */
export async function inspectDatabase(database: Database, signal: AbortSignal): Promise<Inspection> {
  const modes = await database.read(signal, modesOf);
  const place = await inspectFileSystem(database.path);
  return {
    version: modes === null ? null : `SQLite ${modes.version}`,
    findings: [...(modes === null ? [] : [journalOf(modes.journal), synchronousOf(modes.synchronous)]), ...place],
  };
}

interface Modes {
  readonly version: string;
  readonly journal: string;
  readonly synchronous: number;
}

function modesOf(connection: Connection): Modes {
  const one = (sql: string) => String(Object.values(connection.rows(sql)[0] as Record<string, unknown>)[0]);
  return {
    version: one("SELECT sqlite_version()"),
    journal: one("PRAGMA journal_mode"),
    synchronous: Number(one("PRAGMA synchronous")),
  };
}

function journalOf(mode: string): Finding {
  const about = "journal_mode";
  if (mode === "wal") return { about, level: "ok", text: "wal: those who look hold up nobody who writes" };
  return {
    about,
    level: mode === "off" || mode === "memory" ? "error" : "warning",
    text: mode === "off" || mode === "memory"
      ? `${mode}: a process that is killed can corrupt leases`
      : `${mode}: those who look and those who write hold each other up`,
    remedy: "PRAGMA journal_mode = WAL",
  };
}

/** The provider sets it by itself, for each connection. */
function synchronousOf(value: number): Finding {
  const about = "synchronous";
  if (value >= 1) {
    return { about, level: "ok", text: "NORMAL, and FULL for a grant: a token is on disk before anybody leads" };
  }
  return {
    about,
    level: "error",
    text: "OFF: a power failure can corrupt leases",
    remedy: "PRAGMA synchronous = NORMAL",
  };
}
