/**
 * The signals that reach `elect`: heard from the first moment on, and handed to the command that is carried out.
 *
 * @module
 */

import { constants as files, readFileSync, readlinkSync } from "node:fs";
import { constants } from "node:os";
import process from "node:process";

/** The signals that ask a process to end. */
const ENDING: readonly NodeJS.Signals[] = ["SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT"];

/**
 * The signals that would end or stop this process by default, or that a command may wait for, and that say nothing to
 * `elect`.
 */
const OTHERS: readonly NodeJS.Signals[] = [
  "SIGUSR1",
  "SIGUSR2",
  "SIGALRM",
  "SIGVTALRM",
  "SIGPROF",
  "SIGXCPU",
  "SIGIO",
  "SIGURG",
  "SIGWINCH",
  "SIGCONT",
  "SIGTSTP",
];

/** Takes a signal; `ending` if it asks to end. */
export type SignalHandler = (signal: NodeJS.Signals, ending: boolean) => void;

/** Signals that came before anybody could take them. */
const held: NodeJS.Signals[] = [];
let handler: SignalHandler | null = null;
let listening = false;

/**
 * True if SIGHUP was ignored when this process began, as `nohup` has it. Read once: listening changes what can be read.
 */
const hangUpIgnored = isHangUpIgnored();

/**
 * Begins to listen. The first thing that the program does: until then a signal ends it, or, where it is process 1 of a
 * container, is lost without a trace. A signal that comes before somebody takes signals is kept.
 */
export function holdSignals(): void {
  if (listening) return;
  listening = true;
  for (const signal of [...ENDING, ...OTHERS]) {
    // Listened to all the same: Deno has a handler of its own for it, which ends the process, once it listens to any.
    const listener = signal === "SIGHUP" && hangUpIgnored ? () => {} : () => deliver(signal);
    try {
      process.on(signal, listener);
    } catch {
      // A platform that does not know it never sends it.
    }
  }
}

/**
 * Hands every signal to `take`, those that were held first, until it is disposed of. Then, those that ask to end do so.
 */
export function onSignal(take: SignalHandler): Disposable {
  holdSignals();
  handler = take;
  for (const signal of held.splice(0)) deliver(signal);
  return { [Symbol.dispose]: endAtSignals };
}

/** Has the signals that ask to end do so at once; the others mean nothing. */
export function endAtSignals(): void {
  if (!listening) return;
  handler = (signal, ending) => ending && process.exit(exitCodeOfSignal(signal));
  for (const signal of held.splice(0)) deliver(signal);
}

/** Returns the signals that a command inherits as ignored. A runtime resets them, so the command's shell must do it. */
export function ignoredSignals(): readonly NodeJS.Signals[] {
  return hangUpIgnored ? ["SIGHUP"] : [];
}

/** Returns the exit code that shells give to a process that `signal` has ended. */
export function exitCodeOfSignal(signal: NodeJS.Signals | null): number {
  return 128 + (signal === null ? 0 : constants.signals[signal] ?? 0);
}

function deliver(signal: NodeJS.Signals): void {
  if (signal === "SIGUSR1" && "Deno" in globalThis) void closeInspector();
  if (handler === null) held.push(signal);
  else handler(signal, ENDING.includes(signal));
}

/** The number of looks for an inspector that is about to open, and the time between two of them, in milliseconds. */
const INSPECTOR_LOOKS = 50;
const INSPECTOR_LOOK_MS = 20;

/**
 * Closes the debugger that Deno opens on SIGUSR1, also for a process that listens for the signal itself: whoever can
 * connect to it runs what he likes. Node and Bun leave it closed when somebody listens.
 */
async function closeInspector(): Promise<void> {
  const inspector = await import("node:inspector");
  for (let look = 0; look < INSPECTOR_LOOKS; look++) {
    if (inspector.url() !== undefined) return inspector.close();
    await new Promise<void>((resolve) => setTimeout(resolve, INSPECTOR_LOOK_MS).unref());
  }
}

/**
 * Reads it from /proc, where there is one. A runtime that catches the signal has forgotten whether it was ignored: Node
 * always, Deno where loading took long. Two signs are left then: a parent that ignores it, as a script under `nohup`
 * does, and the standard input that `nohup` gives to a process of a terminal, /dev/null opened for writing.
 */
function isHangUpIgnored(): boolean {
  try {
    const own = statusOf("self");
    if (has("SigIgn", own)) return true;
    const isForgotten = !("Deno" in globalThis || "Bun" in globalThis) || has("SigCgt", own);
    return isForgotten && (has("SigIgn", statusOf(process.ppid)) || hasInputOfNohup());
  } catch {
    return false;
  }
}

function statusOf(pid: number | "self"): string {
  return readFileSync(`/proc/${pid}/status`, "utf8");
}

/** Returns whether SIGHUP is in a set of signals of a process: those it ignores, or those it catches. */
function has(name: "SigIgn" | "SigCgt", status: string): boolean {
  const [, bits = "0"] = new RegExp(`^${name}:\\s*([0-9a-f]+)$`, "m").exec(status) ?? [];
  return (BigInt(`0x${bits}`) & 1n << BigInt(constants.signals.SIGHUP - 1)) !== 0n;
}

function hasInputOfNohup(): boolean {
  const [, flags = "0"] = /^flags:\s*([0-7]+)$/m.exec(readFileSync("/proc/self/fdinfo/0", "utf8")) ?? [];
  const accessMode = Number.parseInt(flags, 8) & 3;
  return accessMode === files.O_WRONLY && readlinkSync("/proc/self/fd/0") === "/dev/null";
}
