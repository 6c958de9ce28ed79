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

import process from "node:process";
import { benchCommand } from "./cli/commands/bench.ts";
import { checkCommand } from "./cli/commands/check.ts";
import { type Command, commandFirst, helpOf, parse } from "./cli/args.ts";
import { demoCommand } from "./cli/commands/demo.ts";
import { evictCommand } from "./cli/commands/evict.ts";
import { EXIT, exitCodeOf, UsageError } from "./cli/exit.ts";
import { groupsCommand } from "./cli/commands/groups.ts";
import { leaderCommand } from "./cli/commands/leader.ts";
import { providersCommand } from "./cli/commands/providers.ts";
import { runCommand } from "./cli/commands/run.ts";
import { watchCommand } from "./cli/commands/watch.ts";
import { redact } from "./src/redact.ts";
import { VERSION } from "./cli/version.ts";

const COMMANDS: readonly Command[] = [
  runCommand,
  watchCommand,
  leaderCommand,
  groupsCommand,
  evictCommand,
  checkCommand,
  demoCommand,
  benchCommand,
  providersCommand,
];

/** How long what is left of a driver may keep the process alive after the command is done, in milliseconds. */
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
  try {
    return await dispatch(args);
  } catch (error) {
    const message = error instanceof Error ? error.message : String(error);
    process.stderr.write(`elect: ${redact(message).replace(/\s*\n\s*/g, " ")}\n`);
    return exitCodeOf(error);
  }
}

async function dispatch(args: readonly string[]): Promise<number> {
  const [first = ""] = args;
  if (["--help", "-h", "help"].includes(first)) return print(overview());
  if (["--version", "-V"].includes(first)) return print(`elect ${VERSION}`);
  const [name, ...rest] = commandFirst(args);
  const command = COMMANDS.find((command) => command.name === name);
  if (command === undefined) {
    const known = COMMANDS.map((command) => command.name).join(", ");
    throw new UsageError(
      name === ""
        ? `Cannot run "elect" without a command: known are ${known}`
        : `Cannot run "elect ${name}": known are ${known}`,
    );
  }
  const invocation = parse(command, rest);
  return invocation.help ? print(helpOf(command)) : await command.run(invocation);
}

function overview(): string {
  return [
    "Usage: elect COMMAND [OPTIONS]",
    "",
    ...COMMANDS.map(({ name, summary }) => `  ${name.padEnd(10)} ${summary}`),
    "",
    "The lease is kept where --provider URL or ELECT_PROVIDER says; by default in a directory of this user, which",
    "serves one machine. A URL with a password belongs into ELECT_PROVIDER: command lines are public on a machine.",
    "",
    "Exit codes: 0 done, 1 nobody leads, 64 usage, 69 backend unavailable, 75 leadership lost, 78 bad configuration.",
    "",
    "elect COMMAND --help   says more, with an example",
    "elect --version        prints the version",
  ].join("\n");
}

function print(text: string): number {
  process.stdout.write(`${text}\n`);
  return EXIT.done;
}

if (import.meta.main) {
  // A reader that has had enough, such as head, is no error.
  process.stdout.on(
    "error",
    (error: { code?: unknown }) => process.exit(error.code === "EPIPE" ? EXIT.done : EXIT.software),
  );
  process.exitCode = await main(process.argv.slice(2));
  // Ends by itself, with everything written; but not held up by what a driver leaves behind.
  setTimeout(() => process.exit(), LINGER_MS).unref();
}
