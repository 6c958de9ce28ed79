/**
 * `elect completions`: what a shell needs in order to complete command lines of `elect`.
 *
 * @module
 */

import process from "node:process";
import { nearest } from "../../src/spelling.ts";
import { type Command, type Invocation, optionsOf } from "../args.ts";
import { EXIT, UsageError } from "../exit.ts";
import { type OptionName, OPTIONS } from "../options.ts";
import { writeOut } from "../streams.ts";

const SCRIPTS: Readonly<Record<string, (commands: readonly Command[]) => string>> = { bash, zsh, fish };
const SHELLS = Object.keys(SCRIPTS);

/** Returns `elect completions`, which completes the commands that `table` returns. */
export function completionsOf(table: () => readonly Command[]): Command {
  return {
    name: "completions",
    usage: "SHELL",
    summary: `Prints a script that completes command lines in ${SHELLS.join(", ")}.`,
    details: `bash:  eval "$(elect completions bash)"   in ~/.bashrc
zsh:   eval "$(elect completions zsh)"    in ~/.zshrc, after compinit
fish:  elect completions fish | source    in ~/.config/fish/config.fish`,
    example: "elect completions bash",
    options: [],
    run(invocation: Invocation): Promise<number> {
      writeOut(process.stdout, `${scriptFor(invocation.argument)(table())}\n`);
      return Promise.resolve(EXIT.done);
    },
  };
}

function scriptFor(shell: string): (commands: readonly Command[]) => string {
  const script = Object.hasOwn(SCRIPTS, shell) ? SCRIPTS[shell] : undefined;
  if (script !== undefined) return script;
  const near = nearest(shell, SHELLS);
  throw new UsageError(
    `Cannot complete for shell ${JSON.stringify(shell)}: ` +
      (near === undefined ? `known are ${SHELLS.join(", ")}` : `did you mean ${near}?`),
  );
}

function bash(commands: readonly Command[]): string {
  return `_elect() {
  local current=\${COMP_WORDS[COMP_CWORD]} before=\${COMP_WORDS[COMP_CWORD-1]} command= word
  for word in "\${COMP_WORDS[@]:1:COMP_CWORD-1}"; do
    [[ $word == -- ]] && { COMPREPLY=($(compgen -c -f -- "$current")); return; }
    case $word in ${names(commands, "|")}) [[ $command ]] || command=$word ;; esac
  done
  COMPREPLY=()
  case $before in
${
    withValue().map(([name, { choices }]) =>
      `    --${name}) ${choices ? `COMPREPLY=($(compgen -W "${choices.join(" ")}" -- "$current")); ` : ""}return ;;`
    ).join("\n")
  }
  esac
  case $command in
    "") COMPREPLY=($(compgen -W "${names(commands, " ")} help" -- "$current")) ;;
${
    commands.map((command) =>
      `    ${command.name}) COMPREPLY=($(compgen -W "${flags(command).join(" ")}${
        command.name === "completions" ? ` ${SHELLS.join(" ")}` : ""
      }" -- "$current")) ;;`
    ).join("\n")
  }
  esac
}
complete -F _elect elect`;
}

function zsh(commands: readonly Command[]): string {
  const quoted = (text: string) => `'${text.replaceAll("'", "'\\''")}'`;
  const described = (name: string, text: string) => quoted(`${name.replaceAll(":", "\\:")}:${text}`);
  const option = (name: OptionName) => {
    const { help, value, choices, multiple } = OPTIONS[name];
    const text = help.replace(/[[\]:]/g, "\\$&");
    const argument = value === undefined ? "" : `:${value}:${choices ? `(${choices.join(" ")})` : " "}`;
    return quoted(`${multiple ? "*" : ""}--${name}[${text}]${argument}`);
  };
  const position = (command: Command) =>
    command.name === "completions" ? ` '1:shell:(${SHELLS.join(" ")})'` : command.usage === "" ? "" : " '1:group: '";
  return `#compdef elect
_elect() {
  local context state line
  _arguments -C '1:command:->command' '*::argument:->argument'
  case $state in
    command) _describe command '(${
    commands.map((each) => described(each.name, each.summary).slice(1, -1)).map((each) =>
      `"${each.replaceAll('"', '\\"')}"`
    ).join(" ")
  })' ;;
    argument)
      case $words[1] in
${
    commands.map((command) =>
      `        ${command.name}) _arguments ${optionsOf(command).map(option).join(" ")}${position(command)}${
        takesCommand(command) ? " '*:: :_normal'" : ""
      } ;;`
    ).join("\n")
  }
      esac ;;
  esac
}
compdef _elect elect`;
}

function fish(commands: readonly Command[]): string {
  const quoted = (text: string) => `'${text.replaceAll("\\", "\\\\").replaceAll("'", "\\'")}'`;
  const lines = ["complete -c elect -f"];
  for (const command of commands) {
    lines.push(`complete -c elect -n __fish_use_subcommand -a ${command.name} -d ${quoted(command.summary)}`);
    const only = `complete -c elect -n '__fish_seen_subcommand_from ${command.name}'`;
    for (const name of optionsOf(command)) {
      const { short, value, choices, help } = OPTIONS[name];
      lines.push(
        `${only} -l ${name}${short ? ` -s ${short}` : ""}${value ? " -x" : ""}` +
          `${choices ? ` -a ${quoted(choices.join(" "))}` : ""} -d ${quoted(help)}`,
      );
    }
    if (command.name === "completions") lines.push(`${only} -a ${quoted(SHELLS.join(" "))}`);
  }
  return lines.join("\n");
}

function names(commands: readonly Command[], separator: string): string {
  return commands.map(({ name }) => name).join(separator);
}

function flags(command: Command): string[] {
  return optionsOf(command).map((name) => `--${name}`);
}

function takesCommand(command: Command): boolean {
  return command.usage.includes("-- COMMAND");
}

/** The options that are followed by a value. */
function withValue() {
  return Object.entries(OPTIONS).filter(([, { type }]) => type === "string");
}
