/**
 * The way to a cluster: requests to one member after the other, each sent once, with the token that it asks for.
 *
 * @module
 */

import { permanently } from "../../src/call.ts";
import { Gate } from "../kit/gate.ts";
import { type HttpConnections, openConnections } from "../kit/http_agent.ts";
import { exchange, type HttpAnswer, textOf } from "../kit/http_exchange.ts";
import { Code, EtcdError, hasNoLeader, needsToken } from "./errors.ts";
import type { EtcdTarget } from "./target.ts";
import { Tokens } from "./tokens.ts";

/** The most requests that are under way at once, beside heartbeats and the watch. */
const MAX_REQUESTS = 64;

interface Member {
  readonly origin: string;
  readonly connections: HttpConnections;
}

/** Sends requests. */
export class EtcdClient {
  /** The time of the last answer by the clock of its member, to the second. */
  date: string | null = null;
  readonly #members: readonly Member[];
  /** The one to ask. It changes when one does not answer. */
  #current = 0;
  readonly #tokens: Tokens | null;
  readonly #gate = new Gate(MAX_REQUESTS);
  readonly #closing = new AbortController();

  constructor({ origins, credentials, tls }: EtcdTarget) {
    // In random order, so that the clients of a cluster spread over its members.
    this.#members = origins.map((origin) => ({ origin, at: Math.random() })).sort((a, b) => a.at - b.at)
      .map(({ origin }) => ({ origin, connections: openConnections(tls) }));
    this.#tokens = credentials && new Tokens((body, signal) => this.#send("auth/authenticate", body, null, signal), {
      credentials,
      closing: this.#closing.signal,
    });
  }

  /** Aborts when the provider is closed. */
  get closing(): AbortSignal {
    return this.#closing.signal;
  }

  /** Ends what is under way, and refuses what comes later. */
  close(): void {
    this.#closing.abort(new Error("the provider is closed"));
    for (const { connections } of this.#members) connections.close();
  }

  /** Sends one request when fewer than 64 others are under way. One that has been given up is not sent. */
  async request<T>(path: string, body: unknown, signal: AbortSignal): Promise<T> {
    const leave = await this.#gate.enter(signal);
    try {
      return await this.send<T>(path, body, signal);
    } finally {
      leave();
    }
  }

  /** Sends one request now. */
  async send<T>(path: string, body: unknown, signal: AbortSignal): Promise<T> {
    const text = JSON.stringify(body);
    const bound = this.#bind(signal);
    try {
      return parse(await this.#authorized(bound.signal, (token) => this.#send(path, text, token, bound.signal))) as T;
    } finally {
      bound.leave();
    }
  }

  /** Sends a request whose answer goes on, line by line, until the signal aborts. */
  async *stream<T>(path: string, body: unknown, signal: AbortSignal): AsyncGenerator<T> {
    const text = JSON.stringify(body);
    const bound = this.#bind(signal);
    let member: Member | undefined;
    try {
      const opened = await this.#authorized(bound.signal, (token) => this.#open(path, text, token, bound.signal));
      member = opened.member;
      for await (const line of linesOf(opened.answer.body)) yield parse(line) as T;
      throw new Error("the answer has ended");
    } catch (error) {
      if (member !== undefined && !bound.signal.aborted) this.#suspect(member);
      throw error;
    } finally {
      bound.leave();
    }
  }

  /** Gets another token for the next request: a watch that is denied does not say why. */
  async renewToken(): Promise<void> {
    await this.#tokens?.forget();
  }

  /** Returns a signal that aborts with `signal`, and when this is closed; and how to stop listening to both. */
  #bind(signal: AbortSignal): { readonly signal: AbortSignal; readonly leave: () => void } {
    const closing = this.#closing.signal;
    const controller = new AbortController();
    const onAbort = () => controller.abort(closing.aborted ? closing.reason : signal.reason);
    for (const each of [signal, closing]) each.addEventListener("abort", onAbort, { once: true });
    if (signal.aborted || closing.aborted) onAbort();
    const leave = () => [signal, closing].forEach((each) => each.removeEventListener("abort", onAbort));
    return { signal: controller.signal, leave };
  }

  /** Does `work` with the token that there is; once more, with another, where that was refused, and so did nothing. */
  async #authorized<T>(signal: AbortSignal, work: (token: string | null) => Promise<T>): Promise<T> {
    if (this.#tokens === null) return await work(null);
    const token = await this.#tokens.get(signal);
    try {
      return await work(token);
    } catch (error) {
      if (!needsToken(error)) throw error;
      await this.#tokens.forget(token);
      return await work(await this.#tokens.get(signal));
    }
  }

  async #send(path: string, body: string, token: string | null, signal: AbortSignal): Promise<string> {
    const { answer, member } = await this.#open(path, body, token, signal);
    this.date = answer.headers.get("date");
    try {
      return await textOf(answer.body);
    } catch (error) {
      this.#suspect(member);
      throw error;
    }
  }

  /**
   * Sends a request to the current member. It goes on to the next one only where nothing can have been done: nobody
   * listened, or the member said that it has no leader. A member that leaves a request unanswered is not asked next.
   */
  async #open(
    path: string,
    body: string,
    token: string | null,
    signal: AbortSignal,
  ): Promise<{ answer: HttpAnswer; member: Member }> {
    for (let attempt = 1;; attempt++) {
      signal.throwIfAborted();
      const member = this.#members[this.#current];
      if (member === undefined) throw new TypeError("there is no member");
      try {
        const answer = await exchange(member.connections, new URL(`${member.origin}/v3/${path}`), {
          method: "POST",
          headers: { ...HEADERS, ...(token !== null && { authorization: token }) },
          body,
          signal,
        });
        if (answer.status === 200) return { answer, member };
        throw refusalOf(answer.status, await textOf(answer.body));
      } catch (error) {
        if (!(error instanceof EtcdError) || error.code === Code.unavailable) this.#suspect(member);
        const isUndone = isUnreachable(error) || hasNoLeader(error);
        if (!isUndone || attempt >= this.#members.length) throw error;
      }
    }
  }

  #suspect(member: Member): void {
    // Of many calls that fail together, the first one moves on.
    if (this.#members[this.#current] === member) this.#current = (this.#current + 1) % this.#members.length;
  }
}

/** A member that has lost its leader refuses at once, and ends its watches, instead of hanging. */
const HEADERS = { "content-type": "application/json", "grpc-metadata-hasleader": "true" };

/** Errors of a connection that was never made. */
const UNREACHABLE = new Set(["ECONNREFUSED", "EHOSTUNREACH", "ENETUNREACH", "ENOTFOUND", "EAI_AGAIN"]);

function isUnreachable(error: unknown): boolean {
  return error instanceof Error && "code" in error && UNREACHABLE.has(String(error.code));
}

function refusalOf(status: number, body: string): Error {
  let refusal: Error;
  try {
    const { code, message, error } = JSON.parse(body) as { code?: number; message?: string; error?: string };
    if (code === undefined) throw new TypeError("this is no refusal of etcd's");
    refusal = new EtcdError(code, message ?? error ?? "");
    if (!needsToken(refusal) && code !== Code.permissionDenied) return refusal;
  } catch {
    refusal = new Error(status === 404 ? NO_GATEWAY : `${status} ${body.trim().slice(0, 200)}`);
    if (status !== 404) return refusal;
  }
  return permanently(refusal);
}

const NO_GATEWAY = "there is no JSON gateway below /v3/: etcd 3.4 or later is needed, with --enable-grpc-gateway";

/** Reads the first line of an answer: a stream's stands in `result`, or is an error. */
function parse(text: string): unknown {
  const [line = ""] = text.trimStart().split("\n", 1);
  const json = jsonOf(line) as { result?: unknown; error?: { grpc_code?: number; code?: number; message?: string } };
  if (json.error !== undefined) {
    throw new EtcdError(json.error.grpc_code ?? json.error.code ?? 0, String(json.error.message));
  }
  return json.result ?? json;
}

function jsonOf(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch (cause) {
    const start = JSON.stringify(text.trim().slice(0, 40));
    throw permanently(new Error(`this is not etcd, whose answers are JSON: ${start}`, { cause }));
  }
}

async function* linesOf(body: AsyncIterable<Uint8Array>): AsyncGenerator<string> {
  const decoder = new TextDecoder();
  let rest = "";
  for await (const chunk of body) {
    const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
    rest = lines.pop() ?? "";
    for (const line of lines) if (line.trim() !== "") yield line;
  }
}
