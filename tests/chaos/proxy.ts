/**
 * A TCP proxy that misbehaves like a network: it loses nothing that TCP would keep, but delays, holds, cuts and resets.
 */

import { connect, createServer, type Server, type Socket } from "node:net";
import { sleep, systemClock } from "../../src/time/clock.ts";

/** What the proxy does to bytes that pass. */
export type ProxyMode =
  | "pass"
  /** Holds everything, and delivers it when the mode ends, as TCP does after a partition: writes arrive late. */
  | "blackhole"
  /** Delays each chunk by up to a tenth of a second. */
  | "delay"
  /** Sends a few bytes at a time. */
  | "trickle";

const DELAY_MS = 100;
const TRICKLE_BYTES = 16;
const TRICKLE_MS = 2;

/** One way between a participant and its server. */
export class Proxy {
  mode: ProxyMode = "pass";
  readonly #server: Server;
  readonly #target: { host: string; port: number };
  readonly #pairs = new Set<readonly [Socket, Socket]>();

  private constructor(server: Server, target: { host: string; port: number }) {
    this.#server = server;
    this.#target = target;
    server.on("connection", (client) => this.#join(client));
  }

  /** Starts a proxy to `host:port` on a free port of 127.0.0.1. */
  static async start(address: string): Promise<Proxy> {
    const [host = "127.0.0.1", port] = address.split(":");
    const server = createServer();
    await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
    return new Proxy(server, { host, port: Number(port) });
  }

  /** Where participants connect to. */
  get address(): string {
    const address = this.#server.address();
    return `127.0.0.1:${typeof address === "object" ? address?.port : ""}`;
  }

  /** Breaks every connection at once. */
  reset(): void {
    for (const pair of this.#pairs) for (const socket of pair) socket.destroy();
  }

  /** Keeps from clients all that the server sends from now on over the connections that there are. */
  deafen(): void {
    for (const [, server] of this.#pairs) server.removeAllListeners("data").resume();
  }

  /** Ends one direction of every connection: towards the server, or back. */
  halfClose(towards: "server" | "client"): void {
    for (const [client, server] of this.#pairs) (towards === "server" ? server : client).end();
  }

  /** Ends the proxy. */
  close(): void {
    this.mode = "pass";
    this.reset();
    this.#server.close();
  }

  #join(client: Socket): void {
    const server = connect({ ...this.#target, allowHalfOpen: true });
    const pair = [client, server] as const;
    this.#pairs.add(pair);
    for (const [from, to] of [[client, server], [server, client]] as const) {
      from.setNoDelay(true);
      from.on("error", () => this.#part(pair));
      from.on("close", () => this.#part(pair));
      const chunks: Uint8Array[] = [];
      let pumping = false;
      from.on("data", async (chunk: Uint8Array) => {
        chunks.push(chunk);
        if (pumping) return;
        pumping = true;
        for (let next = chunks.shift(); next !== undefined; next = chunks.shift()) await this.#pass(next, to);
        pumping = false;
      });
      from.on("end", () => to.end());
    }
  }

  async #pass(chunk: Uint8Array, to: Socket): Promise<void> {
    while (this.mode === "blackhole" && !to.destroyed) await sleep(systemClock, 10);
    if (this.mode === "delay") await sleep(systemClock, Math.random() * DELAY_MS);
    if (this.mode !== "trickle") return write(to, chunk);
    for (let sent = 0; sent < chunk.length; sent += TRICKLE_BYTES) {
      write(to, chunk.subarray(sent, sent + TRICKLE_BYTES));
      if (this.mode === "trickle") await sleep(systemClock, TRICKLE_MS);
    }
  }

  #part(pair: readonly [Socket, Socket]): void {
    this.#pairs.delete(pair);
    for (const socket of pair) socket.destroy();
  }
}

function write(to: Socket, chunk: Uint8Array): void {
  if (!to.destroyed && to.writable) to.write(chunk);
}
