/**
 * The guard of a command under `elect run`: a process of its own that kills the command when its right to run ends,
 * whatever happens to `elect`.
 *
 * It speaks with `elect` over two pipes, a line at a time:
 *
 * | from `elect` | from the guard |
 * |---|---|
 * | | `ready`: it can be relied upon |
 * | `guard GROUP TICK`: watch this process group, and ask every TICK ms | `ask N`: how long may it still run? |
 * | `answer N MS`: that long from now | `guarded`, after the first answer: the command may start |
 * | `stand-down`: the command has ended | `stood-down killed` or `stood-down idle` |
 *
 * @module
 */

import process from "node:process";
import { type Clock, elapsedSince, type Instant, instant, systemClock } from "../../src/time/clock.ts";
import { readLines } from "../lines.ts";
import { onSignal } from "../signals.ts";
import { describeMembers, endGroup, type Member } from "./processes.ts";

/** The words with which the lines of the guard begin. */
export type GuardWord = "ready" | "ask" | "guarded" | "stood-down";

/** The effects of the guard on the world. */
export interface GuardEffects {
  /** Sends a line to `elect`. */
  send(line: GuardWord | `${GuardWord} ${string}`): void;
  /** Ends a process group, at once; resolves when nothing of it is alive. */
  kill(processGroup: number): Promise<void>;
}

/**
 * The guard's mind, apart from its pipes.
 *
 * Why the command never outlives its right: the guard notes its own time *before* it asks, and `elect` computes its
 * answer after that. So the answer, counted from the noted time, ends no later than what `elect` promised, and every
 * delay, of the question, of the answer, or of a frozen `elect`, only shortens it. No clock is compared with another's.
 * Elapsed time is the larger of monotonic and wall-clock elapsed, so a suspended machine does not lengthen it either.
 * When `elect` is gone, the pipe closes, and there is nobody left who could renew.
 *
 * Why it kills nobody else: the number of a process group is not given away while it has a member, dead ones that
 * nobody has waited for included. The command's own process is waited for by `elect` alone, which stands the guard down
 * as soon as it has done so. A frozen `elect` waits for nobody. A killed one closes the pipe, which the guard sees
 * within milliseconds, while the kernel has to go through all other numbers first.
 */
export class DeadlineGuard {
  readonly #clock: Clock;
  readonly #effects: GuardEffects;
  #processGroup: number | null = null;
  #tickMs = 0;
  /** When the question was asked that has no answer yet. */
  #asked: Instant | null = null;
  /** Its number: an answer to any other says nothing about the time since this one. */
  #question = 0;
  /** The answer that counts, and when it was asked for. */
  #limit: { readonly from: Instant; readonly ms: number } | null = null;
  #killed = false;
  /** Resolves when nothing of what was killed is alive. */
  #dead: Promise<void> = Promise.resolve();
  #cancelTimer: () => void = () => {};

  /** Makes a guard that watches nothing yet. */
  constructor(clock: Clock, effects: GuardEffects) {
    this.#clock = clock;
    this.#effects = effects;
  }

  /** Takes a line from `elect`. One that it does not know is ignored. */
  take(line: string): void {
    const [verb, first, second] = line.split(" ");
    if (verb === "guard") this.#guard(Number(first), Number(second));
    else if (verb === "answer") this.#answer(Number(first), Number(second));
    else if (verb === "stand-down") this.#standDown();
  }

  /**
   * `elect` is gone: nobody renews any more, and nobody would know if the lease were lost. Resolves when nothing that
   * was watched is alive: the end of the guard is its word for that, which others on this host wait for.
   */
  abandoned(): Promise<void> {
    this.#kill();
    return this.#dead;
  }

  #guard(processGroup: number, tickMs: number): void {
    // 0 and 1 would mean the guard's own group and every process.
    if (!Number.isInteger(processGroup) || processGroup <= 1) return;
    this.#processGroup = processGroup;
    this.#tickMs = Math.max(1, tickMs) || 1;
    this.#limit = null;
    this.#killed = false;
    this.#ask();
    this.#setTimer();
  }

  #answer(question: number, ms: number): void {
    const from = this.#asked;
    if (from === null || question !== this.#question || this.#processGroup === null || this.#killed) return;
    const first = this.#limit === null;
    this.#asked = null;
    this.#limit = { from, ms: Number.isFinite(ms) ? ms : 0 };
    this.#check();
    if (first && !this.#killed) this.#effects.send("guarded");
  }

  #standDown(): void {
    this.#effects.send(`stood-down ${this.#killed ? "killed" : "idle"}`);
    this.#processGroup = null;
    this.#asked = null;
    this.#cancelTimer();
  }

  /** Asks again, unless the last question is still open: its answer will count from when it was asked. */
  #tick(): void {
    this.#check();
    if (this.#killed) return;
    if (this.#asked === null) this.#ask();
    this.#setTimer();
  }

  #ask(): void {
    this.#asked = instant(this.#clock);
    this.#effects.send(`ask ${++this.#question}`);
  }

  #check(): void {
    if (this.#left() <= 0) this.#kill();
    else this.#setTimer();
  }

  /** Before the first answer the command has not started: its gate is shut. */
  #left(): number {
    return this.#limit === null ? Infinity : this.#limit.ms - elapsedSince(this.#clock, this.#limit.from);
  }

  /** The timer is short even when the deadline is far, because the timers of a suspended machine stand still. */
  #setTimer(): void {
    this.#cancelTimer();
    this.#cancelTimer = this.#clock.setTimer(() => this.#tick(), Math.max(0, Math.min(this.#tickMs, this.#left())));
  }

  #kill(): void {
    this.#cancelTimer();
    if (this.#processGroup === null || this.#killed) return;
    this.#killed = true;
    this.#dead = this.#effects.kill(this.#processGroup);
  }
}

function main(): void {
  // A signal that is sent to all processes of a service, to end them or to tell them something, must not end its guard,
  // nor open a debugger in it. The guard ends with the pipe.
  onSignal(() => {});
  // Nor must the end of those who read what it says.
  for (const stream of [process.stdout, process.stderr]) stream.on("error", () => {});
  const stuck = (members: readonly Member[]) => {
    const who = describeMembers(members);
    process.stderr.write(`elect: ${who} cannot be ended, and goes on running without leadership\n`);
  };
  const guard = new DeadlineGuard(systemClock, {
    send: (line) => void process.stdout.write(`${line}\n`),
    kill: (processGroup) => endGroup(processGroup, { stuck }),
  });
  readLines(process.stdin, (line) => guard.take(line), () => {
    void guard.abandoned().then(() => process.exit(0));
  });
  process.stdout.write("ready\n");
}

if (import.meta.main) main();
