/**
 * The shape of a command, and the reading of its command line.
 *
 * @module
 */

import { parseArgs } from "node:util";
import { type Duration, parseDuration } from "../src/time/duration.ts";
import { checkName } from "../src/options.ts";
import { nearest } from "../src/spelling.ts";
import { asUsage, UsageError } from "./exit.ts";
import { COMMON, type Option, type OptionName, OPTIONS } from "./options.ts";
import { LOG_LEVELS, type LogLevel } from "./output.ts";
import type { Use } from "./scope.ts";

/** One command of `elect`. */
export interface Command {
  /** The name of the command. */
  readonly name: string;
  /** The text that follows the name, such as `"GROUP -- COMMAND..."`. */
  readonly usage: string;
  /** The effect of the command, in one line. */
  readonly summary: string;
  /** The paragraphs of the help: all else that one should know. */
  readonly details: string;
  /** A command line that works. */
  readonly example: string;
  /** The options it takes beside {@linkcode COMMON}. */
  readonly options: readonly OptionName[];
  /** Carries it out, and returns the exit code. Afterwards all that it has given to `use` is disposed of. */
  run(invocation: Invocation, use: Use): Promise<number>;
}

/** A command line, read and checked. */
export interface Invocation {
  /** The election group; empty for a command that takes none. */
  readonly group: string;
  /** The election groups of a command that takes several. */
  readonly groups: readonly string[];
  /** The argument that the command takes, a group or another; empty for a command that takes none. */
  readonly argument: string;
  /** The words that follow `--`. */
  readonly command: readonly string[];
  readonly provider: string | undefined;
  readonly imports: readonly string[];
  readonly id: string | undefined;
  readonly heartbeatInterval: number | undefined;
  readonly heartbeatTimeout: number | undefined;
  readonly metadata: Readonly<Record<string, string>>;
  readonly repeat: boolean;
  /** The time to campaign before giving up; undefined for ever. */
  readonly waitMs: number | undefined;
  /** The exit code of one that gave up. */
  readonly conflictExitCode: number;
  /** The shortest time for which the lease is kept, from when the command began. */
  readonly atLeastMs: number;
  /** The time for which it holds back when nobody leads. */
  readonly campaignDelay: number | undefined;
  /** The participant that is to lead next. */
  readonly to: string | undefined;
  /** True if it only watches. */
  readonly observe: boolean;
  /** True if a terminal shows a chart. */
  readonly chart: boolean;
  /** True if a warning counts as a failure. */
  readonly strict: boolean;
  readonly port: number;
  readonly host: string;
  /** The path of a Unix socket to listen on instead. */
  readonly socket: string | undefined;
  readonly allowHosts: readonly string[];
  readonly tokenFile: string | undefined;
  readonly yes: boolean;
  readonly rounds: number;
  readonly json: boolean;
  readonly logLevel: LogLevel;
  readonly help: boolean;
}

/** Returns `args` with the name of the command first; the options may stand before it or after it. */
export function commandFirst(args: readonly string[]): [name: string, ...rest: string[]] {
  let at = 0;
  for (let arg = args[at]; arg?.startsWith("--") && arg !== "--"; arg = args[at]) {
    const option = Object.entries(OPTIONS).find(([name]) => arg === `--${name}`)?.[1];
    at += option?.type === "string" ? 2 : 1;
  }
  return [args[at] ?? "", ...args.slice(0, at), ...args.slice(at + 1)];
}

/**
 * Reads the arguments that follow the name of `command`.
 *
 * @throws {UsageError} a line that says the rule and the value
 */
export function parse(command: Command, args: readonly string[]): Invocation {
  const takesCommand = command.usage.includes("-- COMMAND");
  const end = takesCommand && args.includes("--") ? args.indexOf("--") : args.length;
  const { values, positionals } = parseOptions(command, args.slice(0, end));
  if (values["socket"] !== undefined && (values["port"] !== undefined || values["host"] !== undefined)) {
    throw new UsageError("Cannot use --socket with --port or --host: it listens at one place");
  }
  if (values["no-wait"] === true && values["wait"] !== undefined) {
    throw new UsageError("Cannot use --no-wait with --wait: one says not to wait, the other for how long");
  }
  const text = (name: OptionName) => typeof values[name] === "string" ? values[name] : undefined;
  const texts = (name: OptionName) => [values[name] ?? []].flat().filter((value) => typeof value === "string");
  const flag = (name: OptionName) => values[name] === true;
  const help = flag("help");
  const takesGroups = command.usage.startsWith("GROUP...");
  const groups = help || !takesGroups ? [] : positionals.map((name) => asUsage(() => checkName("electionGroup", name)));
  const argument = help ? "" : parseArgument(command, takesGroups ? positionals.slice(0, 1) : positionals);
  return {
    group: command.usage.startsWith("GROUP") ? argument : "",
    groups,
    argument,
    command: help ? [] : parseCommand(command, takesCommand, args.slice(end + 1)),
    provider: text("provider"),
    imports: texts("import"),
    id: text("id"),
    heartbeatInterval: milliseconds("heartbeat-interval", text("heartbeat-interval")),
    heartbeatTimeout: milliseconds("heartbeat-timeout", text("heartbeat-timeout")),
    metadata: parseMetadata(texts("metadata")),
    repeat: flag("repeat"),
    waitMs: flag("no-wait") ? 0 : milliseconds("wait", text("wait")),
    conflictExitCode: whole("conflict-exit-code", text("conflict-exit-code") ?? "1", 0, 255),
    atLeastMs: milliseconds("at-least", text("at-least")) ?? 0,
    campaignDelay: milliseconds("campaign-delay", text("campaign-delay")),
    to: parseParticipant("to", text("to")),
    observe: flag("observe"),
    chart: flag("chart"),
    strict: flag("strict"),
    port: whole("port", text("port") ?? "4040", 0, 65_535),
    host: text("host") ?? "127.0.0.1",
    socket: text("socket"),
    allowHosts: texts("allow-host"),
    tokenFile: text("token-file"),
    yes: flag("yes"),
    rounds: whole("rounds", text("rounds") ?? "200", 1, 1_000_000),
    json: flag("json"),
    logLevel: parseLogLevel(text("log-level") ?? "warn"),
    help,
  };
}

/** Returns the options that a command takes. */
export function optionsOf(command: Command): readonly OptionName[] {
  return [...command.options, ...COMMON];
}

function parseOptions(command: Command, args: string[]) {
  const options = Object.fromEntries(
    optionsOf(command).map((name) => {
      const { type, multiple = false, short }: Option = OPTIONS[name];
      return [name, { type, multiple, ...(short !== undefined && { short }) }];
    }),
  );
  try {
    return parseArgs({ args, options, strict: true, allowPositionals: true });
  } catch (error) {
    const why = (error instanceof Error ? error.message : String(error)).split(/\n|\. To /, 1)[0] ?? "";
    const unknown = /^Unknown option '--([^']+)'/.exec(why)?.[1];
    const near = unknown === undefined ? undefined : nearest(unknown, optionsOf(command));
    const cure = near === undefined ? `see: elect ${command.name} --help` : `did you mean --${near}?`;
    throw new UsageError(`Cannot read the command line: ${why}; ${cure}`);
  }
}

/** Returns the one argument that the command takes; empty where it takes none. */
function parseArgument(command: Command, positionals: readonly string[]): string {
  const what = /^[A-Z]+/.exec(command.usage)?.[0];
  const wanted = what === undefined ? 0 : 1;
  const [argument = ""] = positionals;
  if (positionals.length < wanted) {
    const needed = what === "GROUP" ? "the name of an election group" : `a ${what}`;
    throw new UsageError(`Cannot run "elect ${command.name}": it needs ${needed}; see: elect ${command.name} --help`);
  }
  const unexpected = positionals[wanted];
  if (unexpected !== undefined) {
    const cure = command.usage.includes("--") ? "; put the command after --" : "";
    throw new UsageError(
      `Cannot use argument ${JSON.stringify(unexpected)}: "elect ${command.name}" takes ${wanted}${cure}`,
    );
  }
  return what === "GROUP" ? asUsage(() => checkName("electionGroup", argument)) : argument;
}

function parseCommand(command: Command, takesCommand: boolean, words: readonly string[]): readonly string[] {
  if (takesCommand && words.length === 0) {
    throw new UsageError(`Cannot run "elect ${command.name}": it needs a command after --`);
  }
  return words;
}

/** Checked here, so that a malformed time is reported under the name of its flag. A bare number is milliseconds. */
function milliseconds(flag: string, text: string | undefined): number | undefined {
  if (text === undefined) return undefined;
  const value: unknown = /^\d+$/.test(text) ? Number(text) : text;
  return asUsage(() => parseDuration(value as Duration, `--${flag}`));
}

function parseParticipant(flag: string, text: string | undefined): string | undefined {
  if (text === undefined) return undefined;
  try {
    return checkName("participantId", text);
  } catch (error) {
    throw new UsageError(`Cannot use --${flag}: ${error instanceof Error ? error.message : error}`);
  }
}

function parseMetadata(entries: readonly string[]): Readonly<Record<string, string>> {
  return Object.fromEntries(entries.map((entry) => {
    const at = entry.indexOf("=");
    if (at < 1) throw new UsageError(`Cannot use --metadata ${JSON.stringify(entry)}: it must be KEY=VALUE`);
    return [entry.slice(0, at), entry.slice(at + 1)];
  }));
}

function whole(flag: string, text: string, least: number, most: number): number {
  const number = /^\d+$/.test(text) ? Number(text) : NaN;
  if (number >= least && number <= most) return number;
  throw new UsageError(
    `Cannot use --${flag} ${JSON.stringify(text)}: it must be a whole number from ${least} to ${most}`,
  );
}

function parseLogLevel(text: string): LogLevel {
  const level = LOG_LEVELS.find((level) => level === text);
  if (level !== undefined) return level;
  throw new UsageError(`Cannot use --log-level ${JSON.stringify(text)}: it must be one of ${LOG_LEVELS.join(", ")}`);
}
