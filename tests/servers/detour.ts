/** A TCP proxy in front of a server that can hold back what clients send, and deliver it late. */

import { connect, createServer, type Server, type Socket } from "node:net";
import { setTimeout as delay } from "node:timers/promises";

/** Which part of what is sent is held back; see `ConformanceDetour`. */
export type HeldPart = "all" | "end";

/**
 * How many bytes the end of a message is held to have: fewer than the last message of a request has in any protocol.
 */
const END_BYTES = 6;
/** How long a server may take to carry out what a client that has hung up had sent, in milliseconds. */
const LINGER_MS = 1_000;

/** One client's connection through the proxy. */
interface Pair {
  readonly client: Socket;
  readonly server: Socket;
  /** What is held back; null while everything passes. */
  held: Uint8Array[] | null;
  /** Of which part; once some has been held, all that follows is. */
  part: HeldPart;
}

/** The proxy. */
export class Detour {
  readonly #server: Server;
  readonly #pairs = new Set<Pair>();
  /** What is held back of connections that come. */
  #holding: HeldPart | null = null;

  private constructor(server: Server, target: { host: string; port: number }) {
    this.#server = server;
    server.on("connection", (client) => this.#join(client, target));
  }

  /** Starts one to `HOST:PORT` on a free port of 127.0.0.1. */
  static async start(address: string): Promise<Detour> {
    const [host = "127.0.0.1", port] = address.split(":");
    const server = createServer({ allowHalfOpen: true });
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return new Detour(server, { host, port: Number(port) });
  }

  /** Where clients connect to. */
  get address(): string {
    const address = this.#server.address();
    return `127.0.0.1:${typeof address === "object" ? address?.port : ""}`;
  }

  /** Holds back what is sent, also on new connections. */
  hold(part: HeldPart): void {
    this.#holding = part;
    for (const pair of this.#pairs) {
      pair.held ??= [];
      pair.part = part;
    }
  }

  /** Lets new connections pass. */
  bypass(): void {
    this.#holding = null;
  }

  /** Lets everything through. */
  deliver(): void {
    this.#holding = null;
    for (const pair of this.#pairs) {
      for (const chunk of pair.held ?? []) pair.server.write(chunk);
      pair.held = null;
      if (pair.client.destroyed) void this.#hangUp(pair);
    }
  }

  /** Ends the proxy. */
  close(): void {
    for (const { client, server } of this.#pairs) {
      client.destroy();
      server.destroy();
    }
    this.#server.close();
  }

  #join(client: Socket, target: { host: string; port: number }): void {
    const server = connect(target);
    const pair: Pair = { client, server, held: this.#holding && [], part: this.#holding ?? "all" };
    this.#pairs.add(pair);
    client.setNoDelay(true);
    server.setNoDelay(true);
    client.on("data", (chunk: Uint8Array) => this.#pass(pair, chunk));
    server.on("data", (chunk: Uint8Array) => client.destroyed || client.write(chunk));
    // Errors come before a close, which is what counts.
    client.on("error", () => {});
    server.on("error", () => {});
    client.on("end", () => client.destroy());
    client.on("close", () => pair.held ?? this.#hangUp(pair));
    server.on("close", () => {
      this.#pairs.delete(pair);
      client.destroy();
    });
  }

  #pass({ server, held, part }: Pair, chunk: Uint8Array): void {
    if (held === null) server.write(chunk);
    else if (part === "end" && held.length === 0 && chunk.length > END_BYTES) {
      server.write(chunk.subarray(0, -END_BYTES));
      held.push(chunk.subarray(-END_BYTES));
    } else held.push(chunk);
  }

  /** What has been delivered is carried out, although nobody waits for the answer. */
  async #hangUp({ server }: Pair): Promise<void> {
    await delay(LINGER_MS);
    server.destroy();
  }
}
