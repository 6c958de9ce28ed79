/** What the tests of the Kubernetes provider share. */

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { exchange, textOf } from "../../../providers/kit/http_exchange.ts";
import { type HttpConnections, openConnections } from "../../../providers/kit/http_agent.ts";
import { type KubernetesOptions, kubernetesProvider, type KubernetesRequest } from "../../../providers/kubernetes.ts";
import { nameOf } from "../../../providers/kubernetes/names.ts";
import { parseKubernetesUrl } from "../../../providers/kubernetes/target.ts";
import { sleep, systemClock } from "../../../src/time/clock.ts";
import type { Hint, Provider } from "../../../src/provider.ts";
import { soon } from "../asking.ts";

export const newGroup = (): string => `group-${crypto.randomUUID()}`;

/** An answer that a test makes up. */
export interface MadeUp {
  readonly status: number;
  readonly headers?: Readonly<Record<string, string>>;
  readonly body?: string | readonly (string | Uint8Array)[];
}

/** Requests that a test counts, holds back, loses and answers itself. */
export class Post {
  readonly sent: string[] = [];
  /** Answers a request, or leaves it to the server. */
  answer: (sent: string) => MadeUp | null = () => null;
  /** Whether the answer to a request is lost, after the server has given it. */
  loses: (sent: string) => boolean = () => false;
  /** Whether a request is answered by a conflict, after the server has done what it asks for. */
  disowns: (sent: string) => boolean = () => false;
  readonly #connections: HttpConnections;
  readonly #origin: string;
  readonly #token: string;
  #held: { isHeld: (sent: string) => boolean; go: Promise<void>; arrived: () => void } | null = null;

  constructor(url: string) {
    const { origin, tls, tokenFile } = parseKubernetesUrl(url);
    this.#origin = origin;
    this.#connections = openConnections(tls);
    this.#token = readFileSync(tokenFile ?? "", "utf8").trim();
  }

  readonly request: KubernetesRequest = async (path, init) => {
    const sent = `${init.method} ${path} ${init.body ?? ""}`;
    this.sent.push(sent);
    if (this.#held?.isHeld(sent)) {
      const { go, arrived } = this.#held;
      this.#held = null;
      arrived();
      await go;
    }
    const madeUp = this.answer(sent);
    if (madeUp !== null) {
      // As long as any answer takes at least.
      await sleep(systemClock, 1);
      return answerOf(madeUp);
    }
    const headers = { ...init.headers, authorization: `Bearer ${this.#token}` };
    const answer = await exchange(this.#connections, new URL(`${this.#origin}${path}`), { ...init, headers });
    const isDisowned = this.disowns(sent);
    if (!isDisowned && !this.loses(sent)) return answer;
    await textOf(answer.body);
    if (isDisowned) return answerOf({ status: 409, body: "{}" });
    throw new TypeError("connection reset");
  };

  /** Holds the next request that contains `part`. Returns when it is there, and then how to let it go on. */
  hold(part: string): { arrived: Promise<void>; letGo: () => void } {
    const [go, arrived] = [Promise.withResolvers<void>(), Promise.withResolvers<void>()];
    this.#held = { isHeld: (sent) => sent.includes(part), go: go.promise, arrived: arrived.resolve };
    return { arrived: arrived.promise, letGo: go.resolve };
  }

  count(part: string): number {
    return this.sent.filter((sent) => sent.includes(part)).length;
  }

  close(): void {
    this.#connections.close();
  }
}

/** A body that is a list comes in pieces, and then stays open, also when the request is given up. */
function answerOf({ status, headers = {}, body = "" }: MadeUp): Awaited<ReturnType<KubernetesRequest>> {
  async function* chunks() {
    for (const piece of typeof body === "string" ? [body] : body) {
      yield typeof piece === "string" ? new TextEncoder().encode(piece) : piece;
    }
    if (typeof body === "string") return;
    await new Promise(() => {});
  }
  return { status, headers: { get: (name: string) => headers[name] ?? null }, body: chunks() };
}

/** A watch that goes on until it is ended, and its hints. */
export class Watch {
  hints = 0;
  last: Hint | null = null;
  failure: unknown = null;
  readonly #stop = new AbortController();
  readonly #done: Promise<void>;

  constructor(provider: Provider, electionGroup: string) {
    this.#done = (async () => {
      try {
        for await (const hint of provider.watch?.(electionGroup, { signal: this.#stop.signal }) ?? []) {
          this.hints++;
          this.last = hint ?? null;
        }
      } catch (error) {
        this.failure = error;
      }
    })();
  }

  async end(): Promise<void> {
    this.#stop.abort();
    await this.#done;
  }
}

/** Opens providers, and closes them at the end. */
export class Opened implements AsyncDisposable {
  readonly url: string;
  readonly #providers: Provider[] = [];
  readonly #posts: Post[] = [];

  constructor(url: string) {
    this.url = url;
  }

  open(options: KubernetesOptions = {}): Provider {
    const namespace = `k8s:///${parseKubernetesUrl(this.url).namespace}`;
    const provider = kubernetesProvider({ url: options.request === undefined ? this.url : namespace, ...options });
    this.#providers.push(provider);
    return provider;
  }

  post(): Post {
    const post = new Post(this.url);
    this.#posts.push(post);
    return post;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#providers.map((provider) => provider[Symbol.asyncDispose]()));
    for (const post of this.#posts) post.close();
  }
}

/** A Lease, as the server has it. */
export interface Stored {
  readonly metadata: { readonly resourceVersion: string; readonly annotations: Record<string, string> };
  readonly spec: Record<string, unknown>;
}

/** Asks the server itself about the Lease of a group, as the user of the tests. */
export class Hand {
  readonly #post: Post;
  readonly #path: string;

  constructor(post: Post, namespace: string) {
    this.#post = post;
    this.#path = `/apis/coordination.k8s.io/v1/namespaces/${namespace}/leases`;
  }

  get(electionGroup: string): Promise<Stored> {
    return this.#send("GET", `/${nameOf(electionGroup)}`);
  }

  create(electionGroup: string, lease: { metadata?: object; spec?: object }): Promise<Stored> {
    return this.#send("POST", "", { ...lease, metadata: { name: nameOf(electionGroup), ...lease.metadata } });
  }

  patch(electionGroup: string, patch: object): Promise<Stored> {
    return this.#send("PATCH", `/${nameOf(electionGroup)}`, patch);
  }

  /** Needs a right that elections do not have. */
  delete(electionGroup: string): Promise<Stored> {
    return this.#send("DELETE", `/${nameOf(electionGroup)}`);
  }

  async #send(method: string, path: string, body?: object): Promise<Stored> {
    const type = method === "PATCH" ? "application/merge-patch+json" : "application/json";
    const answer = await this.#post.request(`${this.#path}${path}`, {
      ...{ method, headers: { "content-type": type }, ...soon() },
      ...(body !== undefined && { body: JSON.stringify(body) }),
    });
    const text = await textOf(answer.body);
    assert.ok([200, 201].includes(answer.status), `${method} ${path}: ${answer.status} ${text}`);
    return JSON.parse(text) as Stored;
  }
}

/** A time as the API has it. */
export function microTime(wallMs: number = Date.now()): string {
  return new Date(wallMs).toISOString().replace("Z", "000Z");
}
