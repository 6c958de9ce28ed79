/** A server that says what a test tells it to, in bytes. */

import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";
import type { Server } from "../../../providers/zookeeper/endpoints.ts";

/** Nothing is waited for longer, in milliseconds: a test that waits in vain must fail, and say so. */
const PATIENCE_MS = 20_000;

/** Waits for a call of the function that `listen` is given. */
async function woken(what: string, listen: (wake: () => void) => void): Promise<void> {
  let timer: ReturnType<typeof setTimeout> | undefined;
  try {
    await new Promise<void>((resolve, reject) => {
      timer = setTimeout(() => reject(new Error(`waited in vain for ${what}`)), PATIENCE_MS);
      listen(resolve);
    });
  } finally {
    clearTimeout(timer);
  }
}

/** One connection of a client, as the server sees it. */
export class Peer {
  readonly #socket: Socket;
  #received = new Uint8Array(0);
  #wake = () => {};
  #ended = false;

  constructor(socket: Socket) {
    this.#socket = socket;
    socket.on("error", () => {});
    socket.on("data", (chunk: Uint8Array) => {
      this.#received = Uint8Array.from([...this.#received, ...chunk]);
      this.#wake();
    });
    socket.on("close", () => {
      this.#ended = true;
      this.#wake();
    });
  }

  /** Sends bytes, given in hexadecimal. */
  send(...hex: readonly string[]): void {
    this.#socket.write(Uint8Array.from(hex.flatMap(bytesOf)));
  }

  /** Returns the next frame of the client, in hexadecimal, its length in front; null when it has hung up. */
  async next(): Promise<string | null> {
    for (;;) {
      const length = this.#received.length >= 4 ? new DataView(this.#received.buffer).getInt32(0) + 4 : Infinity;
      if (this.#received.length >= length) {
        const frame = this.#received.slice(0, length);
        this.#received = this.#received.slice(length);
        return hexOf(frame);
      }
      if (this.#ended) return null;
      await woken("a frame of the client", (wake) => this.#wake = wake);
    }
  }

  /** Hangs up. */
  end(): void {
    this.#socket.destroy();
  }
}

/** A scripted server. */
export interface ScriptedServer extends AsyncDisposable {
  /** Where it listens. */
  readonly address: Server;
  /** Waits for the next connection. */
  accept(): Promise<Peer>;
}

/** Starts one. */
export async function scriptedServer(): Promise<ScriptedServer> {
  const waiting: Peer[] = [];
  const peers: Peer[] = [];
  let wake = () => {};
  const server = createServer((socket) => {
    const peer = new Peer(socket);
    peers.push(peer);
    waiting.push(peer);
    wake();
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address() as AddressInfo;
  return {
    address: { host: "127.0.0.1", port },
    async accept() {
      for (;;) {
        const peer = waiting.shift();
        if (peer !== undefined) return peer;
        await woken("a connection", (resolve) => wake = resolve);
      }
    },
    async [Symbol.asyncDispose]() {
      for (const peer of peers) peer.end();
      await new Promise<void>((resolve) => server.close(() => resolve()));
    },
  };
}

/** The bytes that `hex` stands for. */
export function bytesOf(hex: string): number[] {
  return (hex.match(/../g) ?? []).map((digits) => parseInt(digits, 16));
}

/** The hexadecimal form of `bytes`. */
export function hexOf(bytes: Uint8Array): string {
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}
