/**
 * From one command line to its command, and from what goes wrong to an exit code.
 *
 * @module
 */

import process from "node:process";
import { ProviderError } from "../src/errors.ts";
import { redact } from "../src/redact.ts";
import { nearest } from "../src/spelling.ts";
import { type Command, commandFirst, parse } from "./args.ts";
import { COMMANDS } from "./commands.ts";
import { EXIT, exitCodeOf, isTimeout, UsageError } from "./exit.ts";
import { helpOf, overviewOf } from "./help.ts";
import { toJson } from "./output.ts";
import { scoped } from "./scope.ts";
import { endAtSignals } from "./signals.ts";
import { standardError, writeOut } from "./streams.ts";
import { targetOf } from "./target.ts";
import { VERSION } from "./version.ts";

/** Carries out one command line, and returns the exit code. Never rejects. */
export async function carryOut(args: readonly string[]): Promise<number> {
  try {
    return await dispatch(args);
  } catch (error) {
    const exitCode = exitCodeOf(error);
    const message = redact(error instanceof Error ? error.message : String(error)).replace(/\s*\n\s*/g, " ");
    standardError.write(
      wantsJson(args) ? `${toJson({ level: "error", message, exitCode })}\n` : `elect: ${message}\n`,
    );
    return exitCode;
  }
}

async function dispatch(args: readonly string[]): Promise<number> {
  const [first = ""] = args;
  if (["--version", "-V", "-v"].includes(first)) return print(`elect ${VERSION}`);
  if (["--help", "-h", "help"].includes(first)) {
    const about = first === "help" ? args[1] : undefined;
    return print(about === undefined ? overviewOf(COMMANDS) : helpOf(commandCalled(about)));
  }
  const [name, ...rest] = commandFirst(args);
  const command = commandCalled(name);
  const invocation = parse(command, rest);
  if (invocation.help) return print(helpOf(command));
  // From here on those who want signals take them; for the others, the ones that ask to end do so.
  endAtSignals();
  try {
    return await scoped((use) => command.run(invocation, use));
  } catch (error) {
    throw named(error, () => targetOf(invocation));
  }
}

function commandCalled(name: string): Command {
  const names = COMMANDS.map((command) => command.name);
  const command = COMMANDS.find((command) => command.name === name);
  if (command !== undefined) return command;
  const near = nearest(name, names);
  const cure = near === undefined || name === "" ? `known are ${names.join(", ")}` : `did you mean "elect ${near}"?`;
  throw new UsageError(
    name === "" ? `Cannot run "elect" without a command: ${cure}` : `Cannot run "elect ${name}": ${cure}`,
  );
}

/**
 * Adds where the backend was looked for, unless the error says so: a host that does not answer is most often misspelt.
 */
function named(error: unknown, target: () => string): unknown {
  if (!(error instanceof ProviderError) && !isTimeout(error)) return error;
  const at = redact(target());
  if (error.message.includes(at)) return error;
  const message = `${error.message} (--provider ${at})`;
  return error instanceof ProviderError
    ? new ProviderError(error.provider, error.operation, message, { cause: error })
    : new DOMException(message, "TimeoutError");
}

/** Read by itself, since the line may be one that cannot be parsed. */
function wantsJson(args: readonly string[]): boolean {
  const end = args.indexOf("--");
  return args.slice(0, end === -1 ? args.length : end).includes("--json");
}

function print(text: string): number {
  writeOut(process.stdout, `${text}\n`);
  return EXIT.done;
}
