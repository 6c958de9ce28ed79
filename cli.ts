/**
 * `elect`, the command line of elections: runs a command where it leads, and looks after elections.
 *
 * ```sh
 * elect run nightly -- sh -c 'echo leader $ELECT_TOKEN; exec backup.sh'
 * elect leader nightly
 * elect --help
 * ```
 *
 * @module
 */

import "./src/floor.ts";
import process from "node:process";
import { holdSignals } from "./cli/signals.ts";

/**
 * The time for which what is left of a driver may keep the process alive after the command is done, in milliseconds.
 */
const LINGER_MS = 500;

/**
 * Carries out one command line, and returns the exit code. Never rejects: what goes wrong becomes one line on standard
 * error and the exit code that says so.
 *
 * @param args what follows the name of the program
 *
 * @example
 * ```ts
 * import { main } from "@multilock/core/cli";
 *
 * console.assert(await main(["leader", "a/b"]) === 64); // not the name of a group
 * ```
 */
export async function main(args: readonly string[]): Promise<number> {
  // Loaded late, since all of it takes a while, and whoever is process 1 loses the signals that come before it listens.
  const { carryOut } = await import("./cli/main.ts");
  return await carryOut(args);
}

if (import.meta.main) {
  holdSignals();
  const { outliveReaders } = await import("./cli/streams.ts");
  outliveReaders();
  process.exitCode = await main(process.argv.slice(2));
  // Ends by itself, with everything written; but not held up by what a driver leaves behind.
  setTimeout(() => process.exit(), LINGER_MS).unref();
}
