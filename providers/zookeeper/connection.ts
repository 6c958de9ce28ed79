/**
 * One connection, by TCP or TLS, to one ZooKeeper server: frames out, frames in.
 *
 * @module
 */

import { connect, isIP, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import type { Clock } from "../../src/time/clock.ts";
import { connectOptions, endAtSeveral } from "../kit/addresses.ts";
import type { TlsSettings } from "../kit/tls_files.ts";
import type { Endpoint } from "./endpoints.ts";
import { concat, FrameDecoder, type JuteReader } from "./jute.ts";

/** The events that a connection tells its client. */
export interface ConnectionEvents {
  /** A frame came. To throw means that it makes no sense, and ends the connection. */
  frame(reader: JuteReader): void;
  /** The connection can take more. */
  drain(): void;
  /** The connection has ended. Comes once, and nothing after it. */
  lost(error: Error): void;
}

/** A connection. */
export class Connection {
  readonly #socket: Socket;
  readonly #decoder = new FrameDecoder();
  /** Null while nobody listens. */
  #events: ConnectionEvents | null;
  /** Frames that came while nobody listened. */
  #kept: JuteReader[] = [];
  #ended: Error | null = null;

  /** Connects to `endpoint`: with TLS if there are settings for it, and then only to whom its certificate names. */
  constructor(endpoint: Endpoint, tls: TlsSettings | null, events: ConnectionEvents) {
    this.#events = events;
    this.#socket = open(endpoint, tls);
    endAtSeveral(this.#socket, endpoint.address);
    this.#socket.setNoDelay(true);
    this.#socket.on("data", (chunk: Uint8Array) => this.#receive(chunk));
    this.#socket.on("drain", () => this.#ended === null && this.#events?.drain());
    this.#socket.on("error", (error) => this.end(error));
    this.#socket.on("close", () => this.end(new Error("the server closed the connection")));
  }

  /** True while the runtime would have to keep what is written, because the connection takes no more. */
  get isFull(): boolean {
    return this.#socket.writableNeedDrain;
  }

  /**
   * Keeps whatever comes from now on for who listens next. Until that is in place more frames may come, even without a
   * turn of the event loop in between: a server may send several at once, and Deno reads on until there is nothing
   * more.
   */
  keep(): void {
    this.#events = null;
  }

  /** Hands the events to another listener, those first that were kept. */
  listen(events: ConnectionEvents): void {
    this.#events = events;
    if (this.#ended !== null) return events.lost(this.#ended);
    const kept = this.#kept;
    this.#kept = [];
    this.#hand(() => kept);
  }

  /** Sends `frames` together. */
  send(frames: readonly Uint8Array[]): void {
    if (this.#ended === null) this.#socket.write(concat(frames));
  }

  /**
   * Sends a last frame, and waits for the server to hang up, no longer than `timeoutMs`. Whatever still comes is
   * dropped.
   */
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
    if (this.#ended !== null) return;
    this.#ended = error;
    this.#socket.destroy();
    this.#events?.lost(error);
  }

  #receive(chunk: Uint8Array): void {
    this.#hand(() => this.#decoder.push(chunk));
  }

  #hand(framesOf: () => readonly JuteReader[]): void {
    try {
      for (const reader of framesOf()) {
        if (this.#ended !== null) return;
        if (this.#events === null) this.#kept.push(reader);
        else this.#events.frame(reader);
      }
    } catch (error) {
      this.end(error instanceof Error ? error : new Error(String(error)));
    }
  }
}

function open({ address, host, port, family }: Endpoint, tls: TlsSettings | null): Socket {
  const to = { ...connectOptions({ host: address, family }), port };
  if (tls === null) return connect(to);
  // The certificate is that of the name, whichever of its addresses this is. An address is no name that TLS could ask
  // for.
  const named = isIP(host) === 0 ? { servername: host } : {};
  return connectTls({ ...to, ...named, ...tls });
}
