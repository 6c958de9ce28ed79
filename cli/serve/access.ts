/**
 * The rights of those who ask: the Host header, against rebinding of DNS names, and the bearer token of writes.
 *
 * @module
 */

import { createHash, timingSafeEqual } from "node:crypto";
import { readFileSync } from "node:fs";
import { isIP } from "node:net";
import process from "node:process";
import { UsageError } from "../exit.ts";

/** The variable that may hold the token. */
const VARIABLE = "ELECT_SERVE_TOKEN";
/** The shortest token, in characters: what is shorter can be guessed. */
const SHORTEST = 16;

/**
 * Returns whether a request may name `host`. A page of somebody else's whose DNS name was made to lead here names that
 * one; an address is no name, so it cannot be made to lead anywhere.
 */
export function mayName(host: string | undefined, names: ReadonlySet<string>): boolean {
  const [, bracketed, plain] = /^(?:\[([0-9a-fA-F:.]+)\]|([A-Za-z0-9_.-]+))(?::\d{1,5})?$/.exec(host ?? "") ?? [];
  if (bracketed !== undefined) return isIP(bracketed) === 6;
  return plain !== undefined && (isIP(plain) === 4 || names.has(plain.toLowerCase()));
}

/** Returns whether `authorization` carries `token`. Takes the same time whichever characters differ. */
export function isAuthorised(authorization: string | undefined, token: string): boolean {
  const [, given = ""] = /^Bearer +([!-~]+)$/i.exec(authorization ?? "") ?? [];
  const digest = (text: string) => createHash("sha256").update(text).digest();
  return timingSafeEqual(digest(given), digest(token));
}

/**
 * Reads the token of writes from the file, or else from the environment; undefined where neither is given: then nobody
 * may write.
 *
 * @throws {UsageError} if the file cannot be read, or the token is too short
 */
export function readToken(path: string | undefined): string | undefined {
  const [token, where] = path === undefined ? [process.env[VARIABLE], VARIABLE] : [contentOf(path), `"${path}"`];
  if (token === undefined || token === "" && path === undefined) return undefined;
  if (token.length >= SHORTEST && /^[!-~]+$/.test(token)) return token;
  throw new UsageError(`Cannot use the token in ${where}: it must have at least ${SHORTEST} characters, and no spaces`);
}

function contentOf(path: string): string {
  try {
    return readFileSync(path, "utf8").trim();
  } catch (error) {
    throw new UsageError(`Cannot read --token-file "${path}": ${error instanceof Error ? error.message : error}`);
  }
}
