/**
 * The standard streams, as a program needs them that must go on when their readers do not.
 *
 * @module
 */

import { constants, fstatSync, openSync, write, writeSync } from "node:fs";
import process from "node:process";
import { EXIT, OutputError } from "./exit.ts";

/** The most text that may wait to be written, in characters. The rest is dropped: a log is worth no leadership. */
const MAX_WAITING = 1_000_000;
/** The time to wait when a stream that does not block is full, in milliseconds. */
const FULL_MS = 50;
const STANDARD_ERROR = 2;

/** One of the standard streams that can be written to. */
export type Stream = Pick<typeof process.stdout, "isTTY"> & { write(text: string): boolean };

/**
 * Standard error, for lines of which some may be lost. Its reader may have gone, which ends nothing; or may stand
 * still, which holds nobody up, while the runtimes' own streams wait for a pipe that is full.
 */
class LossyStream {
  #waiting = "";
  #busy = false;

  get isTTY(): boolean {
    return process.stderr.isTTY === true;
  }

  write(text: string): boolean {
    if (this.#waiting.length < MAX_WAITING) this.#waiting += text;
    this.#next();
    return true;
  }

  #next(): void {
    if (this.#busy || this.#waiting === "") return;
    this.#busy = true;
    const bytes = new TextEncoder().encode(this.#waiting);
    this.#waiting = "";
    this.#send(bytes);
  }

  #send(bytes: Uint8Array): void {
    writeInThread(bytes, (error, written) => {
      if (error === null && written < bytes.length) return this.#send(bytes.subarray(written));
      if (isFull(error)) return void setTimeout(() => this.#send(bytes), FULL_MS);
      this.#busy = false;
      this.#next();
    });
  }
}

/**
 * Writes to standard error without holding up the event loop. In Deno `write` of `node:fs` would, for a standard
 * stream.
 */
function writeInThread(bytes: Uint8Array, done: (error: Error | null, written: number) => void): void {
  if ("Deno" in globalThis) {
    void Deno.stderr.write(bytes).then((written) => done(null, written), (error) => done(error, 0));
  } else {
    descriptor ??= openStandardError();
    write(descriptor, bytes, 0, bytes.length, null, done);
  }
}

let descriptor: number | null = null;

/**
 * Opens the pipe or terminal of standard error once more, so that writing to it does not wait: Node cannot end while a
 * thread of it does. A file never makes one wait, and needs the place that its descriptor shares with others.
 */
function openStandardError(): number {
  try {
    const stat = fstatSync(STANDARD_ERROR);
    if (!stat.isFIFO() && !stat.isCharacterDevice()) return STANDARD_ERROR;
    return openSync(`/proc/self/fd/${STANDARD_ERROR}`, constants.O_WRONLY | constants.O_NONBLOCK | constants.O_NOCTTY);
  } catch {
    // Closed, without a reader, somebody else's, or on a platform without /proc: what there is has to do.
    return STANDARD_ERROR;
  }
}

/** Returns true if it is a stream that refuses what it has no room for; the others wait. */
function isFull(error: Error | null): boolean {
  return error !== null && "code" in error && error.code === "EAGAIN" || error?.name === "WouldBlock";
}

/** See {@linkcode LossyStream}. */
export const standardError: Stream = new LossyStream();

/**
 * Keeps the program alive when a reader of its streams goes. One of standard output that has had enough, such as head,
 * ends it.
 */
export function outliveReaders(): void {
  process.stderr.on("error", () => {});
  process.stdout.on("error", (error: { code?: unknown }) => {
    if (error.code === "EPIPE") process.exit(EXIT.done);
    // At once: the process ends here.
    writeSync(STANDARD_ERROR, `elect: ${new OutputError(error).message}\n`);
    process.exit(EXIT.output);
  });
}

/**
 * Writes to a stream.
 *
 * @throws {OutputError} if that fails at once, as in Deno; the other runtimes tell the listener of `outliveReaders`
 */
export function writeOut(stream: Stream, text: string): void {
  try {
    stream.write(text);
  } catch (error) {
    throw new OutputError(error);
  }
}
