/**
 * One TCP connection to one ZooKeeper server: frames out, frames in, and the handshake.
 *
 * @module
 */

import { connect, type Socket } from "node:net";
import type { Clock } from "../../src/clock.ts";
import { concat, FrameDecoder, type JuteReader } from "./jute.ts";
import { authFrame, connectFrame, type ConnectRequest, readConnectReply } from "./protocol.ts";

/** Where a server listens. */
export interface Server {
  /** Its host name or address. */
  readonly host: string;
  /** Its port. */
  readonly port: number;
}

/** What a connection tells its client. */
export interface ConnectionEvents {
  /** A frame came. To throw means that it makes no sense, and ends the connection. */
  frame(reader: JuteReader): void;
  /** The connection can take more. */
  drain(): void;
  /** The connection has ended. Comes once, and nothing after it. */
  lost(error: Error): void;
}

/** A connection whose session the server has confirmed. */
export interface Attached {
  /** The connection. */
  readonly connection: Connection;
  /** Where it leads. */
  readonly server: Server;
  /** The session timeout that the server grants, in milliseconds; 0 when the session has expired. */
  readonly timeout: number;
  /** The session. */
  readonly sessionId: bigint;
  /** The session's password. */
  readonly password: Uint8Array;
}

/** A connection. */
export class Connection {
  readonly #socket: Socket;
  readonly #decoder = new FrameDecoder();
  #events: ConnectionEvents;
  #ended = false;

  constructor(server: Server, events: ConnectionEvents) {
    this.#events = events;
    this.#socket = connect({ host: server.host, port: server.port });
    this.#socket.setNoDelay(true);
    this.#socket.on("data", (chunk: Uint8Array) => this.#receive(chunk));
    this.#socket.on("drain", () => this.#ended || this.#events.drain());
    this.#socket.on("error", (error) => this.end(error));
    this.#socket.on("close", () => this.end(new Error("the server closed the connection")));
  }

  /** Whether the runtime would have to keep what is written now, because the connection takes no more. */
  get isFull(): boolean {
    return this.#socket.writableNeedDrain;
  }

  /** Hands the events to another listener. */
  listen(events: ConnectionEvents): void {
    this.#events = events;
  }

  /** Sends `frames` together. */
  send(frames: readonly Uint8Array[]): void {
    if (!this.#ended) this.#socket.write(concat(frames));
  }

  /** Sends a last frame, and waits for the server to hang up, no longer than `timeoutMs`. Whatever still comes is dropped. */
  async finish(frame: Uint8Array, clock: Clock, timeoutMs: number): Promise<void> {
    await new Promise<void>((resolve) => {
      const cancel = clock.setTimer(resolve, timeoutMs);
      this.#events = { frame() {}, drain() {}, lost: () => (cancel(), resolve()) };
      this.send([frame]);
    });
    this.end(new Error("the client was closed"));
  }

  /** Ends the connection, because of `error`. */
  end(error: Error): void {
    if (this.#ended) return;
    this.#ended = true;
    this.#socket.destroy();
    this.#events.lost(error);
  }

  #receive(chunk: Uint8Array): void {
    try {
      for (const reader of this.#decoder.push(chunk)) {
        if (this.#ended) return;
        this.#events.frame(reader);
      }
    } catch (error) {
      this.end(error instanceof Error ? error : new Error(String(error)));
    }
  }
}

/** A server that has not answered the handshake for so long, in milliseconds, is left for the next. */
const MIN_CONNECT_MS = 250;
const MAX_CONNECT_MS = 3_000;

/**
 * Attaches to the first of `servers` that lets us, trying each once.
 *
 * @throws {Error} why each of them did not
 */
export async function attachToOne(
  servers: readonly Server[],
  request: ConnectRequest,
  credentials: string | undefined,
  clock: Clock,
  signal: AbortSignal,
): Promise<Attached> {
  const share = request.timeout / servers.length;
  const timeoutMs = Math.min(Math.max(share, MIN_CONNECT_MS), MAX_CONNECT_MS);
  const failures: string[] = [];
  for (const server of servers) {
    try {
      return await attach(server, request, credentials, clock, timeoutMs, signal);
    } catch (error) {
      failures.push(error instanceof Error ? error.message : String(error));
    }
    if (signal.aborted) break;
  }
  throw new Error(`no server could be reached: ${failures.join("; ")}`);
}

/**
 * Connects to `server`, opens the session of `request` or attaches to it, and authenticates, all within `timeoutMs`. A
 * server that accepts connections but does not answer counts as down.
 *
 * @throws {Error} why it could not
 */
function attach(
  server: Server,
  request: ConnectRequest,
  credentials: string | undefined,
  clock: Clock,
  timeoutMs: number,
  signal: AbortSignal,
): Promise<Attached> {
  return new Promise((resolve, reject) => {
    const name = `${server.host}:${server.port}`;
    const onAbort = () => connection.end(new Error("the client was closed"));
    const cancelTimer = clock.setTimer(() => {
      connection.end(new Error(`no answer within ${Math.round(timeoutMs)} ms`));
    }, timeoutMs);
    const connection = new Connection(server, {
      frame(reader) {
        cancelTimer();
        signal.removeEventListener("abort", onAbort);
        const reply = readConnectReply(reader);
        // Authenticated before anything else can be sent, since what follows may need it.
        if (credentials !== undefined) connection.send([authFrame("digest", credentials)]);
        resolve({ connection, server, ...reply });
      },
      drain() {},
      lost(error) {
        cancelTimer();
        signal.removeEventListener("abort", onAbort);
        reject(new Error(`${name}: ${error.message || error.name}`, { cause: error }));
      },
    });
    signal.addEventListener("abort", onAbort, { once: true });
    connection.send([connectFrame(request)]);
  });
}
