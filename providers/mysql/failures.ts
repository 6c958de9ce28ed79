/**
 * The meaning of the errors of MySQL, MariaDB and Galera for leases, for a connection and for a statement.
 *
 * @module
 */

import { permanently } from "../../src/call.ts";
import type { Statements } from "./statements.ts";

/** Returns the number that the server gave an error, or 0. */
export function errorNumber(error: unknown): number {
  const number = error instanceof Error && "errno" in error ? error.errno : 0;
  // The numbers of the operating system are negative.
  return typeof number === "number" && number > 0 ? number : 0;
}

const LOCK_WAIT_TIMEOUT = 1205;
/**
 * A deadlock, or Galera's certification; that of MySQL's group replication; MariaDB's `innodb_snapshot_isolation`. Each
 * has undone the statement.
 */
const BEATEN = [1213, 3101, 1020];
const NO_TABLE = 1146;
const UNKNOWN_DATABASE = 1049;
const OUT_OF_RANGE = 1690;
const IN_TRANSACTION = 1568;
const SYNTAX = 1064;

/** The server is read-only, by its settings or by those of the transaction. */
const READ_ONLY = [1290, 1792, 1836];
/**
 * Errors with which the connection ends, or should: the server closes it, is not the right one, or has not joined its
 * cluster.
 */
const UNFIT = [...READ_ONLY, IN_TRANSACTION, OUT_OF_RANGE, 1047, 1053, 1077, 1079, 1153, 1317, 1927, 3169];

/** Returns true if the connection is fit for the next statement. */
export function isFit(error: unknown): boolean {
  const number = errorNumber(error);
  const isFatal = error instanceof Error && "fatal" in error && error.fatal === true;
  return number !== 0 && !isFatal && !UNFIT.includes(number);
}

/** Returns true if the table was missing, or its schema. */
export function isNoTable(error: unknown): boolean {
  return errorNumber(error) === NO_TABLE || isNoSchema(error);
}

/**
 * Returns true if the schema was missing, as a statement says. That of the URL, which a login misses, nobody makes.
 */
export function isNoSchema(error: unknown): boolean {
  return errorNumber(error) === UNKNOWN_DATABASE && error instanceof Error && "sql" in error && error.sql !== undefined;
}

/** Returns true if a row, or the table, stayed locked for longer than the statement would wait. */
export function isLocked(error: unknown): boolean {
  return errorNumber(error) === LOCK_WAIT_TIMEOUT;
}

/** Returns true if the statement was undone because another one won, here or on another node of a cluster. */
export function isBeaten(error: unknown): boolean {
  return BEATEN.includes(errorNumber(error));
}

/** Too long, out of range, or refused by a constraint or trigger of the user's. */
const ABOUT_ROWS = [1062, 1264, 1366, 1406, 1644, 3819, 4025];

/** Returns true if an error is about one row's values, or a conflict over one: the others may fare better alone. */
export function isAboutRows(error: unknown): boolean {
  return isBeaten(error) || ABOUT_ROWS.includes(errorNumber(error));
}

/**
 * Refused users and passwords, unknown databases, missing rights, a host or a login that is not admitted, a table that
 * is missing and not to be made, or not ours: none mends by itself.
 */
const FOR_GOOD = [1044, 1045, 1046, UNKNOWN_DATABASE, 1054, 1130, 1142, 1143, NO_TABLE, 1227, 1251, 1698, 3159];

/**
 * A server without TLS, or one that is not trusted. The driver puts its own code in the place of the one that tells, so
 * that a certificate and a connection that broke differ by their words alone.
 */
function isNoTls(error: unknown): boolean {
  const { code, message } = error as { code?: unknown; message?: unknown };
  return code === "HANDSHAKE_NO_SSL_SUPPORT" ||
    (code === "HANDSHAKE_SSL_ERROR" && /certificate|altname|self.?signed|unable to (verify|get)/i.test(`${message}`));
}

/** Returns `error`, saying what it means for leases where the server's own words do not. */
export function explain(error: unknown, statements: Statements): unknown {
  const meaning = meaningOf(error, statements);
  const words = error instanceof Error ? error.message || error.name : String(error);
  const explained = meaning === "" ? error : new Error(`${meaning} (${words})`, { cause: error });
  const isForGood = FOR_GOOD.includes(errorNumber(error)) || (error instanceof Error && isNoTls(error));
  return explained instanceof Error && isForGood ? permanently(explained) : explained;
}

/** A statement has waited in vain. A node of a cluster gives up waiting for the others with the same error. */
export const LOCKED =
  "another session has locked the row of the lease, or its table; or the node is cut off from its cluster";

/** The server must not be written. */
export const NOT_WRITABLE = "the server is read-only: a replica, or set so. Leases need the primary";

function meaningOf(error: unknown, { table, createTable }: Statements): string {
  const number = errorNumber(error);
  if (READ_ONLY.includes(number)) return NOT_WRITABLE;
  switch (number) {
    case NO_TABLE:
      return `the table ${table} does not exist. It is made by: ${createTable}`;
    case 1142:
    case 1143:
      return `the user needs SELECT, INSERT and UPDATE on ${table}, which is made by: ${createTable}`;
    case 1044:
      return `the user may not use the database, or not create it`;
    case 1046:
      return "no database is named: give one in the URL, or schema";
    case 1054:
      return `the table ${table} is not as this version needs it, made by: ${createTable}`;
    case LOCK_WAIT_TIMEOUT:
      return LOCKED;
    case IN_TRANSACTION:
      return "the pool gave a connection that somebody has left in a transaction, where a lease would not be committed";
    case OUT_OF_RANGE:
      return "autocommit is off on the connection, and a lease that is not committed is nobody's";
    case SYNTAX:
      return "the server does not understand the statement. A pool needs multipleStatements: true";
    default:
      return "";
  }
}
