/** A gateway between a provider and etcd, whose requests a test counts, holds back, loses and answers otherwise. */

import assert from "node:assert/strict";
import { Buffer } from "node:buffer";
import {
  createServer,
  type IncomingMessage,
  request as requestHttp,
  type Server,
  type ServerResponse,
} from "node:http";
import type { AddressInfo } from "node:net";
import { type EtcdOptions, etcdProvider } from "../../../providers/etcd.ts";
import type { Lease, Provider } from "../../../src/provider.ts";
import { patience } from "../../slowness.ts";

/** A request on its way. */
export interface Sent {
  /** Behind `/v3/`. */
  readonly path: string;
  readonly body: string;
}

/** What etcd answered. */
export interface Answered {
  readonly status: number;
  readonly text: string;
}

/** Does with a request what a test wants; null hangs up on the client. */
export type Hook = (sent: Sent, pass: () => Promise<Answered>) => Promise<Answered | null>;

/** The gateway. */
export class Gateway implements AsyncDisposable {
  /** All that came, in order. */
  readonly sent: Sent[] = [];
  /** Null lets everything through. Watches pass it by. */
  hook: Hook | null = null;
  /** Is told of each request that was answered. */
  answered: (sent: Sent) => unknown = () => {};
  readonly #origin: string;
  readonly #server: Server;

  private constructor(url: string) {
    this.#origin = url.replace("etcd:", "http:");
    this.#server = createServer((request, response) => void this.#take(request, response));
  }

  /** Starts one to the etcd at `url`. */
  static async to(url: string): Promise<Gateway> {
    const gateway = new Gateway(url);
    await new Promise<void>((resolve) => gateway.#server.listen(0, "127.0.0.1", resolve));
    return gateway;
  }

  /** Where the provider finds it. */
  get url(): string {
    return `etcd://127.0.0.1:${(this.#server.address() as AddressInfo).port}`;
  }

  /** How many requests came whose path and body have `part` in them. */
  count(part: string): number {
    return this.sent.filter(({ path, body }) => `${path} ${body}`.includes(part)).length;
  }

  /** Holds the next request that `isHeld`. Returns when it is there, and how to let it go on, with etcd's answer. */
  hold(isHeld: (sent: Sent) => boolean): { readonly arrived: Promise<void>; letGo(): Promise<Answered> } {
    const [arrived, go] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    const answered = Promise.withResolvers<Answered>();
    const before = this.hook;
    this.hook = async (sent, pass) => {
      if (!isHeld(sent)) return await (before === null ? pass() : before(sent, pass));
      this.hook = before;
      arrived.resolve();
      await go.promise;
      const answer = await pass();
      answered.resolve(answer);
      return answer;
    };
    return {
      arrived: arrived.promise,
      letGo() {
        go.resolve();
        return answered.promise;
      },
    };
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.#server.closeAllConnections();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  /** What a client gives up in the middle is no failure of the test's. */
  async #take(request: IncomingMessage, response: ServerResponse): Promise<void> {
    try {
      const chunks: Uint8Array[] = [];
      for await (const chunk of request) chunks.push(chunk);
      const sent = { path: (request.url ?? "").slice("/v3/".length), body: Buffer.concat(chunks).toString() };
      this.sent.push(sent);
      const { authorization } = request.headers;
      const headers = { ...(authorization !== undefined && { authorization }) };
      if (sent.path === "watch") return this.#stream(sent, headers, response);
      const pass = async () => {
        const answer = await fetch(`${this.#origin}/v3/${sent.path}`, { method: "POST", body: sent.body, headers });
        return { status: answer.status, text: await answer.text() };
      };
      const answer = this.hook === null ? await pass() : await this.hook(sent, pass);
      if (answer === null) return void response.destroy();
      response.writeHead(answer.status, { "content-type": "application/json" }).end(answer.text);
      this.answered(sent);
    } catch {
      response.destroy();
    }
  }

  #stream({ path, body }: Sent, headers: Record<string, string>, response: ServerResponse): void {
    const upstream = requestHttp(`${this.#origin}/v3/${path}`, { method: "POST", headers }, (answer) => {
      response.writeHead(answer.statusCode ?? 502);
      answer.pipe(response);
    });
    upstream.on("error", () => response.destroy());
    response.on("close", () => upstream.destroy());
    upstream.end(body);
  }
}

/** Opens providers, and closes them at the end of a test. */
export class Opened implements AsyncDisposable {
  readonly #url: string;
  readonly #providers: Provider[] = [];

  constructor(url: string) {
    this.#url = url;
  }

  open(options: EtcdOptions = {}): Provider {
    const provider = etcdProvider({ url: this.#url, ...options });
    this.#providers.push(provider);
    return provider;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#providers.map((provider) => provider[Symbol.asyncDispose]()));
  }
}

/** Asks etcd itself. */
export async function ask<T>(url: string, path: string, body: unknown): Promise<T> {
  const answer = await fetch(`${url.replace("etcd:", "http:")}/v3/${path}`, {
    method: "POST",
    body: JSON.stringify(body),
    signal: AbortSignal.timeout(patience(20_000)),
  });
  const text = await answer.text();
  assert.ok(answer.ok, `${path}: ${answer.status} ${text}`);
  return JSON.parse(text) as T;
}

/** A key as etcd has it. */
export interface Kept {
  // deno-lint-ignore camelcase -- etcd's name
  readonly create_revision: string;
  // deno-lint-ignore camelcase -- etcd's name
  readonly mod_revision: string;
  /** The lease to which it is bound. */
  readonly lease: string;
}

/** The name of a term's key, as the gateway takes it. */
export function keyOf({ electionGroup, termId }: Pick<Lease, "electionGroup" | "termId">): string {
  return btoa(`multilock/${electionGroup}/${termId}`);
}

/** Reads a term's key. */
export async function kept(url: string, lease: Pick<Lease, "electionGroup" | "termId">): Promise<Kept> {
  const { kvs: [kv] = [] } = await ask<{ kvs?: Kept[] }>(url, "kv/range", { key: keyOf(lease) });
  assert.ok(kv, "the term must have a key");
  return kv;
}

/** A group that no other test uses. */
export const newGroup = (): string => `group-${crypto.randomUUID()}`;

/** A transaction that creates a key, as `acquire` sends it. */
export const isAcquire = ({ path, body }: Sent): boolean => path === "kv/txn" && body.includes('"range_end"');

/** A transaction that raises the fence of a session. */
export const isFence = ({ path, body }: Sent): boolean => path === "kv/txn" && body.includes('"value":""');

/** A transaction that deletes one. */
export const isDelete = ({ path, body }: Sent): boolean => path === "kv/txn" && body.includes("request_delete_range");
