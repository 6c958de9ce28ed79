/**
 * `elect manual`: the manual page, made from the tables of commands, options and exit codes.
 *
 * @module
 */

import process from "node:process";
import { type Command, optionsOf } from "../args.ts";
import { EXIT, EXIT_CODES } from "../exit.ts";
import { LEASES, TIMES, usageOf } from "../help.ts";
import { COMMON, type OptionName, OPTIONS } from "../options.ts";
import { writeOut } from "../streams.ts";
import { VERSION } from "../version.ts";

/** Returns `elect manual`, which describes the commands that `table` returns. */
export function manualOf(table: () => readonly Command[]): Command {
  return {
    name: "manual",
    usage: "",
    summary: "Prints the manual page.",
    details: `elect manual | man -l -
elect manual > /usr/local/share/man/man1/elect.1`,
    example: "elect manual | man -l -",
    options: [],
    run() {
      writeOut(process.stdout, `${pageOf(table())}\n`);
      return Promise.resolve(EXIT.done);
    },
  };
}

/** Returns the page, in the `man` macros of roff. */
function pageOf(commands: readonly Command[]): string {
  return [
    `.TH ELECT 1 "" "elect ${VERSION}"`,
    ".SH NAME",
    roff("elect - leader election: runs a command where it leads, and looks after elections"),
    ".SH SYNOPSIS",
    ...commands.flatMap((command) => [".PP", bold(usageOf(command))]),
    ".SH DESCRIPTION",
    ...paragraphs(LEASES),
    ".SH COMMANDS",
    ...commands.flatMap(commandOf),
    ".SH OPTIONS OF EVERY COMMAND",
    ...COMMON.flatMap(optionOf),
    ".PP",
    roff(TIMES),
    ".SH EXIT STATUS",
    ...EXIT_CODES.flatMap(([code, meaning]) => [".TP", bold(String(code)), roff(meaning)]),
    ".PP",
    bold("elect run"),
    roff("adds that of its command, and 128 + n where a signal ended it."),
    ".SH ENVIRONMENT",
    ...[".TP", bold("ELECT_PROVIDER"), roff("the URL of the backend, where --provider does not give one")],
    ...[".TP", bold("NO_COLOR"), roff("no colour on a terminal")],
  ].join("\n");
}

function commandOf(command: Command): string[] {
  const own = optionsOf(command).filter((name) => !COMMON.includes(name));
  return [
    `.SS "${roff(usageOf(command)).replaceAll('"', "")}"`,
    ...paragraphs(command.summary),
    ...paragraphs(command.details),
    ...own.flatMap(optionOf),
    ".PP",
    "Example:",
    ...[".PP", ".RS 4", ".nf", roff(command.example), ".fi", ".RE"],
  ];
}

function optionOf(name: OptionName): string[] {
  const { short, value, help } = OPTIONS[name];
  const names = `${short === undefined ? "" : `-${short}, `}--${name}${value === undefined ? "" : ` ${value}`}`;
  return [".TP", bold(names), roff(help)];
}

/** Lines that are set apart by blanks, or are command lines, stay lines. */
function paragraphs(text: string): string[] {
  return text.split("\n\n").filter((paragraph) => paragraph !== "").flatMap((paragraph) => {
    const lines = paragraph.split("\n").map(roff);
    return /^elect |^\w+: {2}/.test(paragraph) ? [".PP", ".nf", ...lines, ".fi"] : [".PP", ...lines];
  });
}

function bold(text: string): string {
  return `\\fB${roff(text)}\\fR`;
}

/** Escapes what roff would take for its own. */
function roff(text: string): string {
  return text.replaceAll("\\", "\\e").replaceAll("-", "\\-").replace(/^([.'])/gm, "\\&$1");
}
