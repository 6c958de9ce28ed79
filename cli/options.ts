/**
 * The options of the command line: one table, which parsing, help, completions and manual read.
 *
 * @module
 */

import { LOG_LEVELS } from "./output.ts";

/** One option: how it is written, and what it means. */
export interface Option {
  readonly type: "string" | "boolean";
  readonly short?: string;
  readonly multiple?: boolean;
  /** The word that stands for its value in the help. */
  readonly value?: string;
  /** The values that it takes, where they can be listed. */
  readonly choices?: readonly string[];
  readonly help: string;
}

const TABLE = {
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
  "no-wait": { type: "boolean", help: "give up at once when somebody else leads" },
  wait: { type: "string", value: "TIME", help: "give up when it does not lead after this time (default: never)" },
  "conflict-exit-code": {
    type: "string",
    value: "N",
    help: "the exit code of one that gave up, from 0 to 255 (default 1)",
  },
  "at-least": {
    type: "string",
    value: "TIME",
    help: "keep the lease this long after COMMAND began, though it ends earlier",
  },
  "campaign-delay": {
    type: "string",
    value: "TIME",
    help: "hold back this long when nobody leads, so that others lead first (default 0)",
  },
  to: { type: "string", value: "ID", help: "the participant that is to lead next" },
  chart: { type: "boolean", help: "draw a line a group, with the lease as it drains, on a terminal" },
  strict: { type: "boolean", help: "exit with 1 when there is a warning" },
  observe: { type: "boolean", help: "only watch: never campaign, never write" },
  port: { type: "string", value: "N", help: "the port to listen on; 0 takes a free one (default 4040)" },
  host: { type: "string", value: "ADDRESS", help: "the address to listen on (default 127.0.0.1)" },
  socket: { type: "string", value: "PATH", help: "listen on a Unix socket instead of a port" },
  "allow-host": {
    type: "string",
    multiple: true,
    value: "NAME",
    help: "a host name by which it may be asked for, beside addresses and localhost; may be repeated",
  },
  "token-file": { type: "string", value: "PATH", help: "a file with the bearer token that writes need" },
  yes: { type: "boolean", short: "y", help: "do not ask" },
  rounds: { type: "string", value: "N", help: "how many times each operation is measured (default 200)" },
  json: { type: "boolean", help: "print one JSON object per line" },
  "log-level": {
    type: "string",
    value: "LEVEL",
    choices: LOG_LEVELS,
    help: `${LOG_LEVELS.join(", ")} (default warn); logs go to stderr`,
  },
  help: { type: "boolean", short: "h", help: "print this help" },
} as const satisfies Readonly<Record<string, Option>>;

/** The name of an option. */
export type OptionName = keyof typeof TABLE;

/** Every option, by its name. */
export const OPTIONS: Readonly<Record<OptionName, Option>> = TABLE;

/** The options that every command has. */
export const COMMON: readonly OptionName[] = ["provider", "import", "json", "log-level", "help"];

/** The options of a command that takes part in an election. */
export const PARTICIPANT: readonly OptionName[] = ["id", "heartbeat-interval", "heartbeat-timeout", "metadata"];
