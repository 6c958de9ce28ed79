/**
 * Runs the command line as its users do: in processes of its own.
 *
 * @module
 */

import { deadline, delay } from "@std/async";
import { fileURLToPath } from "node:url";
import { programOf, type Runtime, RUNTIMES } from "../runner/runtimes.ts";
import { isRequired } from "../runner/test_on.ts";
import { patience } from "../slowness.ts";

const CLI = fileURLToPath(new URL("../../cli.ts", import.meta.url));

/** How long a test waits for anything on an idle machine; a wait that succeeds ends early. */
const PATIENCE_MS = 30_000;

/** How a process ended. */
export interface Finished {
  readonly code: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** What a process gets beside its arguments. */
export interface Setting {
  readonly env?: Record<string, string>;
  /** What runs it. @default Deno */
  readonly runtime?: Runtime;
  /** A program that is given the command line to run, and its arguments, such as `["nohup"]`. */
  readonly under?: readonly string[];
}

/** Runs `body` as a test of its own on each runtime. One that cannot be had is skipped, unless it is required. */
export function onEachRuntime(name: string, body: (runtime: Runtime) => Promise<void>): void {
  for (const runtime of RUNTIMES) {
    Deno.test(`${name}, on ${runtime}`, async () => {
      try {
        await findRuntime(runtime);
      } catch (error) {
        if (isRequired(runtime)) throw error;
        return console.log(`skipped: there is no ${runtime}`);
      }
      await body(runtime);
    });
  }
}

const programs = new Map<Runtime, Promise<string>>();

/** Finds the program of a runtime, once: to ask npm for it takes a second. */
function findRuntime(runtime: Runtime): Promise<string> {
  const program = programs.get(runtime) ?? programOf(runtime);
  programs.set(runtime, program);
  return program;
}

/** Returns the program of a runtime. */
export function programOn(runtime: Runtime): Promise<string> {
  return findRuntime(runtime);
}

/** Returns the command line of `elect`, without its arguments. */
export async function commandLine(runtime: Runtime = "deno"): Promise<string[]> {
  const program = await findRuntime(runtime);
  return runtime === "deno" ? [program, "run", "--quiet", "--allow-all", CLI] : [program, CLI];
}

/** A temporary directory as a provider, removed at the end of the test. */
export async function temporary(): Promise<{ path: string; url: string } & AsyncDisposable> {
  const path = await Deno.makeTempDir({ prefix: "elect-test-" });
  return {
    path,
    url: `file://${path}/leases`,
    [Symbol.asyncDispose]: () => Deno.remove(path, { recursive: true }),
  };
}

/** Starts `elect` on the runtime of the setting. */
export async function startOn(args: readonly string[], setting: Setting): Promise<Running> {
  const [program = "", ...rest] = [...setting.under ?? [], ...await commandLine(setting.runtime), ...args];
  return new Running(rest, setting, program);
}

/** Runs `elect` to its end, on the runtime of the setting. */
export async function electOn(args: readonly string[], setting: Setting): Promise<Finished> {
  await using running = await startOn(args, setting);
  return await running.finished();
}

/** Runs `elect` to its end. */
export async function elect(args: string[], setting: Setting = {}): Promise<Finished> {
  await using running = start(args, setting);
  return await running.finished();
}

/** Starts `elect`. */
export function start(args: string[], setting: Setting = {}): Running {
  return new Running(["run", "--allow-all", CLI, ...args], setting);
}

/** A process that is running, of Deno unless another program is named, and what it has said so far. */
export class Running implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #read: Promise<unknown>;
  stdout = "";
  stderr = "";

  constructor(args: string[], { env = {} }: Setting, program = Deno.execPath()) {
    this.#child = new Deno.Command(program, {
      args,
      env: { NO_COLOR: "1", ...env },
      stdin: "null",
      stdout: "piped",
      stderr: "piped",
    }).spawn();
    this.#read = Promise.all([
      readAll(this.#child.stdout, (text) => this.stdout += text),
      readAll(this.#child.stderr, (text) => this.stderr += text),
    ]);
  }

  get pid(): number {
    return this.#child.pid;
  }

  kill(signal: Deno.Signal): void {
    this.#child.kill(signal);
  }

  /** Waits until the process has said something that matches, and returns the match. */
  async said(pattern: RegExp, stream: "stdout" | "stderr" = "stdout"): Promise<RegExpMatchArray> {
    return await eventually(() => this[stream].match(pattern), () => `${pattern} from ${this.#describe()}`);
  }

  /** Waits for its end. */
  async finished(): Promise<Finished> {
    const ended = Promise.all([this.#child.status, this.#read]);
    const [status] = await within(ended, patience(PATIENCE_MS), `the end of ${this.#describe()}`);
    return { code: status.code, stdout: this.stdout, stderr: this.stderr };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    try {
      this.#child.kill("SIGKILL");
    } catch {
      // It has ended already.
    }
    await this.#child.status;
    // What a broken `elect` left behind holds on to its streams; it must not hold up the test that found it.
    await within(this.#read, 1_000, "the end of its output").catch(() => {});
  }

  #describe(): string {
    return `process ${this.pid}; it said: ${this.stdout}${this.stderr}`;
  }
}

/** Polls until `check` returns something. */
export async function eventually<T>(
  check: () => T | null | undefined | false | Promise<T | null | undefined | false>,
  what: string | (() => string),
): Promise<T> {
  for (const start = Date.now(); Date.now() - start < patience(PATIENCE_MS);) {
    const result = await check();
    if (result !== null && result !== undefined && result !== false) return result;
    await delay(10);
  }
  throw new Error(`Waited in vain for ${typeof what === "string" ? what : what()}`);
}

/** Whether a process is there and not just waiting to be buried. */
export function isAlive(pid: number): boolean {
  const { stdout } = new Deno.Command("ps", { args: ["-o", "stat=", "-p", String(pid)] }).outputSync();
  const state = new TextDecoder().decode(stdout).trim();
  return state !== "" && !state.startsWith("Z");
}

/** Returns the process ids of the children of a process whose command line has `part` in it. */
export function childrenOf(pid: number, part: string): number[] {
  const { stdout } = new Deno.Command("ps", { args: ["-eo", "pid=,ppid=,args="] }).outputSync();
  return new TextDecoder().decode(stdout).split("\n")
    .map((line) => /^\s*(\d+)\s+(\d+)\s+(.*)$/.exec(line))
    .filter((row) => row !== null && Number(row[2]) === pid && row[3]?.includes(part))
    .map((row) => Number(row?.[1]));
}

async function readAll(stream: ReadableStream<Uint8Array>, take: (text: string) => void): Promise<void> {
  const decoder = new TextDecoder();
  for await (const bytes of stream) take(decoder.decode(bytes, { stream: true }));
}

async function within<T>(work: Promise<T>, ms: number, what: string): Promise<T> {
  try {
    return await deadline(work, ms);
  } catch (error) {
    if (!(error instanceof DOMException && error.name === "TimeoutError")) throw error;
    throw new Error(`Waited in vain for ${what}`);
  }
}
