/**
 * The meaning of a server's settings for the durability of leases.
 *
 * @module
 */

import type { Finding, Inspection } from "../../src/provider.ts";
import type { Connections } from "./connections.ts";
import type { Statement } from "./statements.ts";

/**
 * One row: the version, three settings, how many standbys are attached, and whether the primary waits for one. What a
 * user may not see counts as none.
 */
const SETTINGS: Statement = {
  name: "multilock_inspect",
  text: `SELECT current_setting('server_version'), current_setting('fsync'), current_setting('synchronous_commit'),
  current_setting('full_page_writes'), (SELECT count(*) FROM pg_stat_replication),
  current_setting('synchronous_standby_names')`,
};

/** Asks the server for its version and settings. */
export async function inspectServer(connections: Connections, signal: AbortSignal): Promise<Inspection> {
  const [row = []] = await connections.run(SETTINGS, () => [], signal);
  const [version = "", fsync, commit = "", fullPages, standbys, waitsFor = ""] = row.map(String);
  return {
    version: `PostgreSQL ${version}`,
    findings: [
      onOrError("fsync", fsync, "a crash of the machine can lose or corrupt leases"),
      onOrError("full_page_writes", fullPages, "a crash of the machine can corrupt leases"),
      {
        about: "synchronous_commit",
        level: "ok",
        text: commit === "off"
          ? "off, which statements about leases turn on for themselves"
          : `${commit}: a lease is on disk`,
      },
      replication(Number(standbys), waitsFor, commit),
    ],
  };
}

function onOrError(about: string, value: string | undefined, otherwise: string): Finding {
  if (value === "on") return { about, level: "ok", text: "on" };
  return { about, level: "error", text: `${value}: ${otherwise}`, remedy: `${about} = on` };
}

/** `local` waits for no standby, whatever names there are. */
function replication(standbys: number, waitsFor: string, commit: string): Finding {
  const about = "standbys";
  if (standbys === 0) return { about, level: "ok", text: "none that this user can see: no failover can forget leases" };
  if (waitsFor !== "" && commit !== "local" && commit !== "off") {
    return { about, level: "ok", text: `${standbys}, and the primary waits for ${waitsFor}` };
  }
  return {
    about,
    level: "warning",
    text: `${standbys}, and the primary waits for none: a failover can forget the latest leases and tokens`,
    remedy: "synchronous_standby_names, with synchronous_commit on",
  };
}
