/**
 * One HTTP request, sent once, over connections of `node:http` that are kept.
 *
 * Measured beside each other, a request to Consul by `fetch` and by this: 0.93 and 0.66 ms on Deno, 0.65 and 0.63 ms on
 * Bun, 1.1 and 0.67 ms on Node. Deno's `fetch` never leaves a first address that is silent, and each runtime has
 * another way to make `fetch` trust an authority.
 *
 * @module
 */

import { Buffer } from "node:buffer";
import { type IncomingMessage, request as requestHttp } from "node:http";
import { request as requestHttps } from "node:https";
import type { Socket } from "node:net";
import { abortable } from "../../src/call.ts";
import type { HttpConnections } from "./http_agent.ts";

/** A request. */
export interface HttpInit {
  readonly method: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body?: string;
  /** Ends it, and takes the connection with it. */
  readonly signal: AbortSignal;
}

/** Its answer. */
export interface HttpAnswer {
  readonly status: number;
  readonly headers: { get(name: string): string | null };
  /** To be read once, to its end, or until it is left; an answer that is cut short is an error. */
  readonly body: AsyncIterable<Uint8Array>;
}

/** Sends one request, once. Resolves with the head of its answer. */
export function exchange(connections: HttpConnections, url: URL, init: HttpInit): Promise<HttpAnswer> {
  const { method, headers, body, signal } = init;
  return new Promise((resolve, reject) => {
    signal.throwIfAborted();
    let socket: Socket | null = null;
    const send = url.protocol === "https:" ? requestHttps : requestHttp;
    const length = body === undefined ? {} : { "content-length": String(Buffer.byteLength(body)) };
    const options = { method, headers: { ...headers, ...length }, agent: connections.agent };
    const request = send(url, options, (message) => {
      settle();
      connections.note(socket, true);
      const on = { cut: () => connections.note(socket, false), left: () => request.destroy() };
      const [status, headers] = [message.statusCode ?? 0, { get: headerOf(message) }];
      resolve({ status, headers, body: bodyOf(message, signal, on) });
    });
    // A connection that ended before its request could listen to it would leave that waiting. Once there is an answer,
    // that itself tells whether it is whole, also where the host closes the connection behind it.
    const onClose = () => fail(new Error("the host closed the connection"));
    const settle = () => {
      signal.removeEventListener("abort", onAbort);
      socket?.off("close", onClose);
    };
    const fail = (error: unknown) => {
      settle();
      connections.note(socket, false);
      request.destroy();
      reject(error);
    };
    const onAbort = () => fail(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    request.on("socket", (assigned) => {
      socket = assigned;
      if (assigned.destroyed) onClose();
      else assigned.once("close", onClose);
      // A connection that comes when nobody waits for it any more must carry nothing.
      if (signal.aborted) request.destroy();
    });
    request.on("error", fail);
    request.end(body);
  });
}

/** Reads the body of an answer as text. */
export async function textOf(body: AsyncIterable<Uint8Array> | null): Promise<string> {
  const chunks: Uint8Array[] = [];
  for await (const chunk of body ?? []) chunks.push(chunk);
  return Buffer.concat(chunks).toString();
}

/**
 * Reads a body piece by piece, and no longer than `signal` lasts.
 *
 * @throws the reason of `signal`, at once, whatever the body does
 */
export async function* chunksOf(body: AsyncIterable<Uint8Array>, signal: AbortSignal): AsyncGenerator<Uint8Array> {
  const chunks = body[Symbol.asyncIterator]();
  let isWhole = false;
  try {
    for (;;) {
      const next = await abortable(chunks.next(), signal);
      isWhole = next.done === true;
      if (next.done) return;
      yield next.value;
    }
  } finally {
    // Not waited for: it may come only with the next piece.
    if (!isWhole) Promise.resolve(chunks.return?.()).catch(() => {});
  }
}

/** The body of an answer. When it is left before its end, or cut short, the request is ended. */
async function* bodyOf(
  message: IncomingMessage,
  signal: AbortSignal,
  on: { cut(): void; left(): void },
): AsyncGenerator<Uint8Array> {
  let isWhole = false;
  try {
    yield* chunksOf(message, signal);
    isWhole = true;
  } catch (error) {
    if (!signal.aborted) on.cut();
    throw error;
  } finally {
    if (!isWhole) on.left();
  }
}

function headerOf({ headers }: IncomingMessage): (name: string) => string | null {
  return (name) => {
    const value = headers[name];
    return typeof value === "string" ? value : null;
  };
}
