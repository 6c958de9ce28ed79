/**
 * The meaning of a server's settings, of its table and of a user's rights for leases.
 *
 * @module
 */

import type { Finding, Inspection } from "../../src/provider.ts";
import type { Rows } from "./client.ts";
import { errorNumber } from "./failures.ts";
import { fromHex } from "./lease_table.ts";
import type { Statements } from "./statements.ts";

/** Runs one statement in a round trip of its own. */
type Ask = (sql: string) => Promise<Rows>;

/** A node that is cut off from its Galera cluster answers what need not wait for the others. */
const AT_ONCE = "/*M!100300 SET STATEMENT wsrep_sync_wait = 0 FOR */";

const SERVER = `${AT_ONCE} SELECT VERSION(), @@GLOBAL.version_comment, CONCAT(@@GLOBAL.read_only), @@GLOBAL.log_bin,
  @@GLOBAL.innodb_flush_log_at_trx_commit, @@GLOBAL.sync_binlog, CURRENT_USER()`;

/** MariaDB and MySQL have different names for the same. */
const STATUS =
  `${AT_ONCE} SHOW GLOBAL STATUS WHERE Variable_name IN ('wsrep_cluster_size', 'wsrep_cluster_status', 'wsrep_ready',
  'Rpl_semi_sync_master_status', 'Rpl_semi_sync_source_status')`;

/** A user without PROCESS sees none. */
const REPLICAS = "SELECT COUNT(*) FROM information_schema.PROCESSLIST WHERE COMMAND LIKE 'Binlog Dump%'";

/** The rights that are missing: on the database, on the table, on one of its columns. */
const REFUSED = [1044, 1142, 1143];

/** Asks the server. One that may not be asked for something says so in a finding. */
export async function inspectServer(ask: Ask, { privileges, engine, table }: Statements): Promise<Inspection> {
  const [row = []] = await ask(SERVER);
  const [version = "", comment, readOnly, log, flush, syncLog, user = ""] = row.map(String);
  const isLogged = log !== "0" && log !== "OFF";
  const status = new Map((await ask(STATUS)).map(([name, value]) => [String(name), String(value)]));
  const title = `${/mariadb/i.test(`${version} ${comment}`) ? "MariaDB" : "MySQL"} ${version}`;
  const cluster = clusterOf(status);
  // It would not answer the rest.
  if (cluster?.level === "error") return { version: title, findings: [cluster] };
  const findings: Finding[] = [];
  for (const [privilege, sql] of privileges) findings.push(await tried(ask, sql, { privilege, table, user }));
  return {
    version: title,
    findings: [
      ...findings,
      engineOf(fromHex((await ask(engine))[0]?.[0]), table),
      readOnly === "0" || readOnly === "OFF"
        ? { about: "read_only", level: "ok", text: "off: the server may be written" }
        : {
          about: "read_only",
          level: "error",
          text: "on: a replica, or a server that is set so",
          remedy: "the primary in the URL, or SET GLOBAL read_only = 0 there",
        },
      flushOf(flush),
      isLogged ? syncOf(syncLog) : { about: "sync_binlog", level: "ok", text: "of no matter: there is no binary log" },
      cluster ?? await replicasOf(ask, status),
    ],
  };
}

/** Each statement asks for one right, and changes nothing. */
async function tried(
  ask: Ask,
  sql: string,
  { privilege, table, user }: { readonly privilege: string; readonly table: string; readonly user: string },
): Promise<Finding> {
  const about = `privilege ${privilege}`;
  try {
    await ask(sql);
    return { about, level: "ok", text: `${user} has it on ${table}` };
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    if (!REFUSED.includes(errorNumber(error))) {
      return { about, level: "warning", text: `unknown, since it could not be tried: ${why}` };
    }
    const grantee = user.replace(/^(.*)@(.*)$/, "'$1'@'$2'");
    return {
      ...{ about, level: "error", text: `${user} lacks it on ${table}` },
      remedy: `GRANT ${privilege} ON ${table} TO ${grantee}`,
    };
  }
}

function engineOf(engine: string, table: string): Finding {
  const about = "engine";
  if (engine.toLowerCase() === "innodb") return { about, level: "ok", text: "InnoDB: a lease is taken in one step" };
  if (engine === "") return { about, level: "warning", text: `of ${table} is unknown: the user sees no such table` };
  return {
    about,
    level: "error",
    text: `${engine} keeps ${table}, and can forget or corrupt leases in a crash`,
    remedy: `ALTER TABLE ${table} ENGINE = InnoDB`,
  };
}

function flushOf(flush: string | undefined): Finding {
  const about = "innodb_flush_log_at_trx_commit";
  if (flush === "1") return { about, level: "ok", text: "1: a lease is on disk before it is granted" };
  const remedy = `${about} = 1`;
  if (flush === "0") {
    const text = "0: a server that is killed forgets the leases of the last second";
    return { about, level: "error", text, remedy };
  }
  const text = `${flush}: a machine that crashes forgets the leases of the last second`;
  return { about, level: "warning", text, remedy };
}

/** A commit that the binary log has lost is undone when the server starts again. */
function syncOf(value: string | undefined): Finding {
  const about = "sync_binlog";
  if (value === "1") return { about, level: "ok", text: "1: the binary log is on disk with each lease" };
  return {
    about,
    level: "warning",
    text: `${value}: a machine that crashes can forget the leases that its binary log had not on disk`,
    remedy: `${about} = 1`,
  };
}

/** Null where there is no Galera. */
function clusterOf(status: ReadonlyMap<string, string>): Finding | null {
  const about = "Galera";
  const size = Number(status.get("wsrep_cluster_size") ?? 0);
  if (!(size > 0)) return null;
  const [state = "unknown", ready] = [status.get("wsrep_cluster_status"), status.get("wsrep_ready")];
  if (state !== "Primary" || ready !== "ON") {
    const text = `this node belongs to no majority of its cluster (${state}), and answers no statement about leases`;
    return { about, level: "error", text, remedy: "another node in the URL" };
  }
  if (size >= 3) return { about, level: "ok", text: `${size} nodes: a lease is at all of them before it is granted` };
  const text = size === 1
    ? "one node alone: nobody can lead while it is down, and its disk has all leases and tokens"
    : "two nodes: the loss of either ends all elections, unless an arbitrator takes part";
  return { about, level: "warning", text, remedy: "three nodes, or five" };
}

async function replicasOf(ask: Ask, status: ReadonlyMap<string, string>): Promise<Finding> {
  const about = "replicas";
  const count = Number((await ask(REPLICAS))[0]?.[0] ?? 0);
  if (count === 0) return { about, level: "ok", text: "none that this user can see: no failover can forget leases" };
  const waits = status.get("Rpl_semi_sync_master_status") === "ON" ||
    status.get("Rpl_semi_sync_source_status") === "ON";
  return {
    about,
    level: "warning",
    text: waits
      ? `${count}, and the primary waits for one, until a time-out: after that a failover can forget the latest leases`
      : `${count}, and the primary waits for none: a failover can forget the latest leases; tokens grow by the clock`,
    remedy: "resources that check fencing tokens, or Galera",
  };
}
