/**
 * The side of the guard that `elect` holds: see `guard_process.ts` for what it promises and why.
 *
 * @module
 */

import type { ChildProcess } from "node:child_process";
import type { Readable, Writable } from "node:stream";
import { sleep, systemClock } from "../../src/time/clock.ts";
import { ElectionError } from "../../src/errors.ts";
import { readLines } from "../lines.ts";
import { startModule } from "../runtime.ts";
// JSR's npm layer compiles the modules that others import. This one is started, and must be there, too.
import type { GuardWord } from "./guard_process.ts";

/** The longest time that a guard may take to start, or to give its first answer. */
const PATIENCE_MS = 10_000;
/**
 * The longest time that it may take to answer when the command has ended: nothing depends on it any more, and the lease
 * is still held.
 */
const FAREWELL_MS = 2_000;

/** A guard process that is running. It watches one command at a time, any number one after the other. */
export class Guard implements Disposable {
  /** Its process id: it ends only when nothing that it watched is alive. */
  readonly pid: number;
  /** Resolves when the guard process has ended, for whatever reason. */
  readonly gone: Promise<void>;
  readonly #process: ChildProcess;
  readonly #input: Writable;
  #answer: () => number = () => 0;
  #expected = new Map<GuardWord, (line: string) => void>();

  /**
   * Starts a guard.
   *
   * @throws {ElectionError} if it cannot be started
   */
  static async start(): Promise<Guard> {
    // A session of its own, so that what is sent to the process group of `elect` does not reach it. All rights, because
    // Deno asks for them where /proc is read.
    const guardProcess = startModule("guard_process", import.meta.url, ["--no-config", "--allow-all"], {
      stdio: ["pipe", "pipe", "inherit"],
      detached: true,
      cwd: "/",
    });
    guardProcess.on("error", () => {}); // told by what follows
    const { pid, stdin, stdout } = guardProcess;
    if (pid === undefined || stdin === null || stdout === null) {
      throw new ElectionError("Cannot start the guard process: the runtime gave none");
    }
    const guard = new Guard(guardProcess, pid, stdin, stdout);
    if (await guard.#reply("ready") === null) {
      guard[Symbol.dispose]();
      throw new ElectionError("Cannot start the guard process: it ended, or gave no answer");
    }
    return guard;
  }

  private constructor(guardProcess: ChildProcess, pid: number, input: Writable, output: Readable) {
    this.pid = pid;
    this.#process = guardProcess;
    this.#input = input;
    this.gone = new Promise((resolve) => {
      guardProcess.once("exit", () => resolve());
      guardProcess.once("error", () => resolve());
    });
    input.on("error", () => {}); // a guard that is gone is noticed by `gone`
    readLines(output, (line) => this.#take(line));
  }

  /**
   * Has the guard watch a process group, and ask `remaining` every `tickMs` for how many more milliseconds it may run.
   * Resolves to true when the guard has had its first answer: only then may the command begin.
   */
  async watch(processGroup: number, tickMs: number, remaining: () => number): Promise<boolean> {
    this.#answer = remaining;
    const reply = this.#reply("guarded");
    this.#send(`guard ${processGroup} ${Math.max(1, Math.floor(tickMs))}`);
    return await reply !== null;
  }

  /** Ends the watch, because the command has ended. Resolves to whether the guard had killed it. */
  async standDown(): Promise<boolean> {
    const reply = this.#reply("stood-down", FAREWELL_MS);
    this.#send("stand-down");
    const line = await reply;
    // One that does not answer might still kill, and its number of a process group may soon be somebody else's.
    if (line === null) this[Symbol.dispose]();
    return line === "stood-down killed";
  }

  /** Ends the guard process. */
  [Symbol.dispose](): void {
    this.#process.kill("SIGKILL");
  }

  #send(line: string): void {
    if (this.#input.writable) this.#input.write(`${line}\n`);
  }

  #take(line: string): void {
    const [word, question] = line.split(" ");
    if (word === "ask") this.#send(`answer ${question} ${Math.floor(this.#answer())}`);
    this.#expected.get(word as GuardWord)?.(line);
  }

  /** Waits for the line that begins with `word`; null if the guard is gone or silent. */
  async #reply(word: GuardWord, patienceMs = PATIENCE_MS): Promise<string | null> {
    const answered = new Promise<string>((resolve) => this.#expected.set(word, resolve));
    const over = new AbortController();
    try {
      return await Promise.race([
        answered,
        this.gone.then(() => null),
        sleep(systemClock, patienceMs, over.signal).then(() => null, () => null),
      ]);
    } finally {
      over.abort();
      this.#expected.delete(word);
    }
  }
}
