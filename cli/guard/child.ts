/**
 * The command under `elect run`: a process group of its own, behind a gate.
 *
 * @module
 */

import { spawn } from "node:child_process";
import { constants } from "node:os";
import process from "node:process";
import { ElectionError } from "../../src/errors.ts";
// This also makes the guard a static part of the program: a runtime that loads modules over the network has it at hand.
import { killGroup } from "./guard_process.ts";

/**
 * Waits for a line on descriptor 3 before it becomes the command. If `elect` dies first, the pipe closes and the command
 * never begins: there is no moment in which it runs unguarded.
 */
const GATE = 'read -r open <&3 || exit 75; exec 3<&-; exec "$@"';

/** A command that has a process, and begins when it is let. */
export interface GatedChild {
  /** Its process id, and the number of its process group. */
  readonly pid: number;
  /**
   * Resolves to its exit code when it has ended, 128 and the number of the signal that ended it; nothing of its process
   * group is left then.
   */
  readonly ended: Promise<number>;
  /** Lets it begin. */
  begin(): void;
  /** Sends a signal to its whole process group; to nobody once it has ended, when the number may be somebody else's. */
  kill(signal: NodeJS.Signals): void;
}

/**
 * Makes a process for `command`, in a session of its own: the terminal's signals reach it through `elect` alone. It
 * shares the standard streams of `elect`, and it may read from a terminal, since a session without one of its own is not
 * stopped for that.
 *
 * @throws {ElectionError} if it cannot be started
 */
export async function startGated(
  command: readonly string[],
  environment: Readonly<Record<string, string>>,
): Promise<GatedChild> {
  const child = spawn("sh", ["-c", GATE, "elect", ...command], {
    stdio: ["inherit", "inherit", "inherit", "pipe"],
    detached: true,
    env: { ...process.env, ...environment },
  });
  let over = false;
  const kill = (signal: NodeJS.Signals) => {
    if (!over && child.pid !== undefined) killGroup(child.pid, signal);
  };
  const ended = new Promise<number>((resolve) => {
    child.once("exit", (code, signal) => {
      // What it left running has no right to run after it.
      kill("SIGKILL");
      over = true;
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
  return { pid, ended, begin: () => gate.end("open\n"), kill };
}

/** Returns the exit code that shells give to a process that `signal` has ended. */
export function exitCodeOfSignal(signal: NodeJS.Signals | null): number {
  return 128 + (signal === null ? 0 : constants.signals[signal] ?? 0);
}
