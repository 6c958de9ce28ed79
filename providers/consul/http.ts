/**
 * The part of Consul's HTTP interface that elections need: requests within bounds, and transactions.
 *
 * @module
 */

import { permanently } from "../../src/call.ts";
import { setImmediate } from "node:timers";
import { Gate } from "../kit/gate.ts";
import { whenAllAbort } from "../kit/joined_renewals.ts";
import type { Operation } from "./operations.ts";
import type { Transport } from "./transport.ts";

/** An agent serves at most 200 connections of one address by default; these, and the watches, leave room for others. */
const MAX_REQUESTS = 32;
/** The most operations of one transaction, and a size of request that is allowed unless Consul is set otherwise. */
const MAX_OPERATIONS = 64;
const MAX_BATCH_CHARS = 256 * 1024;

/** The values or the transaction are larger than Consul is set to take. */
export class TooLargeError extends Error {}

/** Where Consul is, and what each request carries. */
export interface ConsulTarget {
  /** Such as `http://127.0.0.1:8500`. */
  readonly origin: string;
  readonly token: string | undefined;
  readonly dc: string | undefined;
  readonly transport: Transport;
}

/** One HTTP request. */
export interface ConsulRequest {
  readonly method?: "GET" | "PUT";
  /** Behind `/v1/`. */
  readonly path: string;
  readonly query?: Readonly<Record<string, string>>;
  readonly body?: string;
  readonly signal: AbortSignal;
}

/** Its answer; any status but 200, 404 and 409 is an error. */
export interface ConsulAnswer {
  readonly status: number;
  readonly body: string;
  /** The index that a blocking query waits to change. */
  readonly index: number;
  /** The server's time, to the second. */
  readonly date: string | null;
}

/**
 * The outcome of a transaction: the index of its writes, or null if a condition did not hold and nothing was written.
 */
export type Written = number | null;

interface Together {
  readonly operations: readonly Operation[];
  readonly chars: number;
  readonly signal: AbortSignal;
  resolve(written: Written): void;
  reject(error: unknown): void;
}

/** Sends requests. */
export class ConsulClient {
  readonly #target: ConsulTarget;
  readonly #gate = new Gate(MAX_REQUESTS);
  readonly #underWay = new Set<AbortController>();
  #together: Together[] = [];
  #closed: Error | null = null;

  constructor(target: ConsulTarget) {
    this.#target = target;
  }

  /** Ends what is under way, and refuses what comes later. */
  close(): void {
    this.#closed ??= new Error("the provider is closed");
    for (const controller of this.#underWay) controller.abort(this.#closed);
    this.#target.transport.close();
  }

  /** Sends one request when fewer than 32 others are under way. One that has been given up is not sent. */
  async request(request: ConsulRequest): Promise<ConsulAnswer> {
    const leave = await this.#gate.enter(request.signal);
    try {
      return await this.send(request);
    } finally {
      leave();
    }
  }

  /** Sends one request now. */
  async send({ method = "GET", path, query, body, signal }: ConsulRequest): Promise<ConsulAnswer> {
    const { origin, token, dc, transport } = this.#target;
    if (this.#closed !== null) throw this.#closed;
    signal.throwIfAborted();
    const controller = new AbortController();
    const onAbort = () => controller.abort(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    this.#underWay.add(controller);
    const parameters = new URLSearchParams({ ...query, ...(dc !== undefined && { dc }) });
    const headers: Record<string, string> = token === undefined ? {} : { "x-consul-token": token };
    try {
      const response = await transport.fetch(`${origin}/v1/${path}${parameters.size > 0 ? `?${parameters}` : ""}`, {
        method,
        headers,
        signal: controller.signal,
        ...(body !== undefined && { body }),
      });
      const { status } = response;
      const text = await response.text();
      if (status === 413) throw new TooLargeError(`413 ${text.trim().slice(0, 200)}`);
      if ([401, 403].includes(status)) throw permanently(new Error(`${status} ${text.trim().slice(0, 200)}`));
      if (![200, 404, 409].includes(status)) throw new Error(`${status} ${text.trim().slice(0, 200)}`);
      const index = indexOf(response.headers.get("x-consul-index"));
      return { status, body: text, index, date: response.headers.get("date") };
    } catch (error) {
      if (controller.signal.aborted) throw controller.signal.reason;
      throw explain(error);
    } finally {
      this.#underWay.delete(controller);
      signal.removeEventListener("abort", onAbort);
    }
  }

  /** Does all of `operations`, or nothing. */
  async write(operations: readonly Operation[], signal: AbortSignal): Promise<Written> {
    return (await this.#transact(operations, signal)).index;
  }

  /**
   * As {@linkcode ConsulClient.write}, in one transaction with others that were asked for in the same turn of the event
   * loop. Each is done, or not, by itself.
   */
  writeTogether(operations: readonly Operation[], signal: AbortSignal): Promise<Written> {
    return new Promise((resolve, reject) => {
      if (this.#together.length === 0) setImmediate(() => this.#flush());
      const chars = operations.reduce((sum, each) => sum + each.length + 1, 0);
      this.#together.push({ operations, chars, signal, resolve, reject });
    });
  }

  #flush(): void {
    const all = this.#together;
    this.#together = [];
    let batch: Together[] = [];
    let [count, chars] = [0, 0];
    for (const each of all) {
      if (count + each.operations.length > MAX_OPERATIONS || (count > 0 && chars + each.chars > MAX_BATCH_CHARS)) {
        this.#sendTogether(batch);
        [batch, count, chars] = [[], 0, 0];
      }
      batch.push(each);
      count += each.operations.length;
      chars += each.chars;
    }
    this.#sendTogether(batch);
  }

  /**
   * A transaction that conflicts has done nothing, and names every part that stood in its way: those are settled, and
   * the rest goes out again. Each round settles at least one, so the loop ends. Callers that gave up are left out.
   *
   * One that Consul is set to refuse for its size has done nothing either: its halves go out, down to the parts of one.
   */
  async #sendTogether(batch: readonly Together[]): Promise<void> {
    let open = batch;
    try {
      for (open = batch.filter(isWanted); open.length > 0; open = open.filter(isWanted)) {
        const { signal, forget } = whenAllAbort(open.map((each) => each.signal));
        const { index, errors } = await this.#transact(open.flatMap((each) => each.operations), signal).finally(forget);
        if (index !== null) return open.forEach((each) => each.resolve(index));
        const owners = open.flatMap((each) => each.operations.map(() => each));
        const failed = new Set(errors.map((op) => owners[op]));
        if (!open.some((each) => failed.has(each))) throw new Error("the transaction failed without a reason");
        for (const each of failed) each?.resolve(null);
        open = open.filter((each) => !failed.has(each));
      }
    } catch (error) {
      if (error instanceof TooLargeError && open.length > 1) {
        const half = Math.ceil(open.length / 2);
        await Promise.all([this.#sendTogether(open.slice(0, half)), this.#sendTogether(open.slice(half))]);
      } else {
        for (const each of open) each.reject(error);
      }
    }
  }

  async #transact(
    operations: readonly Operation[],
    signal: AbortSignal,
  ): Promise<{ index: Written; errors: number[] }> {
    const { status, body } = await this.request({
      method: "PUT",
      path: "txn",
      body: `[${operations.join()}]`,
      signal,
    });
    if (status === 404) throw permanently(new Error("there is no transaction endpoint: this is not Consul"));
    const { Results, Errors } = jsonOf<{
      Results: { KV?: { ModifyIndex: number } }[] | null;
      Errors: { OpIndex: number; What: string }[] | null;
    }>(body);
    // A denial is no conflict, although it comes as one: it would be the same next time.
    const denied = Errors?.find(({ What }) => /permission denied|ACL not found/i.test(What));
    if (denied) throw permanently(new Error(denied.What));
    const errors = (Errors ?? []).map(({ OpIndex }) => OpIndex);
    if (status === 409) return { index: null, errors };
    // All writes of a transaction get the index of its entry in the Raft log; what was only checked is older.
    return { index: Math.max(...(Results ?? []).map(({ KV }) => KV?.ModifyIndex ?? 0)), errors };
  }
}

function isWanted({ signal }: Together): boolean {
  return !signal.aborted;
}

/**
 * Reads an answer.
 *
 * @throws {Error} if it is none of Consul's
 */
export function jsonOf<T>(body: string): T {
  try {
    return JSON.parse(body) as T;
  } catch (cause) {
    const start = JSON.stringify(body.trim().slice(0, 40));
    throw permanently(new Error(`this is not Consul, whose answers are JSON: ${start}`, { cause }));
  }
}

/** Reads the index of an answer; 0 where it has none that can be waited on. */
function indexOf(header: string | null): number {
  const index = Number(header);
  return Number.isSafeInteger(index) && index > 0 ? index : 0;
}

/** The reason of a failed `fetch` is in its cause, on some runtimes. */
function explain(error: unknown): unknown {
  if (!(error instanceof Error) || !(error.cause instanceof Error)) return error;
  return new Error(`${error.message}: ${error.cause.message || error.cause.name}`, { cause: error });
}
