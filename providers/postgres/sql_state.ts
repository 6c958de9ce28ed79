/**
 * The meaning of the server's error codes for a connection and for a statement.
 *
 * @module
 */

/** Returns the SQLSTATE of an error that the server answered with, or "". */
export function sqlState(error: unknown): string {
  const code = error instanceof Error && "code" in error ? error.code : "";
  // Codes of the operating system, such as EPIPE, have no digit.
  return typeof code === "string" && /^(?=.*\d)[0-9A-Z]{5}$/.test(code) ? code : "";
}

/**
 * True if the connection is fit for the next statement. Not so if the server has become a standby or the connection is
 * in a transaction (25), is closing it (08, 57P), or holds a plan of a table that has changed since (0A000).
 */
export function isFit(error: unknown): boolean {
  const state = sqlState(error);
  return state !== "" && state !== STALE_PLAN && !/^(25|08|57P)/.test(state);
}

/** True if a prepared statement could not be used. The server refused it before it executed anything. */
export function isUnusablePlan(error: unknown): boolean {
  return sqlState(error) === STALE_PLAN || isUnknownStatement(error);
}

/** True if a pooler has given us the connection of somebody else, who has other prepared statements. */
export function isUnknownStatement(error: unknown): boolean {
  return ["26000", "42P05"].includes(sqlState(error));
}

/**
 * True if a statement failed because of the values of one row, or of a conflict over one: the others may fare better
 * alone.
 */
export function isAboutRows(error: unknown): boolean {
  return /^(22|23|40|44|54|P0)/.test(sqlState(error)) || isAgainstPolicy(error);
}

/**
 * True if a policy of the table's row-level security refuses a row. Its code is that of every missing right: only the
 * routine of the server that reports it tells.
 */
export function isAgainstPolicy(error: unknown): boolean {
  return sqlState(error) === "42501" && (error as { routine?: unknown }).routine === "ExecWithCheckOptions";
}

/** True if a row stayed locked for longer than the statement would wait. */
export function isLocked(error: unknown): boolean {
  return sqlState(error) === "55P03";
}

/**
 * "cached plan must not change result type": a column has another type or collation since the statement was prepared.
 */
const STALE_PLAN = "0A000";
