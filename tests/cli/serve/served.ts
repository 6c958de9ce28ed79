/** `elect serve` in a process of its own, and readers of its events. */

import { eventually, type Running, type Setting, startOn } from "../elect.ts";

/** The token of writes that the tests use. */
export const TOKEN = "a-token-of-the-tests";

/** A process that serves. */
export interface Serving extends AsyncDisposable {
  readonly process: Running;
  /** Where it does, without a slash at the end. */
  readonly url: string;
}

/** Starts `elect serve` on a free port, and waits until it serves. */
export async function startServing(args: readonly string[], setting: Setting): Promise<Serving> {
  const process = await startOn(["serve", ...args, "--port", "0", "--json"], {
    ...setting,
    env: { ELECT_SERVE_TOKEN: TOKEN, ...setting.env },
  });
  const [, url = ""] = await process.said(/"at":"(http:[^"]+)\/"/);
  return { process, url, [Symbol.asyncDispose]: () => process[Symbol.asyncDispose]() };
}

/** A server-sent event. */
export interface ServedEvent {
  readonly id: string | undefined;
  readonly type: string;
  // deno-lint-ignore no-explicit-any -- what the test looks into
  readonly data: any;
}

/** A reader of a stream of events. */
export class EventReader implements AsyncDisposable {
  readonly events: ServedEvent[] = [];
  readonly #ended = new AbortController();
  readonly #done: Promise<void>;
  /** True once the server has ended the stream. */
  isOver = false;

  constructor(url: string, lastEventId?: string) {
    this.#done = this.#read(url, lastEventId).catch(() => {}).finally(() => this.isOver = true);
  }

  /** Waits for an event. */
  async until(check: (event: ServedEvent) => boolean, what: string): Promise<ServedEvent> {
    return await eventually(() => this.events.find(check), () => `${what} among ${JSON.stringify(this.events)}`);
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#ended.abort();
    await this.#done;
  }

  async #read(url: string, lastEventId?: string): Promise<void> {
    const headers = lastEventId === undefined ? {} : { "Last-Event-ID": lastEventId };
    const response = await fetch(url, { headers, signal: this.#ended.signal });
    let text = "";
    for await (const chunk of (response.body ?? new ReadableStream()).pipeThrough(new TextDecoderStream())) {
      text += chunk;
      const parts = text.split("\n\n");
      text = parts.pop() ?? "";
      for (const part of parts) {
        const field = (name: string) => new RegExp(`^${name}: (.*)$`, "m").exec(part)?.[1];
        const [type, data] = [field("event"), field("data")];
        if (type !== undefined) this.events.push({ id: field("id"), type, data: JSON.parse(data ?? "null") });
      }
    }
  }
}

/** What a test needs; null if it cannot be had, with the reason said, unless that is an error. */
export async function toolsOr<T>(start: () => Promise<T>): Promise<T | null> {
  try {
    return await start();
  } catch (error) {
    if (!/Cannot (install|start)/.test(String(error))) throw error;
    console.log(`skipped: ${error instanceof Error ? error.message : error}`);
    return null;
  }
}
