/**
 * The part of the Kubernetes API that elections need: requests within bounds, and what the server means by its answers.
 *
 * @module
 */

import { abortable, permanently } from "../../src/call.ts";
import { type Clock, sleep } from "../../src/time/clock.ts";
import { Gate } from "../kit/gate.ts";
import { chunksOf, textOf } from "../kit/http_exchange.ts";
import type { TokenFile } from "./token_file.ts";

/**
 * Sends one request to the API server, once, without retrying, as `fetch` would: `path` begins behind its address, with
 * `/api`. The body of the answer must come as it is sent, for a watch is an answer without an end.
 */
export type KubernetesRequest = (path: string, init: {
  readonly method: string;
  readonly headers: Record<string, string>;
  readonly body?: string;
  readonly signal: AbortSignal;
}) => Promise<{
  readonly status: number;
  readonly headers: { get(name: string): string | null };
  readonly body: AsyncIterable<Uint8Array> | null;
}>;

type RawAnswer = Awaited<ReturnType<KubernetesRequest>>;

/** The verbs of roles. */
export type Verb = "get" | "list" | "watch" | "create" | "patch";

/** The most requests that are under way at a time, beside the watch. */
const MAX_REQUESTS = 32;
/** The longest that the server's wish to be left alone is granted, in milliseconds: leases run out meanwhile. */
const MAX_WAIT_MS = 10_000;
/** The longest part that is read of an answer that is an error, in characters. */
const SHOWN = 300;

/** The object is larger than the server takes. */
export class TooLargeError extends Error {}

/** A request. */
export interface ApiRequest {
  /** The verb that the role of the caller must have, and on what. */
  readonly verb: Verb;
  readonly resource?: string;
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly body?: unknown;
  readonly signal: AbortSignal;
}

/** An answer: `json` is the object if `status` is 200 or 201, else the `Status` that says why there is none. */
export interface ApiAnswer<T> {
  readonly status: number;
  readonly json: T;
  /** The server's time, to the second. */
  readonly date: string | null;
}

/** The parts of a client that depend on its server. */
export interface ClientParts {
  readonly request: KubernetesRequest;
  readonly token: TokenFile | null;
  readonly clock: Clock;
  /** Closes the connections. */
  close(): void;
}

const METHODS: Readonly<Record<Verb, string>> = {
  get: "GET",
  list: "GET",
  watch: "GET",
  create: "POST",
  patch: "PATCH",
};

/** Sends requests. */
export class ApiClient {
  readonly #parts: ClientParts;
  readonly #gate = new Gate(MAX_REQUESTS);
  readonly #underWay = new Set<AbortController>();
  /** Until when the server wants to be left alone, by the monotonic clock. */
  #quietUntil = -Infinity;
  #closed: Error | null = null;

  constructor(parts: ClientParts) {
    this.#parts = parts;
  }

  /** Ends what is under way, and refuses what comes later. */
  close(): void {
    this.#closed ??= new Error("the provider is closed");
    for (const controller of this.#underWay) controller.abort(this.#closed);
    this.#parts.close();
  }

  /**
   * Sends one request, when fewer than 32 others are under way, and reads its answer. The statuses 404 (no such object)
   * and 409 (a condition did not hold, and nothing was written) are answers, like 200 and 201; 410 is that of a watch
   * or a list that came too late.
   *
   * @throws {TooLargeError} if the object is larger than the server takes
   * @throws {Error} any other answer: nothing is known, or a right is missing, which the error then names
   */
  async call<T>(request: ApiRequest): Promise<ApiAnswer<T>> {
    const leave = await this.#gate.enter(request.signal);
    try {
      return await this.#within(request.signal, async (signal) => {
        const answer = await this.#send({ ...request, signal });
        const text = await textOf(answer.body);
        const json = parse(text);
        if (![200, 201, 404, 409, 410].includes(answer.status)) throw this.#refusal(request, answer, json, text);
        // Anything else answers with text, or a page: a proxy, or an API server that has no Leases.
        if (json === null) throw permanently(new Error(`${answer.status}: this is no Kubernetes API with Leases`));
        return { status: answer.status, json: json as T, date: answer.headers.get("date") };
      });
    } finally {
      leave();
    }
  }

  /**
   * Opens a stream of JSON objects, one a line, and hands each over until it ends. Resolves with the status: 200, or
   * 410 if it is not to be had.
   *
   * @param on is told when the stream is there, of each object, and when something has come; if it throws, the stream
   * ends with that
   */
  follow(
    request: ApiRequest,
    on: { open(): void; bytes(): void; line(json: unknown): void },
  ): Promise<number> {
    return this.#within(request.signal, async (signal) => {
      const answer = await this.#send({ ...request, signal });
      if (answer.status !== 200) {
        const text = await textOf(answer.body);
        if (answer.status === 410) return 410;
        throw this.#refusal(request, answer, parse(text), text);
      }
      on.open();
      const decoder = new TextDecoder();
      let rest = "";
      for await (const chunk of answer.body === null ? [] : chunksOf(answer.body, signal)) {
        const lines = (rest + decoder.decode(chunk, { stream: true })).split("\n");
        rest = lines.pop() ?? "";
        for (const line of lines) if (line.trim() !== "") on.line(JSON.parse(line));
        on.bytes();
      }
      return 200;
    });
  }

  /** Sends a request, once; and once more if it was refused for a token that has been replaced since. */
  async #send({ verb, path, query = {}, body, signal }: ApiRequest): Promise<RawAnswer> {
    const { request, token, clock } = this.#parts;
    while (this.#quietUntil > clock.monotonic()) await sleep(clock, this.#quietUntil - clock.monotonic(), signal);
    const parameters = new URLSearchParams(query);
    const target = `${path}${parameters.size > 0 ? `?${parameters}` : ""}`;
    const type = verb === "patch" ? "application/merge-patch+json" : "application/json";
    const send = (bearer: string | null) => {
      signal.throwIfAborted();
      const headers = {
        accept: "application/json",
        ...(body !== undefined && { "content-type": type }),
        ...(bearer !== null && { authorization: `Bearer ${bearer}` }),
      };
      const init = {
        method: METHODS[verb],
        headers,
        signal,
        ...(body !== undefined && { body: JSON.stringify(body) }),
      };
      return abortable(request(target, init), signal);
    };
    if (token === null) return await send(null);
    const bearer = await token.get();
    const answer = await send(bearer);
    if (answer.status !== 401) return answer;
    // It was refused before anything was done, so that it may be asked again.
    const newer = await token.after(bearer);
    if (newer === null) return answer;
    await textOf(answer.body);
    return await send(newer);
  }

  /** Runs `work` until `signal` aborts, or the client is closed. */
  async #within<T>(signal: AbortSignal, work: (signal: AbortSignal) => Promise<T>): Promise<T> {
    if (this.#closed !== null) throw this.#closed;
    signal.throwIfAborted();
    const controller = new AbortController();
    const onAbort = () => controller.abort(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    this.#underWay.add(controller);
    try {
      return await work(controller.signal);
    } catch (error) {
      if (controller.signal.aborted) throw controller.signal.reason;
      throw error;
    } finally {
      this.#underWay.delete(controller);
      signal.removeEventListener("abort", onAbort);
    }
  }

  #refusal({ verb, resource = "leases" }: ApiRequest, { status, headers }: RawAnswer, json: unknown, text: string) {
    const { reason, message } = (json ?? {}) as { reason?: unknown; message?: unknown };
    const said = typeof message === "string" ? `${reason ?? ""}: ${message}` : text.trim();
    const told = `${status} ${said.slice(0, SHOWN)}`;
    if (status === 401) return permanently(new Error(`${told}: the server does not know the token or certificate`));
    // A quota, and a namespace that is being deleted, forbid too.
    const lacks = status === 403 && / cannot /.test(said) ? `the role lacks the verb "${verb}" on ${resource}: ` : "";
    if (status === 403) return permanently(new Error(`${lacks}${told}`));
    if (status === 422 && /Too long/i.test(said) || status === 413) return new TooLargeError(told);
    const seconds = Number(headers.get("retry-after") ?? NaN);
    if ((status !== 429 && status !== 503) || !(seconds > 0)) return new Error(told);
    // The request may or may not have been carried out, as with any other error. The next ones wait, or the server
    // would be asked by every election at once.
    this.#quietUntil = this.#parts.clock.monotonic() + Math.min(seconds * 1_000, MAX_WAIT_MS);
    return new Error(`${told}: the server wants to be left alone for ${seconds} s`);
  }
}

/** Reads an object; null where there is none. */
function parse(text: string): object | null {
  try {
    const json: unknown = JSON.parse(text);
    return typeof json === "object" ? json : null;
  } catch {
    return null;
  }
}
