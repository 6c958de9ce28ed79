/**
 * The output of the command: sentences for people, or one JSON object per line.
 *
 * @module
 */

import process from "node:process";
import { type Logger, seldom } from "../src/logger.ts";
import type { LeaderInfo } from "../src/provider.ts";
import { redact } from "../src/redact.ts";
import { type Clock, systemClock } from "../src/time/clock.ts";
import { type Stream, writeOut } from "./streams.ts";

/** Where results go. */
export interface Output {
  /** Prints one result: `text` for people, or `data` as a line of JSON. */
  print(text: string, data: Readonly<Record<string, unknown>>): void;
  /** Returns `text` in bold, on a terminal that takes colour. */
  strong(text: string): string;
  /** Returns `text` in grey, on a terminal that takes colour. */
  faint(text: string): string;
}

/** The levels of `--log-level`, from the most to the least talkative. */
export const LOG_LEVELS = ["debug", "info", "warn", "error", "none"] as const;

/** One of {@linkcode LOG_LEVELS}. */
export type LogLevel = typeof LOG_LEVELS[number];

/** Returns an output to `stream`. Colour only on a terminal, and never with `NO_COLOR`. */
export function outputTo(stream: Stream, json: boolean): Output {
  const coloured = stream.isTTY === true && !process.env["NO_COLOR"] && process.env["TERM"] !== "dumb";
  const style = (code: number) => (text: string) => coloured ? `\x1b[${code}m${text}\x1b[0m` : text;
  return {
    print: (text, data) => writeOut(stream, `${json ? toJson(data) : text}\n`),
    strong: style(1),
    faint: style(90),
  };
}

/**
 * Returns a logger to standard error that says nothing below `level`. Credentials never reach it. A warning that comes
 * again, as at each look while the backend is away, is written at most once a minute, with a count; at `debug` always.
 */
export function logTo(stream: Stream, level: LogLevel, json: boolean, clock: Clock = systemClock): Logger {
  const counted = seldom(clock);
  const write = (at: LogLevel) => (message: string, properties: Record<string, unknown> = {}) => {
    if (LOG_LEVELS.indexOf(at) < LOG_LEVELS.indexOf(level)) return;
    if (at === "warn" && level !== "debug") {
      const again = counted(`${message}${listed(properties)}`);
      if (again === null) return;
      if (again > 0) properties = { ...properties, again };
    }
    // Value by value: a secret that is looked for in the line as a whole has no end that is not JSON's, too, and a
    // fencing token has the name of a secret.
    const line = json
      ? toJson({ level: at, message, ...properties }, redact)
      : `elect: ${at}: ${redact(message)}${listed(properties)}`;
    stream.write(`${line}\n`);
  };
  return { debug: write("debug"), info: write("info"), warn: write("warn") };
}

/**
 * Returns `data` as one line of JSON, each text in it as `shown` has it. Tokens become strings: they outgrow the
 * numbers of most JSON readers.
 */
export function toJson(data: Readonly<Record<string, unknown>>, shown = (text: string) => text): string {
  return JSON.stringify(data, (_key, value: unknown) => {
    if (typeof value === "bigint") return String(value);
    const text = value instanceof Error ? `${value.name}: ${value.message}` : value;
    return typeof text === "string" ? shown(text) : text;
  });
}

/** Returns `text` with its control characters spelt out: a record in a backend must not be able to drive a terminal. */
export function printable(text: string): string {
  return text.replace(/\p{Cc}/gu, (character) => `\\u${character.charCodeAt(0).toString(16).padStart(4, "0")}`);
}

/** Returns a sentence about who leads `group`. */
export function describeLeader(group: string, leader: LeaderInfo | null, output: Output): string {
  const name = printable(group);
  if (leader === null) return `nobody leads ${name}`;
  const expires = leader.expiresIn === null ? "" : `, expires in ${(leader.expiresIn / 1_000).toFixed(1)} s`;
  const since = `since ${leader.leadershipAcquiredAt.toISOString()}${expires}`;
  const said = Object.entries(leader.metadata).map(([key, value]) => ` ${printable(key)}=${printable(value)}`).join("");
  return `${output.strong(printable(leader.leaderId))} leads ${name} under token ${output.strong(`${leader.token}`)}` +
    output.faint(`, ${since}${said}`);
}

function listed(properties: Readonly<Record<string, unknown>>): string {
  return Object.entries(properties)
    .filter(([, value]) => value !== undefined)
    .map(([key, value]) => ` ${key}=${printable(redact(value instanceof Error ? value.message : String(value)))}`)
    .join("");
}
