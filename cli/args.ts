/**
 * The options of the command line, how they are read, and the help that is made from them.
 *
 * @module
 */

import { parseArgs } from "node:util";
import { type Duration, parseDuration } from "../src/duration.ts";
import { checkName } from "../src/options.ts";
import { asUsage, UsageError } from "./exit.ts";
import { LOG_LEVELS, type LogLevel } from "./output.ts";

/** One option: how it is written, and what it means. */
interface Option {
  readonly type: "string" | "boolean";
  readonly short?: string;
  readonly multiple?: boolean;
  /** What stands for its value in the help. */
  readonly value?: string;
  readonly help: string;
}

const OPTIONS = {
  provider: {
    type: "string",
    value: "URL",
    help: "where the lease is kept; better in ELECT_PROVIDER if it has a password",
  },
  import: {
    type: "string",
    multiple: true,
    value: "SPECIFIER",
    help: "a module that registers a provider; may be repeated",
  },
  id: { type: "string", value: "ID", help: "the participant (default: host name, process id and random digits)" },
  "heartbeat-interval": {
    type: "string",
    value: "TIME",
    help: "how often the leader renews (default 5s, or a third of the timeout)",
  },
  "heartbeat-timeout": {
    type: "string",
    value: "TIME",
    help: "how long the lease lives without a heartbeat (default 15s)",
  },
  metadata: {
    type: "string",
    multiple: true,
    value: "KEY=VALUE",
    help: "what others see about the leader; may be repeated",
  },
  repeat: { type: "boolean", help: "campaign again after a loss, instead of exiting with 75" },
  yes: { type: "boolean", short: "y", help: "do not ask" },
  rounds: { type: "string", value: "N", help: "how many times each operation is measured (default 200)" },
  json: { type: "boolean", help: "print one JSON object per line" },
  "log-level": { type: "string", value: "LEVEL", help: `${LOG_LEVELS.join(", ")} (default warn); logs go to stderr` },
  help: { type: "boolean", short: "h", help: "print this help" },
} as const satisfies Readonly<Record<string, Option>>;

/** The name of an option. */
export type OptionName = keyof typeof OPTIONS;

/** The options that every command has. */
export const COMMON: readonly OptionName[] = ["provider", "import", "json", "log-level", "help"];

/** The options of a command that takes part in an election. */
export const PARTICIPANT: readonly OptionName[] = ["id", "heartbeat-interval", "heartbeat-timeout", "metadata"];

/** One command of `elect`. */
export interface Command {
  /** What it is called. */
  readonly name: string;
  /** What follows the name, such as `"GROUP -- COMMAND..."`. */
  readonly usage: string;
  /** What it does, in one line. */
  readonly summary: string;
  /** What else one should know: paragraphs of the help. */
  readonly details: string;
  /** A command line that works. */
  readonly example: string;
  /** The options it takes beside {@linkcode COMMON}. */
  readonly options: readonly OptionName[];
  /** Carries it out, and returns the exit code. */
  run(invocation: Invocation): Promise<number>;
}

/** A command line, read and checked. */
export interface Invocation {
  /** The election group; empty for a command that takes none. */
  readonly group: string;
  /** What follows `--`. */
  readonly command: readonly string[];
  readonly provider: string | undefined;
  readonly imports: readonly string[];
  readonly id: string | undefined;
  readonly heartbeatInterval: Duration | undefined;
  readonly heartbeatTimeout: Duration | undefined;
  readonly metadata: Readonly<Record<string, string>>;
  readonly repeat: boolean;
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
    const option: Option | undefined = Object.entries(OPTIONS).find(([name]) => arg === `--${name}`)?.[1];
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
  const text = (name: OptionName) => typeof values[name] === "string" ? values[name] : undefined;
  const texts = (name: OptionName) => [values[name] ?? []].flat().filter((value) => typeof value === "string");
  const flag = (name: OptionName) => values[name] === true;
  const help = flag("help");
  return {
    group: help ? "" : parseGroup(command, positionals),
    command: help ? [] : parseCommand(command, takesCommand, args.slice(end + 1)),
    provider: text("provider"),
    imports: texts("import"),
    id: text("id"),
    heartbeatInterval: duration("heartbeat-interval", text("heartbeat-interval")),
    heartbeatTimeout: duration("heartbeat-timeout", text("heartbeat-timeout")),
    metadata: parseMetadata(texts("metadata")),
    repeat: flag("repeat"),
    yes: flag("yes"),
    rounds: parseRounds(text("rounds") ?? "200"),
    json: flag("json"),
    logLevel: parseLogLevel(text("log-level") ?? "warn"),
    help,
  };
}

/** Returns the help of one command. */
export function helpOf(command: Command): string {
  const names = [...command.options, ...COMMON];
  const rows = names.map((name): [string, string] => {
    const option: Option = OPTIONS[name];
    return [
      `${option.short ? `-${option.short}, ` : "    "}--${name}${option.value ? ` ${option.value}` : ""}`,
      option.help,
    ];
  });
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
    "",
    "Example:",
    `  ${command.example}`,
  ].join("\n");
}

function parseOptions(command: Command, args: string[]) {
  const names = [...command.options, ...COMMON];
  const options = Object.fromEntries(names.map((name) => {
    const { type, multiple = false, short }: Option = OPTIONS[name];
    return [name, { type, multiple, ...(short !== undefined && { short }) }];
  }));
  try {
    return parseArgs({ args, options, strict: true, allowPositionals: true });
  } catch (error) {
    const why = error instanceof Error ? error.message.split(/\n|\. To /, 1)[0] : String(error);
    throw new UsageError(`Cannot read the command line: ${why}; see: elect ${command.name} --help`);
  }
}

function parseGroup(command: Command, positionals: readonly string[]): string {
  const wanted = command.usage.startsWith("GROUP") ? 1 : 0;
  const [group = "", extra] = positionals;
  if (positionals.length < wanted) {
    throw new UsageError(`Cannot run "elect ${command.name}": it needs the name of an election group`);
  }
  const unexpected = wanted === 0 ? positionals[0] : extra;
  if (unexpected !== undefined) {
    const cure = command.usage.includes("--") ? "; put the command after --" : "";
    throw new UsageError(
      `Cannot use argument ${JSON.stringify(unexpected)}: "elect ${command.name}" takes ${wanted}${cure}`,
    );
  }
  return wanted === 0 ? "" : asUsage(() => checkName("electionGroup", group));
}

function parseCommand(command: Command, takesCommand: boolean, words: readonly string[]): readonly string[] {
  if (takesCommand && words.length === 0) {
    throw new UsageError(`Cannot run "elect ${command.name}": it needs a command after --`);
  }
  return words;
}

/** Checked here, so that a malformed time is reported under the name of its flag. A bare number is milliseconds. */
function duration(flag: string, text: string | undefined): Duration | undefined {
  if (text === undefined) return undefined;
  const value: unknown = /^\d+$/.test(text) ? Number(text) : text;
  return asUsage(() => parseDuration(value as Duration, `--${flag}`));
}

function parseMetadata(entries: readonly string[]): Readonly<Record<string, string>> {
  return Object.fromEntries(entries.map((entry) => {
    const at = entry.indexOf("=");
    if (at < 1) throw new UsageError(`Cannot use --metadata ${JSON.stringify(entry)}: it must be KEY=VALUE`);
    return [entry.slice(0, at), entry.slice(at + 1)];
  }));
}

function parseRounds(text: string): number {
  const rounds = Number(text);
  if (Number.isInteger(rounds) && rounds >= 1 && rounds <= 1_000_000) return rounds;
  throw new UsageError(`Cannot use --rounds ${JSON.stringify(text)}: it must be a whole number from 1 to 1000000`);
}

function parseLogLevel(text: string): LogLevel {
  const level = LOG_LEVELS.find((level) => level === text);
  if (level !== undefined) return level;
  throw new UsageError(`Cannot use --log-level ${JSON.stringify(text)}: it must be one of ${LOG_LEVELS.join(", ")}`);
}
