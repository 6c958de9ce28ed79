/** What the tests of providers over a database share. */

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { connect, createServer, type Server, type Socket } from "node:net";
import type { Acquired, Held, Lease, Provider } from "../../src/provider.ts";

/** A table of the test's own. */
export const newTable = () => `t_${randomUUID().replaceAll("-", "")}`;

/** A bound that a working call does not meet, on a busy machine either. */
export const soon = () => ({ signal: AbortSignal.timeout(20_000) });

/** Asks for the lease. */
export function acquire(
  provider: Provider,
  electionGroup: string,
  { heartbeatTimeout = 60_000, termId = randomUUID() as string, metadata = {}, signal = soon().signal } = {},
): Promise<Acquired | Held> {
  return provider.acquire({ electionGroup, participantId: "p", termId, heartbeatTimeout, metadata }, { signal });
}

/** Takes the lease, which must be free. */
export async function lead(
  provider: Provider,
  electionGroup: string,
  options?: Parameters<typeof acquire>[2],
): Promise<Lease> {
  const answer = await acquire(provider, electionGroup, options);
  assert.ok(answer.acquired, `${electionGroup} is held`);
  return answer.lease;
}

/** Waits. */
export const wait = (ms: number) => new Promise<void>((resolve) => setTimeout(resolve, ms));

/** Returns the milliseconds that `work` takes. */
export async function took(work: () => Promise<unknown>): Promise<number> {
  const start = performance.now();
  await work();
  return performance.now() - start;
}

/** Opens providers by `make`, and closes them all. */
export class OpenProviders<O> {
  readonly #make: (options: O) => Provider;
  readonly #opened: Provider[] = [];

  constructor(make: (options: O) => Provider) {
    this.#make = make;
  }

  /** Opens one. */
  open(options: O): Provider {
    const provider = this.#make(options);
    this.#opened.push(provider);
    return provider;
  }

  /** Closes them. */
  async close(): Promise<void> {
    for (const provider of this.#opened) await provider[Symbol.asyncDispose]();
  }
}

interface Pair {
  readonly client: Socket;
  readonly server: Socket;
  /** What the client has sent. */
  sent: string;
  /** Nothing passes any more, and nobody is told. */
  dead: boolean;
}

/** A TCP proxy some of whose connections die without a word, as behind a firewall that forgets them. */
export class Gate {
  /** Where connections go that are made from now on. */
  target: number;
  /** What makes a connection dead as soon as it is sent; what was sent with it is lost. */
  deadly: RegExp | null = null;
  readonly #server: Server;
  readonly #pairs: Pair[] = [];

  private constructor(server: Server, target: number) {
    this.#server = server;
    this.target = target;
    server.on("connection", (client) => this.#join(client));
  }

  /** Starts one on a free port of 127.0.0.1, in front of the server of `url`. */
  static async start(url: string): Promise<Gate> {
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return new Gate(server, Number(new URL(url).port));
  }

  /** `url`, by way of this. */
  through(url: string): string {
    const changed = new URL(url);
    changed.port = String(this.port);
    return changed.href;
  }

  /** Its port. */
  get port(): number {
    const address = this.#server.address();
    return typeof address === "object" && address !== null ? address.port : 0;
  }

  /** How many connections are open. */
  get open(): number {
    return this.#pairs.filter(({ client }) => !client.destroyed).length;
  }

  /** Kills the connections on which `pattern` was sent, without a word; returns how many. */
  kill(pattern: RegExp): number {
    const found = this.#pairs.filter(({ sent, dead, client }) => !dead && !client.destroyed && pattern.test(sent));
    for (const pair of found) pair.dead = true;
    return found.length;
  }

  /** Ends it, and all connections. */
  close(): void {
    for (const { client, server } of this.#pairs) for (const socket of [client, server]) socket.destroy();
    this.#server.close();
  }

  #join(client: Socket): void {
    const server = connect({ port: this.target, host: "127.0.0.1" });
    const pair: Pair = { client, server, sent: "", dead: false };
    this.#pairs.push(pair);
    client.on("data", (chunk) => {
      const text = String(chunk);
      pair.sent = `${pair.sent}${text}`.slice(-20_000);
      if (this.deadly?.test(text)) pair.dead = true;
      if (!pair.dead && !server.destroyed) server.write(chunk);
    });
    server.on("data", (chunk) => {
      if (!pair.dead && !client.destroyed) client.write(chunk);
    });
    for (const socket of [client, server]) socket.setNoDelay(true).on("error", () => {});
    client.on("close", () => server.destroy());
    server.on("close", () => pair.dead || client.destroy());
  }
}
