/**
 * The bearer token of a service account, in a file that is replaced while the process runs.
 *
 * @module
 */

import { readFile } from "node:fs/promises";
import type { Clock } from "../../src/time/clock.ts";
import { codeOf } from "./target.ts";

/** After how long the file is read again, in milliseconds, as client-go does it: a token lives for an hour or so. */
const FRESH_MS = 60_000;

/** Reads the token when it is needed. */
export class TokenFile {
  readonly #path: string;
  readonly #clock: Clock;
  #token: string | null = null;
  #readAt = -Infinity;
  #reading: Promise<string> | null = null;

  constructor(path: string, clock: Clock) {
    this.#path = path;
    this.#clock = clock;
  }

  /**
   * Returns the token, as the file had it less than a minute ago. One that cannot be read again is still good until the
   * server refuses it.
   *
   * @throws {Error} if the file cannot be read; without its path, which may be a token that was put in its place
   */
  async get(): Promise<string> {
    const known = this.#token;
    if (known === null) return await this.#readOnce();
    if (this.#clock.monotonic() - this.#readAt < FRESH_MS) return known;
    return await this.#readOnce().catch(() => known);
  }

  /**
   * Returns the token of the file as it is now, if it is another one than `refused`; else null.
   *
   * @throws {Error} as {@linkcode TokenFile.get} does
   */
  async after(refused: string): Promise<string | null> {
    const token = await this.#readOnce();
    return token === refused ? null : token;
  }

  #readOnce(): Promise<string> {
    return this.#reading ??= this.#read().finally(() => this.#reading = null);
  }

  async #read(): Promise<string> {
    try {
      const token = (await readFile(this.#path, "utf8")).trim();
      if (token === "" || /[^\x21-\x7e]/.test(token)) throw new Error("it holds no token");
      this.#token = token;
      this.#readAt = this.#clock.monotonic();
      return token;
    } catch (cause) {
      const why = cause instanceof Error && cause.message === "it holds no token" ? cause.message : codeOf(cause);
      throw new Error(`cannot read the file of setting "token": ${why}`);
    }
  }
}
