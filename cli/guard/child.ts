/**
 * The command under `elect run`: a process group of its own, behind a gate.
 *
 * @module
 */

import { spawn } from "node:child_process";
import process from "node:process";
import { ElectionError } from "../../src/errors.ts";
import { exitCodeOfSignal, ignoredSignals } from "../signals.ts";
import { endGroup, type Member, type Sent, signalGroup } from "./processes.ts";

/**
 * The variables that the command gets, in the order in which the gate reads them. None of their values holds a space.
 */
const VARIABLES = ["ELECT_GROUP", "ELECT_PARTICIPANT_ID", "ELECT_TERM_ID", "ELECT_TOKEN"] as const;

/** See {@linkcode VARIABLES}. */
export type Environment = Readonly<Record<typeof VARIABLES[number], string>>;

/**
 * Waits for a line on descriptor 3 before it becomes the command. If `elect` dies first, the pipe closes and the
 * command never begins: there is no moment in which it runs unguarded.
 */
const GATE = `read -r ${VARIABLES.join(" ")} <&3 || exit 75; exec 3<&-; export ${VARIABLES.join(" ")}; ` +
  // The variable in which Deno tells its child of the descriptor is not for the command.
  "unset DENO_EXTRA_STDIO_FDS; exec";

/** A command that has a process, and begins when it is let. */
export interface GatedChild extends Disposable {
  /** Its process id, and the number of its process group. */
  readonly pid: number;
  /** True once its process has ended. */
  readonly isOver: boolean;
  /**
   * Resolves to its exit code when it has ended, 128 and the number of the signal that ended it; nothing of its process
   * group is alive then.
   */
  readonly ended: Promise<number>;
  /** Lets it begin, in this environment beside that of `elect`. */
  begin(environment: Environment): void;
  /**
   * Sends a signal to its whole process group; to nobody once that has ended, when the number may be somebody else's.
   */
  kill(signal: NodeJS.Signals): Sent;
  /** Closes the gate: what has not begun never will. */
  [Symbol.dispose](): void;
}

/**
 * Makes a process for `command`, in a session of its own: the terminal's signals reach it through `elect` alone. It
 * shares the standard streams of `elect`, and it may read from a terminal, since a session without one of its own is
 * not stopped for that.
 *
 * @param stuck is told of processes that cannot be ended, though the command's own has
 * @throws {ElectionError} if it cannot be started
 */
export async function startGated(
  command: readonly string[],
  stuck: (members: readonly Member[]) => void,
): Promise<GatedChild> {
  const ignored = ignoredSignals().map((signal) => `trap '' ${signal.slice("SIG".length)}; `).join("");
  const { env, keeper } = keptEnvironment(process.env);
  const child = spawn("sh", ["-c", `${ignored}${GATE}${keeper} "$@"`, "elect", ...command], {
    stdio: ["inherit", "inherit", "inherit", "pipe"],
    detached: true,
    env,
  });
  let isOver = false;
  let isGone = false;
  const ended = new Promise<number>((resolve) => {
    child.once("exit", async (code, signal) => {
      isOver = true;
      // Processes that it left running have no right to run after it. The lease is not given away before they have
      // ended.
      if (child.pid !== undefined) await endGroup(child.pid, { stuck });
      isGone = true;
      resolve(code ?? exitCodeOfSignal(signal));
    });
  });
  await new Promise<void>((resolve, reject) => {
    child.once("spawn", resolve);
    child.once("error", (cause) => reject(new ElectionError(`Cannot start "sh": ${cause.message}`, { cause })));
  });
  const { pid } = child;
  const gate = child.stdio[3];
  if (pid === undefined || !gate || !("end" in gate)) {
    throw new ElectionError(`Cannot start "${command[0]}": no process`);
  }
  gate.on("error", () => {}); // it ended before the gate was opened
  return {
    pid,
    get isOver() {
      return isOver;
    },
    ended,
    begin: (environment) => void gate.end(`${VARIABLES.map((name) => environment[name]).join(" ")}\n`),
    kill: (signal) => isGone ? "nobody" : signalGroup(pid, signal),
    [Symbol.dispose]: () => void gate.end(),
  };
}

/**
 * Returns an environment for a shell that is about to become a command, and the words before the command that make it
 * the original one again. Shells drop variables whose names they could not use, such as `spring.datasource.url`. These
 * go under names of their own, so that their values are in no command line while the shell waits.
 */
function keptEnvironment(original: NodeJS.ProcessEnv): { env: NodeJS.ProcessEnv; keeper: string } {
  const env: NodeJS.ProcessEnv = {};
  const [unset, set]: [string[], string[]] = [[], []];
  for (const [name, value] of Object.entries(original)) {
    if (/^[A-Za-z_][A-Za-z0-9_]*$/.test(name)) {
      env[name] = value;
      continue;
    }
    const stand = `ELECT_KEPT_${set.length}`;
    env[stand] = value;
    unset.push(` -u ${stand}`);
    set.push(` '${name.replaceAll("'", "'\\''")}='"$${stand}"`);
  }
  return { env, keeper: set.length === 0 ? "" : ` env${unset.join("")} --${set.join("")}` };
}
