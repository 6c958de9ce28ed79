/**
 * One connection to one server: it is logged in, it is in its database, it is never repaired. Where it breaks, falls
 * silent, or finds that its server is no primary, another one takes its place.
 *
 * @module
 */

import { permanently } from "../../src/call.ts";
import process from "node:process";
import type { Clock } from "../../src/time/clock.ts";
import type { DriverClient, DriverStream, MakeClient } from "./driver.ts";
import type { Pace } from "./pace.ts";
import { type Address, type Credentials, format } from "./target.ts";

/** The words that must have been said and heard before a connection is used. */
export interface Setup {
  readonly credentials: Credentials;
  readonly database: number;
  /** True if only a primary will do, as far as the user may ask for it. */
  readonly mustBePrimary: boolean;
}

/** The state that all connections of a provider share. */
export interface LinkParts {
  readonly make: MakeClient;
  readonly pace: Pace;
  readonly clock: Clock;
}

/**
 * Connects and sets the connection up, within the time that the pace allows.
 *
 * @throws {Error} why there is no connection; nothing of it is left then
 */
export async function openLink(parts: LinkParts, address: Address, setup: Setup): Promise<Link> {
  const link = new Link(await parts.make(address), address, parts);
  const limitMs = parts.pace.openingMs;
  const cancel = parts.clock.setTimer(() => link.close(new Error(`no connection within ${limitMs} ms`)), limitMs);
  try {
    await link.connect();
    await setUp(link, setup);
    return link;
  } catch (error) {
    link.close(error);
    throw new Error(`cannot use ${format(address)}: ${messageOf(link.closedBy)}`, { cause: link.closedBy });
  } finally {
    cancel();
  }
}

/**
 * Logs in and selects the database, one after the other, for a refusal must come before anything is written: leases in
 * another database would be a second election under the same URL.
 */
async function setUp(link: Link, { credentials, database, mustBePrimary }: Setup): Promise<void> {
  const { username, password } = credentials;
  if (password !== undefined) {
    await expectOk(link, "AUTH", ...(username === undefined ? [] : [username]), password);
  }
  if (database !== 0) await expectOk(link, "SELECT", String(database));
  if (!mustBePrimary) return;
  const answer = await link.send("ROLE").catch((error: unknown) => {
    // A user that may not ask finds out at the first write.
    if (/^NOPERM/.test(messageOf(error))) return ["master"];
    throw error;
  });
  const role = Array.isArray(answer) ? String(answer[0]) : String(answer);
  if (role !== "master") throw new Error(`READONLY the server is no primary: its role is "${role}"`);
}

async function expectOk(link: Link, command: string, ...args: string[]): Promise<void> {
  const answer = await link.send(command, ...args).catch((error: unknown) => {
    const refusal = new Error(`${command} was refused: ${messageOf(error)}`, { cause: error });
    // A server that is busy, loading or cut off refuses for a while; a user or database that it does not know, for
    // good.
    throw isRefusal(error) || /\bERR\b/.test(messageOf(error)) ? permanently(refusal) : refusal;
  });
  if (String(answer) !== "OK") throw new Error(`${command} was answered "${answer}"`);
}

/** A connection. */
export class Link {
  /** Where it leads. */
  readonly address: Address;
  /** Resolves when it has been closed, by whomever. */
  readonly closed: Promise<void>;
  readonly #client: DriverClient;
  readonly #parts: LinkParts;
  #markClosed = () => {};
  #closedBy: unknown = null;
  #lastError: unknown = null;
  /** The number of answers that are due, and since when none has come while one was. */
  #due = 0;
  #quietSince = 0;
  #cancelTimer: (() => void) | null = null;
  #corked: DriverStream | null = null;

  /** Takes a client that has not connected. */
  constructor(client: DriverClient, address: Address, parts: LinkParts) {
    this.#client = client;
    this.address = address;
    this.#parts = parts;
    this.closed = new Promise((resolve) => this.#markClosed = resolve);
    // Without a listener an error would end the process, or be printed.
    client.on("error", (error) => this.#lastError = error);
    client.on("close", () => this.close(this.#lastError ?? new Error("the connection was closed")));
    client.on("end", () => this.close(this.#lastError ?? new Error("the connection was closed")));
  }

  /** True if commands can be sent. */
  get isOpen(): boolean {
    return this.#closedBy === null && this.#client.status === "ready";
  }

  /** Why it was closed; null while it is not. */
  get closedBy(): unknown {
    return this.#closedBy;
  }

  /** Connects. Rejects, soon, when it is closed meanwhile. */
  async connect(): Promise<void> {
    const connecting = this.#client.connect();
    connecting.catch(() => {});
    await Promise.race([connecting, this.closed]);
    if (this.#closedBy !== null) throw this.#closedBy;
    this.#client.stream?.on("data", () => this.#quietSince = this.#parts.clock.monotonic());
  }

  /** Sends one command, now or never. */
  send(command: string, ...args: (string | number)[]): Promise<unknown> {
    if (this.#closedBy !== null) return Promise.reject(this.#closedBy);
    if (this.#due++ === 0) this.#quietSince = this.#parts.clock.monotonic();
    this.#cancelTimer ??= this.#watchSilence(this.#parts.pace.silenceMs);
    this.#cork();
    return this.#client.call(command, ...args).then((answer) => {
      this.#due--;
      return answer;
    }, async (error) => {
      // The stream has ended, and why comes with its close: waited for as an answer is, that is, with a bound.
      if (/^Stream isn't writeable/.test(messageOf(error))) await this.closed;
      this.#due--;
      // The driver says only that the connection was closed, and not why.
      throw this.#closedBy ?? (isRefusal(error) ? permanently(error as Error) : error);
    });
  }

  /** Calls `listener` with the channel and the text of each message. */
  onMessage(listener: (channel: string, text: string) => void): void {
    this.#client.on("message", (channel, text) => listener(String(channel), String(text)));
  }

  /** Closes the connection if no byte has come for `limitMs` milliseconds while an answer was due. */
  closeIfSilent(limitMs: number): void {
    if (this.#silentMs() >= limitMs) {
      this.close(new Error(`the server was silent for ${Math.floor(this.#silentMs())} ms`));
    }
  }

  /** Closes it at once and for good. What is due rejects with `reason`; it may still be carried out. */
  close(reason: unknown): void {
    if (this.#closedBy !== null) return;
    this.#closedBy = reason ?? new Error("the connection was closed");
    this.#cancelTimer?.();
    this.#cancelTimer = null;
    this.#client.disconnect();
    // A peer that is silent does not answer the end of the stream either.
    this.#client.stream?.destroy();
    this.#markClosed();
  }

  #silentMs(): number {
    return this.#due === 0 ? 0 : this.#parts.clock.monotonic() - this.#quietSince;
  }

  /** Looks again when the silence that has begun would have lasted too long. One timer for any number of commands. */
  #watchSilence(delayMs: number): () => void {
    return this.#parts.clock.setTimer(() => {
      this.#cancelTimer = null;
      const limitMs = this.#parts.pace.silenceMs;
      this.closeIfSilent(limitMs);
      if (this.#closedBy !== null || this.#due === 0) return;
      this.#cancelTimer = this.#watchSilence(Math.max(limitMs - this.#silentMs(), 1));
    }, delayMs);
  }

  /**
   * Holds back what is written until the end of this turn of the event loop: the driver writes each command by itself,
   * and a thousand heartbeats become a few writes.
   */
  #cork(): void {
    const { stream } = this.#client;
    if (stream?.cork === undefined || this.#corked === stream) return;
    stream.cork();
    this.#corked = stream;
    process.nextTick(() => {
      this.#corked = null;
      stream.uncork?.();
    });
  }
}

/** True if the server does not let this user in, or do this. */
export function isRefusal(error: unknown): boolean {
  return /\b(WRONGPASS|NOAUTH|NOPERM)\b|unauthenticated (multi)?bulk length/.test(messageOf(error));
}

/** The message of an error; where it says nothing itself, as for a name with several addresses, what its parts say. */
export function messageOf(error: unknown): string {
  if (error instanceof AggregateError && error.message === "") return error.errors.map(messageOf).join("; ");
  return error instanceof Error ? error.message || error.name : String(error);
}
