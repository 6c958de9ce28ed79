/** What the tests of the Consul provider share. */

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { type ConsulFetch, type ConsulOptions, consulProvider } from "../../../providers/consul.ts";
import type { AcquireRequest, Hint, Lease, Provider } from "../../../src/provider.ts";

/** The limit of a call that must not take long. */
export const soon = (): { signal: AbortSignal } => ({ signal: AbortSignal.timeout(20_000) });

export const newGroup = (): string => `group-${randomUUID()}`;

export function request(electionGroup: string, changes: Partial<AcquireRequest> = {}): AcquireRequest {
  return {
    electionGroup,
    participantId: "p",
    termId: randomUUID(),
    heartbeatTimeout: 30_000,
    metadata: {},
    ...changes,
  };
}

export async function win(provider: Provider, wanted: AcquireRequest): Promise<Lease> {
  const answer = await provider.acquire(wanted, soon());
  assert.ok(answer.acquired, `"${wanted.electionGroup}" must be free`);
  return answer.lease;
}

/** Asks Consul itself. */
export async function ask(url: string, method: string, path: string, body?: BodyInit): Promise<Response> {
  const origin = url.replace("consul:", "http:");
  const answer = await fetch(`${origin}/v1/${path}`, { method, ...(body !== undefined && { body }), ...soon() });
  assert.ok(answer.ok, `${method} ${path}: ${answer.status} ${answer.ok ? "" : await answer.text()}`);
  return answer;
}

/** Requests that a test counts, holds back and changes on their way. */
export class Post {
  readonly sent: string[] = [];
  #held: { isHeld: (sent: string) => boolean; go: Promise<void>; arrived: () => void } | null = null;
  /** Makes another index of that in an answer, given how many have come. */
  index: ((real: string | null, count: number) => string | null) | null = null;
  #answers = 0;
  /** Whether the answer to a request is lost, after the server has given it. */
  loses: (sent: string) => boolean = () => false;

  readonly fetch: ConsulFetch = async (url, init) => {
    const sent = `${init.method} ${url} ${init.body ?? ""}`;
    this.sent.push(sent);
    if (this.#held?.isHeld(sent)) {
      const { go, arrived } = this.#held;
      this.#held = null;
      arrived();
      await go;
    }
    const answer = await fetch(url, init);
    if (this.loses(sent)) {
      await answer.text();
      throw new TypeError("connection reset");
    }
    const { index } = this;
    if (index === null || !url.includes("index=")) return answer;
    const count = this.#answers++;
    const get = (name: string) => name === "x-consul-index" ? index(answer.headers.get(name), count) : null;
    return { status: answer.status, headers: { get }, text: () => answer.text() };
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
}

/** A watch that goes on until it is ended, and its hints. */
export class Watch {
  hints = 0;
  last: Hint | null = null;
  readonly #stop = new AbortController();
  readonly done: Promise<void>;

  constructor(provider: Provider, electionGroup: string) {
    this.done = (async () => {
      for await (const hint of provider.watch?.(electionGroup, { signal: this.#stop.signal }) ?? []) {
        this.hints++;
        this.last = hint ?? null;
      }
    })();
    this.done.catch(() => {});
  }

  async end(): Promise<void> {
    this.#stop.abort();
    await this.done;
  }
}

/** Opens providers, and closes them at the end of a test. */
export class Opened implements AsyncDisposable {
  readonly #url: string;
  readonly #providers: Provider[] = [];

  constructor(url: string) {
    this.#url = url;
  }

  open(options: ConsulOptions = {}): Provider {
    const provider = consulProvider({ url: this.#url, ...options });
    this.#providers.push(provider);
    return provider;
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all(this.#providers.map((provider) => provider[Symbol.asyncDispose]()));
  }
}
