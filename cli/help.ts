/**
 * The help, made from the tables of commands and options.
 *
 * @module
 */

import { type Command, optionsOf } from "./args.ts";
import { type Option, OPTIONS } from "./options.ts";

/** Returns the help of one command. */
export function helpOf(command: Command): string {
  const options = optionsOf(command).map((name): [name: string, option: Option] => [name, OPTIONS[name]]);
  const rows = options.map(([name, { short, value, help }]): [string, string] => [
    `${short ? `-${short}, ` : "    "}--${name}${value ? ` ${value}` : ""}`,
    help,
  ]);
  const width = Math.max(...rows.map(([left]) => left.length));
  return [
    `Usage: elect ${command.name} ${
      `${command.usage} [OPTIONS]`.replace(/^(.*?)( -- .*?)( \[OPTIONS\])$/, "$1$3$2").trim()
    }`,
    "",
    `${command.summary}`,
    ...(command.details ? ["", command.details] : []),
    "",
    "Options:",
    ...rows.map(([left, right]) => `  ${left.padEnd(width)}  ${right}`),
    ...(options.some(([, { value }]) => value === "TIME")
      ? ["", "TIME is a number with ms, s, m or h, such as 500ms, 15s or 2m; a bare number is milliseconds."]
      : []),
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
    "The lease is kept where --provider URL or ELECT_PROVIDER says; by default in a directory of this user, which",
    "serves one machine. A URL with a password belongs into ELECT_PROVIDER: command lines are public on a machine.",
    "",
    "Exit codes: 0 done, 1 nobody leads, 64 usage, 69 backend unavailable, 75 leadership lost, 78 bad configuration.",
    "",
    "elect help COMMAND   says more, with an example",
    "elect --version      prints the version",
  ].join("\n");
}
