/**
 * Loads the library that speaks to a backend, when it is first needed.
 *
 * @module
 */

import process from "node:process";
import { permanently } from "../../src/call.ts";

/**
 * Loads a driver by its bare name: from the import map, `package.json` or `node_modules` of whoever uses the provider.
 * In Deno a module that was imported by URL has none of these, so the package is then loaded from npm by `fromNpm`.
 *
 * Both are literal imports, so that bundlers and caches see them. A failure is not remembered: the next call tries
 * again.
 *
 * @param name the name of the package, for the error
 * @throws {Error} that names the cure for the runtime at hand, if there is no such package
 */
export async function loadDriver<T>(
  name: string,
  byName: () => Promise<unknown>,
  fromNpm: () => Promise<unknown>,
): Promise<T> {
  try {
    return await byName() as T;
  } catch (cause) {
    if (!isMissing(cause)) throw cause;
    if (!("Deno" in globalThis)) throw missing(name, cause);
    try {
      return await fromNpm() as T;
    } catch (cause) {
      throw missing(name, cause);
    }
  }
}

/** A driver that is there and fails to load tells why by itself. */
function isMissing(error: unknown): boolean {
  const { code, message } = error as { code?: unknown; message?: unknown };
  return code === "ERR_MODULE_NOT_FOUND" ||
    /not a dependency|Cannot find (module|package)|Could not (find|resolve)/i.test(String(message));
}

function missing(name: string, cause: unknown): Error {
  const cure = "Deno" in globalThis
    ? `deno add npm:${name}`
    : "bun" in process.versions
    ? `bun add ${name}`
    : `npm install ${name}`;
  return permanently(new Error(`the driver "${name}" is not installed: ${cure}`, { cause }));
}
