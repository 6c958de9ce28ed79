/**
 * The meaning of errors of SQL Server and Babelfish for leases.
 *
 * @module
 */

import { permanently } from "../../src/call.ts";
import { IN_TRANSACTION, type Statements } from "./statements.ts";

/** Returns the number that the server gave an error, or 0. */
export function errorNumber(error: unknown): number {
  const number = error instanceof Error && "number" in error ? error.number : 0;
  return typeof number === "number" ? number : 0;
}

function wordsOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** True if the table was missing. Babelfish has one number for whatever has none of its own, and PostgreSQL's words. */
export function isNoTable(error: unknown): boolean {
  return errorNumber(error) === 208 || /\b(?:relation|schema) "[^"]*" does not exist/.test(wordsOf(error));
}

/**
 * A read-only database; a database of an availability group that is not to be had there, or by readers only; one of
 * Azure's that has moved.
 */
const ELSEWHERE = [3906, 976, 978, 982, 983, 40197, 40613];

/** True if the server is the wrong one, as after a failover, so that its connections are of no more use. */
export function isElsewhere(error: unknown): boolean {
  return ELSEWHERE.includes(errorNumber(error)) || /read-only transaction/.test(wordsOf(error));
}

/**
 * Returns `error`, saying what it means for leases where the server's own words do not, and which server it is about.
 *
 * @param address where the server is, if that is known
 */
export function explain(error: unknown, statements: Statements, address?: string): unknown {
  const explained = inWords(error, statements, address);
  return explained instanceof Error && isForGood(error) ? permanently(explained) : explained;
}

/**
 * Missing rights, a table that is missing and may not be made or is not ours, a refused login, a database that is not
 * there: none mends by itself. The driver tells of a refused login the words alone, which are the same for a server
 * that lets nobody in while it starts or is upgraded, but for a reason.
 */
function isForGood(error: unknown): boolean {
  if (FOR_GOOD.includes(errorNumber(error)) || isNoTable(error)) return true;
  return error instanceof Error && "code" in error && error.code === "ELOGIN" && REFUSED_LOGIN.test(error.message);
}

const FOR_GOOD = [207, 213, 229, 262, 916, 2760, 4060, 18452, 18456];
const REFUSED_LOGIN =
  /^Login failed for user '[^']*'\.( Reason: (?!Server).*)?$|untrusted domain|Cannot open (user default )?database/;

function inWords(error: unknown, { table, createTable }: Statements, address?: string): unknown {
  const words = wordsOf(error);
  const place = address === undefined || words.includes(address) ? "" : `, from ${address}`;
  const why = meaningOf(error, table, createTable);
  if (why === "" && place === "") return error;
  return new Error(why === "" ? `${words}${place}` : `${why} (${words}${place})`, { cause: error });
}

function meaningOf(error: unknown, table: string, createTable: string): string {
  if (isElsewhere(error)) {
    return "the database cannot be written there: a secondary, or set so. Leases need the primary";
  }
  if (isNoTable(error)) return `the table ${table} does not exist. It is made by: ${createTable}`;
  switch (errorNumber(error)) {
    case 229:
      return `the user needs SELECT, INSERT and UPDATE on ${table}`;
    case 262:
    case 2760:
      return `the table ${table} does not exist and the user may not create it. It is made by: ${createTable}`;
    case 207:
      return `the table ${table} is not one of this version. Nothing but leases is in it: drop it while nobody leads`;
    case IN_TRANSACTION:
      return "somebody has left a transaction open on a connection of the pool, and no lease is written in one";
    default:
      return "";
  }
}
