/**
 * The help, made from the tables of commands and options.
 *
 * @module
 */

import { type Command, optionsOf } from "./args.ts";
import { EXIT_CODES } from "./exit.ts";
import { type Option, OPTIONS } from "./options.ts";

/** The units of the options that take a time. */
export const TIMES = "TIME is a number with ms, s, m or h, such as 500ms, 15s or 2m; a bare number is milliseconds.";

/** Where leases are. */
export const LEASES =
  `The lease is kept where --provider URL or ELECT_PROVIDER says; by default in a directory of this user, which
serves one machine. A URL with a password belongs into ELECT_PROVIDER: command lines are public on a machine.`;

/** Returns the form of a command line, with the command that it may run at its end. */
export function usageOf({ name, usage }: Command): string {
  return `elect ${name} ${`${usage} [OPTIONS]`.replace(/^(.*?)( -- .*?)( \[OPTIONS\])$/, "$1$3$2").trim()}`;
}

/** Returns the help of one command. */
export function helpOf(command: Command): string {
  const options = optionsOf(command).map((name): [name: string, option: Option] => [name, OPTIONS[name]]);
  const rows = options.map(([name, { short, value, help }]): [string, string] => [
    `${short ? `-${short}, ` : "    "}--${name}${value ? ` ${value}` : ""}`,
    help,
  ]);
  const width = Math.max(...rows.map(([left]) => left.length));
  return [
    `Usage: ${usageOf(command)}`,
    "",
    `${command.summary}`,
    ...(command.details ? ["", command.details] : []),
    "",
    "Options:",
    ...rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`),
    ...(options.some(([, { value }]) => value === "TIME") ? ["", TIMES] : []),
    "",
    "Example:",
    `  ${command.example}`,
  ].join("\n");
}

/** Returns the help of the program. */
export function overviewOf(commands: readonly Command[]): string {
  const width = Math.max(...commands.map(({ name }) => name.length));
  return [
    "Usage: elect COMMAND [OPTIONS]",
    "",
    ...commands.map(({ name, summary }) => `  ${name.padEnd(width)}  ${summary}`),
    "",
    LEASES,
    "",
    "Exit codes:",
    ...EXIT_CODES.map(([code, meaning]) => `  ${String(code).padEnd(3)}  ${meaning}`),
    "",
    "elect help COMMAND   says more, with an example",
    "elect --version      prints the version",
  ].join("\n");
}
