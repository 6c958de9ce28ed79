/**
 * The ends of the command: the exit codes, and which error means which.
 *
 * @module
 */

import { ConfigError, ElectionError, LeadershipLostError } from "../src/errors.ts";

/** The exit codes, after `sysexits.h`. A command under `elect run` adds its own. */
export const EXIT = {
  /** Done. */
  done: 0,
  /** `elect leader`: nobody leads. */
  nobody: 1,
  /** `elect check --strict`: there are warnings. */
  warned: 1,
  /** The command line is wrong. */
  usage: 64,
  /** The backend cannot be reached, or refuses. */
  unavailable: 69,
  /** A mistake in this program. */
  software: 70,
  /** Standard output takes no more. */
  output: 74,
  /** Leadership was lost while the command ran. */
  lost: 75,
  /** The user broke it off: 128 and the number of SIGINT. */
  interrupted: 130,
  /** Values that cannot work together, or a provider URL that cannot be opened. */
  config: 78,
} as const;

/** The exit codes and their meanings, for help and manual. */
export const EXIT_CODES: readonly (readonly [code: number, meaning: string])[] = [
  [EXIT.done, "done"],
  [EXIT.nobody, "nobody leads, or somebody else"],
  [EXIT.usage, "usage"],
  [EXIT.unavailable, "backend unavailable"],
  [EXIT.software, "a mistake in elect"],
  [EXIT.output, "output cannot be written"],
  [EXIT.lost, "leadership lost"],
  [EXIT.config, "bad configuration"],
  [EXIT.interrupted, "interrupted at a question"],
];

/** Raised when standard output takes no more, though its reader is there: on a full disk. */
export class OutputError extends Error {
  override name = "OutputError";

  /** Builds the error for what the stream said. */
  constructor(cause: unknown) {
    super(`Cannot write the output: ${cause instanceof Error ? cause.message : cause}`, { cause });
  }
}

/** Raised when the command line is wrong. */
export class UsageError extends Error {
  override name = "UsageError";
}

/** Returns the exit code that says what `error` means. */
export function exitCodeOf(error: unknown): number {
  if (error instanceof UsageError) return EXIT.usage;
  if (error instanceof OutputError) return EXIT.output;
  if (error instanceof ConfigError) return EXIT.config;
  if (error instanceof LeadershipLostError) return EXIT.lost;
  if (error instanceof ElectionError || isTimeout(error)) return EXIT.unavailable;
  return EXIT.software;
}

/** Runs `check`, and turns what it says about a caller's values into a {@linkcode UsageError}. */
export function asUsage<T>(check: () => T): T {
  try {
    return check();
  } catch (error) {
    if (error instanceof TypeError || error instanceof RangeError) throw new UsageError(error.message);
    throw error;
  }
}

/** Returns whether `error` says that an answer did not come in time. */
export function isTimeout(error: unknown): error is DOMException {
  return error instanceof DOMException && (error.name === "TimeoutError" || error.name === "AbortError");
}
