/** Contenders in processes of their own, and what they say. */

import { sleep, systemClock } from "../src/time/clock.ts";

/** A process of `contender.ts`, or of `peers/contender.ts`. */
export class ContenderProcess implements AsyncDisposable {
  readonly #child: Deno.ChildProcess;
  readonly #input: WritableStreamDefaultWriter<Uint8Array>;
  /** When it began to lead, each time, by the wall clock in milliseconds. */
  readonly led: number[] = [];
  /** What led to that: when it had the hint, looked, and had the answer. */
  readonly steps: (readonly number[])[] = [];
  /** When it was about to release. */
  readonly released: number[] = [];
  /** When the backend had answered that, and when it was asked. */
  readonly freed: (readonly number[])[] = [];
  readonly #ready = Promise.withResolvers<void>();

  /** Starts `count` participants of `group`. */
  static ofGroup(url: string, group: string, count: number, heartbeatTimeout: number): ContenderProcess {
    return new ContenderProcess("contender.ts", [url, group, String(count), String(heartbeatTimeout)]);
  }

  /** Starts one that contends for the lock `key` of a peer. */
  static ofPeer(name: string, url: string, key: string): ContenderProcess {
    return new ContenderProcess("peers/contender.ts", [name, url, key]);
  }

  private constructor(script: string, args: readonly string[]) {
    this.#child = new Deno.Command(Deno.execPath(), {
      args: ["run", "--no-check", "-A", new URL(script, import.meta.url).pathname, ...args],
      stdin: "piped",
      stdout: "piped",
      stderr: "inherit",
    }).spawn();
    this.#input = this.#child.stdin.getWriter();
    this.#ready.promise.catch(() => {});
    void this.#listen();
  }

  /** Resolves when all its participants know a leader. */
  get ready(): Promise<void> {
    return this.#ready.promise;
  }

  /** Tells it to hand over, if it leads, and to stay away for `cooldownMs`. */
  async handOver(cooldownMs: number): Promise<void> {
    await this.#input.write(new TextEncoder().encode(`hand over ${cooldownMs}\n`));
  }

  /** Kills it. Returns when, by the wall clock. */
  kill(): number {
    const at = performance.timeOrigin + performance.now();
    this.#child.kill("SIGKILL");
    return at;
  }

  /** Ends it. */
  async [Symbol.asyncDispose](): Promise<void> {
    await this.#input.close().catch(() => {});
    const late = setTimeout(() => {
      try {
        this.#child.kill("SIGKILL");
      } catch {
        // It has ended by itself.
      }
    }, 10_000);
    await this.#child.status;
    clearTimeout(late);
  }

  async #listen(): Promise<void> {
    await readLines(this.#child.stdout, (line) => {
      const [word, ...times] = line.split(" ");
      const [at = NaN, ...steps] = times.map(Number);
      if (word === "ready") this.#ready.resolve();
      if (word === "leads") {
        this.steps.push(steps);
        this.led.push(at);
      }
      if (word === "released") this.released.push(at);
      if (word === "free") this.freed.push([at, ...steps]);
    });
    this.#ready.reject(new Error("Cannot measure: a contender has ended"));
  }
}

/** Calls `take` with each line of a process's output; resolves when it ends. */
export async function readLines(output: ReadableStream<Uint8Array>, take: (line: string) => void): Promise<void> {
  let rest = "";
  for await (const text of output.pipeThrough(new TextDecoderStream())) {
    const lines = (rest + text).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) take(line);
  }
}

/** Waits until `look` returns something. */
export async function until<T>(what: string, look: () => T | undefined, limitMs = 60_000): Promise<T> {
  for (const start = performance.now(); performance.now() - start < limitMs; await sleep(systemClock, 5)) {
    const found = look();
    if (found !== undefined) return found;
  }
  throw new Error(`Cannot measure: ${what} took more than ${limitMs} ms`);
}
