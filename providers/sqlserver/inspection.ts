/**
 * The meaning of a database's settings, and of a user's rights, for leases. Written by SQL Server's documentation, and
 * tested on a scripted server alone: none has ever been asked.
 *
 * @module
 */

import type { Finding, Inspection } from "../../src/provider.ts";
import type { Row } from "./connections.ts";

const RIGHTS = ["SELECT", "INSERT", "UPDATE"] as const;

/**
 * Builds the question about `table`, which is quoted, as a text in SQL. One row; a right is null where the user sees no
 * such table.
 */
export function inspectionSql(table: string): string {
  const rights = RIGHTS.map((right) =>
    `HAS_PERMS_BY_NAME(${table}, N'OBJECT', N'${right}') AS may_${right.toLowerCase()}`
  );
  return `SELECT CAST(SERVERPROPERTY('ProductVersion') AS nvarchar(128)) AS version, ${rights.join(", ")},
  USER_NAME() AS user_name, CAST(DATABASEPROPERTYEX(DB_NAME(), 'Updateability') AS nvarchar(128)) AS updateability,
  d.delayed_durability_desc AS durability,
  CASE WHEN d.database_id IS NULL THEN NULL WHEN d.group_database_id IS NULL THEN 0 ELSE 1 END AS has_group
FROM (SELECT 1 AS one) AS always LEFT JOIN sys.databases AS d ON d.database_id = DB_ID()`;
}

/** Puts the answer into words. */
export function findingsOf(row: Row | undefined, table: string): Inspection {
  const user = String(row?.user_name ?? "the user");
  return {
    version: row?.version === undefined || row.version === null ? null : `SQL Server ${row.version}`,
    findings: [
      ...RIGHTS.map((right) => rightOf(right, row?.[`may_${right.toLowerCase()}`], user, table)),
      updateabilityOf(String(row?.updateability ?? "unknown")),
      durabilityOf(String(row?.durability ?? "unknown")),
      groupOf(row?.has_group),
    ],
  };
}

function rightOf(right: string, value: unknown, user: string, table: string): Finding {
  const about = `privilege ${right}`;
  if (value === null || value === undefined) {
    return {
      about,
      level: "warning",
      text: `unknown: ${user} sees no ${table}`,
      remedy: "the first election makes it",
    };
  }
  if (Number(value) === 1) return { about, level: "ok", text: `${user} has it on ${table}` };
  const remedy = `GRANT ${right} ON ${table} TO [${user.replaceAll("]", "]]")}]`;
  return { about, level: "error", text: `${user} lacks it on ${table}`, remedy };
}

function updateabilityOf(value: string): Finding {
  const about = "updateability";
  if (value === "READ_WRITE") return { about, level: "ok", text: "READ_WRITE: the database may be written" };
  if (value === "unknown") return { about, level: "warning", text: value, remedy: "a user who may see the database" };
  return { about, level: "error", text: `${value}: a replica, or set so`, remedy: "the primary in the URL" };
}

/** Where it is ALLOWED, a transaction has to ask for it, and none about leases does. */
function durabilityOf(value: string): Finding {
  const about = "delayed durability";
  if (value === "DISABLED" || value === "ALLOWED") {
    return { about, level: "ok", text: `${value}: a lease is on disk before it is granted` };
  }
  const text = value === "unknown" ? value : `${value}: a crash forgets the latest leases and tokens`;
  return { about, level: "warning", text, remedy: "ALTER DATABASE CURRENT SET DELAYED_DURABILITY = DISABLED" };
}

function groupOf(value: unknown): Finding {
  const about = "availability group";
  if (value === null || value === undefined) {
    return { about, level: "warning", text: "unknown", remedy: "a user who may see the database" };
  }
  if (Number(value) === 0) return { about, level: "ok", text: "none: no failover can forget leases" };
  return {
    about,
    level: "warning",
    text: "the database is in one: failing over to a replica that commits asynchronously forgets the latest leases",
    remedy: "SYNCHRONOUS_COMMIT, with REQUIRED_SYNCHRONIZED_SECONDARIES_TO_COMMIT = 1",
  };
}
