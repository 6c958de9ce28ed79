/**
 * Stands in for `jsr:@std/cli`, where JSR cannot be reached: the same code, from npm, with types of its own. It has
 * only what is used here.
 *
 * @module
 */

import { parseArgs as untyped } from "npm:deno-std@1.4.0/cli/parse_args.js";

/** The reading of a command line. */
export interface ParseOptions {
  /** The options that are text. */
  readonly string?: readonly string[];
  /** The options that are given or not. */
  readonly boolean?: readonly string[];
  /** The options that may be given more than once. */
  readonly collect?: readonly string[];
  /** The values of options that are not given. */
  readonly default?: Readonly<Record<string, unknown>>;
  /** Is called with every argument that is no known option. One for which it returns `false` is left out. */
  readonly unknown?: (argument: string, key?: string, value?: unknown) => unknown;
}

/** Reads a command line; what is no option is in `_`. */
export const parseArgs: (
  args: readonly string[],
  options?: ParseOptions,
) => { [name: string]: unknown; _: (string | number)[] } = untyped;
