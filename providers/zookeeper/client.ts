/**
 * A client for one ZooKeeper session, of what an election needs. It keeps the session alive, takes it from server to
 * server, and says what became of it. Four things differ from other clients:
 *
 * - **Nothing is queued.** Without a connection a call fails at once. A call that is aborted before it was written
 *   never is; one that is aborted later rejects, and its reply is dropped: the outcome is unknown.
 * - **Silence is noticed.** When nothing was heard for two thirds of the session timeout, or when a call is given up
 *   after a quarter of it without any sign of life, the connection is dropped and another server is tried.
 * - **Watches end with the connection.** They fire when it is lost, and who still wants to know reads again. Nothing is
 *   registered anew behind the caller's back.
 * - **No request is too large.** A server closes the connection on one that is, under all others: what could be is
 *   refused here.
 *
 * @module
 */

import { type Clock, sleep } from "../../src/time/clock.ts";
import { answer, type Call, Calls } from "./calls.ts";
import type { TlsFiles } from "../kit/tls_files.ts";
import { type Attached, attachToOne } from "./attach.ts";
import type { Connection } from "./connection.ts";
import { Endpoints, type Resolve, type Server } from "./endpoints.ts";
import type { JuteReader } from "./jute.ts";
import { Pace } from "./pace.ts";
import {
  bareFrame,
  ErrorCode,
  isError,
  OpCode,
  type Operation,
  readEventPath,
  readReplyHeader,
  requestFrame,
  Xid,
  ZooKeeperError,
} from "./protocol.ts";
import { Watches } from "./watches.ts";

/** The settings of a session. */
export interface ClientOptions {
  /** The servers, in the order in which to try them. */
  readonly servers: readonly Server[];
  /** The session timeout to ask for, in milliseconds. The server has limits of its own. */
  readonly sessionTimeout: number;
  /** `user:password` for the scheme `digest`. */
  readonly credentials?: string | undefined;
  /** The files for TLS; without it, connections are not encrypted. */
  readonly tls?: TlsFiles | undefined;
  /** Measures time. */
  readonly clock: Clock;
  /** Finds the addresses of a name. @default as the system does */
  readonly resolve?: Resolve;
  /** Called each time that the session is attached to a server. */
  readonly onAttached?: () => void;
  /** Called once when the session has ended, with the reason. */
  readonly onEnded?: (reason: Error) => void;
}

/** The time for which `close` waits for the server to confirm. */
const CLOSE_MS = 1_000;
const RETRY_MS = 100;
/** No request may be longer, in bytes: half of what a server takes by default. */
const MAX_REQUEST_BYTES = 512 * 1024;
const NO_SESSION = { sessionId: 0n, password: new Uint8Array(16), timeout: 0 };

/** One session. It connects when made; when it has ended, for whatever reason, make another. */
export class ZooKeeperClient {
  readonly #options: ClientOptions;
  readonly #clock: Clock;
  readonly #closing = new AbortController();
  #connection: Connection | null = null;
  #attaching: Promise<void>;
  #ended: Error | null = null;
  readonly #endpoints: Endpoints;
  readonly #pace = new Pace();
  #attachedAt = -Infinity;
  /** As the server knows it; the timeout is 0 before it does. */
  #session: Pick<Attached, "sessionId" | "password" | "timeout"> = NO_SESSION;
  #attachments = 0;
  #lastZxid = 0n;
  readonly #calls = new Calls();
  readonly #watches = new Watches();
  #heardAt: number;
  #sentAt = 0;
  #cancelTimer = () => {};

  constructor(options: ClientOptions) {
    this.#options = options;
    this.#clock = options.clock;
    this.#endpoints = new Endpoints(options.servers, options.clock, options.resolve);
    this.#heardAt = this.#clock.monotonic();
    this.#attaching = this.#attach();
    this.#attaching.catch((error) => this.#end(error));
  }

  /** The session timeout that the server granted, in milliseconds; 0 before it has. */
  get sessionTimeout(): number {
    return this.#session.timeout;
  }

  /** Why the session has ended; null while it has not. */
  get ended(): Error | null {
    return this.#ended;
  }

  /** True while calls can be made. */
  get isConnected(): boolean {
    return this.#connection !== null;
  }

  /**
   * The number of times that the session has been attached to a server: when it has grown, watches were lost in
   * between.
   */
  get attachments(): number {
    return this.#attachments;
  }

  /**
   * Resolves when calls can be made: at once, or after the servers have been tried once more.
   *
   * @throws why no server could be reached, or why the session has ended
   */
  async connected(): Promise<void> {
    if (this.#ended !== null) throw this.#ended;
    if (this.#connection === null) await this.#attaching;
  }

  /**
   * Resolves when calls can be made, however many tries that takes.
   *
   * @throws why the session has ended
   * @throws the reason of `signal`, when it aborts
   */
  async reconnected(signal: AbortSignal): Promise<void> {
    while (this.#connection === null) {
      signal.throwIfAborted();
      if (this.#ended !== null) throw this.#ended;
      await this.#attaching.catch(() => sleep(this.#clock, RETRY_MS, signal));
    }
  }

  /**
   * Sends a request. Requests made in the same turn of the event loop go out together; the server handles and answers
   * all requests of a session in order. `onEvent` is called once, when the watch that `operation` leaves fires, or when
   * the connection is lost; unless it is taken back with `forget`.
   *
   * @throws {RangeError} if the request is longer than 512 KiB
   * @throws {ZooKeeperError} what the server answered, or that the connection was lost and the outcome is unknown
   * @throws the reason of `signal`, when it aborts
   */
  call<T>(operation: Operation<T>, signal: AbortSignal, onEvent?: () => void): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (signal.aborted) return reject(signal.reason);
      if (this.#ended !== null) return reject(this.#ended);
      if (this.#connection === null) return reject(new ZooKeeperError(ErrorCode.connectionLoss));
      const settle = () => signal.removeEventListener("abort", onAbort);
      const frame = requestFrame(operation);
      if (frame.length > MAX_REQUEST_BYTES) {
        return reject(new RangeError(`a request has at most ${MAX_REQUEST_BYTES} bytes, this one ${frame.length}`));
      }
      // The first of a turn of the event loop waits for those that follow.
      if (this.#calls.unwritten === 0) queueMicrotask(() => this.#flush());
      const call = this.#calls.add({
        operation,
        frame,
        resolve: (value) => (settle(), resolve(value as T)),
        reject: (reason) => (settle(), reject(reason)),
        onEvent,
      });
      const onAbort = () => this.#abort(call, signal.reason);
      signal.addEventListener("abort", onAbort, { once: true });
    });
  }

  /** Takes back an `onEvent`, wherever it waits: who made it listens no more. */
  forget(onEvent: () => void): void {
    this.#watches.forget(onEvent);
  }

  /** The number of listeners that wait for events. */
  get listeners(): number {
    return this.#watches.size;
  }

  /**
   * Ends the session, and with it everything ephemeral that it owns. Where no server confirms within a second, the
   * session expires by itself.
   */
  async close(): Promise<void> {
    this.#flush();
    const connection = this.#connection;
    this.#connection = null;
    this.#end(new Error("the client was closed"));
    await connection?.finish(bareFrame(this.#calls.nextXid(), OpCode.closeSession), this.#clock, CLOSE_MS);
  }

  /** Tries each address once, and last the one that was left last. */
  async #attach(): Promise<void> {
    const { sessionTimeout } = this.#options;
    const request = { ...this.#session, lastZxid: this.#lastZxid, timeout: sessionTimeout };
    const attached = await attachToOne(this.#endpoints, request, this.#options, this.#closing.signal);
    const { connection, ...session } = attached;
    if (this.#ended !== null) return connection.end(this.#ended);
    if (session.timeout <= 0) {
      connection.end(new Error("the session has expired"));
      return this.#end(new ZooKeeperError(ErrorCode.sessionExpired));
    }
    this.#session = session;
    this.#use(connection);
  }

  #use(connection: Connection): void {
    this.#connection = connection;
    this.#attachments++;
    this.#attachedAt = this.#heardAt = this.#sentAt = this.#clock.monotonic();
    connection.listen({
      frame: (reader) => this.#receive(reader),
      drain: () => this.#flush(),
      lost: (error) => this.#lost(connection, error),
    });
    // It was lost before anybody could listen.
    if (this.#connection !== connection) return;
    this.#keepAlive();
    this.#options.onAttached?.();
  }

  /** The connection is gone: every call on it is of unknown outcome, and every watch may have missed something. */
  #lost(connection: Connection, error: Error): void {
    if (this.#connection !== connection) return;
    this.#connection = null;
    this.#cancelTimer();
    if (this.#ended === null) void this.#reattach();
    this.#failAll(new ZooKeeperError(ErrorCode.connectionLoss, error.message));
  }

  /** Tries the servers until one takes the session. Never rejects. */
  async #reattach(): Promise<void> {
    let lastedMs = this.#clock.monotonic() - this.#attachedAt;
    for (let isFirst = true; this.#ended === null; isFirst = false) {
      const pausing = sleep(this.#clock, this.#pace.after(lastedMs, this.sessionTimeout), this.#closing.signal);
      try {
        // A call that comes now waits for the first try; between two rounds it fails at once, with the reason of the
        // last.
        if (!isFirst) await pausing;
        this.#attaching = pausing.then(() => this.#attach());
        return await this.#attaching;
      } catch (error) {
        // The server has not heard from us for a whole session: it has expired, or will when the server is back.
        if (this.#clock.monotonic() - this.#heardAt > this.sessionTimeout) return this.#end(error);
      }
      lastedMs = 0;
    }
  }

  #end(reason: unknown): void {
    if (this.#ended !== null) return;
    const error = this.#ended = reason instanceof Error ? reason : new Error(String(reason));
    this.#closing.abort();
    this.#cancelTimer();
    const connection = this.#connection;
    this.#connection = null;
    connection?.end(error);
    this.#failAll(error);
    this.#options.onEnded?.(error);
  }

  #failAll(error: Error): void {
    this.#calls.failAll(error);
    this.#watches.fireAll();
  }

  #abort(call: Call, reason: unknown): void {
    call.reject(reason);
    if (this.#calls.remove(call)) return;
    if (this.#heardAt < call.writtenAt && this.#clock.monotonic() - call.writtenAt > this.sessionTimeout / 4) {
      this.#connection?.end(new Error("the server does not answer"));
    }
  }

  /** Writes what is to be written, unless the connection is full: what it cannot take may still be aborted here. */
  #flush(): void {
    const connection = this.#connection;
    if (connection === null || connection.isFull || this.#calls.unwritten === 0) return;
    this.#sentAt = this.#clock.monotonic();
    const { calls, frames } = this.#calls.write(this.#sentAt);
    for (const { operation: { watches }, onEvent } of calls) {
      // Before it is sent, so that no event can come first.
      if (watches !== undefined && onEvent) this.#watches.add(watches, onEvent);
    }
    connection.send(frames);
  }

  #receive(reader: JuteReader): void {
    this.#heardAt = this.#clock.monotonic();
    const { xid, zxid, code } = readReplyHeader(reader);
    if (xid === Xid.ping) return;
    if (xid === Xid.event) return this.#watches.fire(readEventPath(reader));
    if (xid === Xid.auth) {
      if (code !== 0) this.#end(new ZooKeeperError(code));
      return;
    }
    const call = this.#calls.answered(xid);
    if (zxid > this.#lastZxid) this.#lastZxid = zxid;
    if (code === 0) answer(call, reader);
    else this.#refuse(call, code);
  }

  #refuse(call: Call, code: number): void {
    const error = new ZooKeeperError(code);
    const { type, watches } = call.operation;
    // Only a look at a node that does not exist leaves a watch although it failed: for its creation.
    const leavesWatch = type === OpCode.exists && code === ErrorCode.noNode;
    if (watches !== undefined && call.onEvent && !leavesWatch) this.#watches.remove(watches, call.onEvent);
    call.reject(error);
    if (isError(error, ErrorCode.sessionExpired)) this.#end(error);
    if (isError(error, ErrorCode.sessionMoved)) this.#connection?.end(error);
  }

  /** Pings when idle for a third of the session; drops the connection when it was silent for two thirds. */
  #keepAlive(): void {
    this.#cancelTimer();
    const due = Math.min(this.#sentAt + this.sessionTimeout / 3, this.#heardAt + this.sessionTimeout * 2 / 3);
    this.#cancelTimer = this.#clock.setTimer(() => {
      const connection = this.#connection;
      const now = this.#clock.monotonic();
      if (connection === null) return;
      if (now - this.#heardAt >= this.sessionTimeout * 2 / 3) {
        return connection.end(new Error(`no sign of life for ${Math.round(now - this.#heardAt)} ms`));
      }
      if (now - this.#sentAt >= this.sessionTimeout / 3) {
        this.#sentAt = now;
        // A full connection has a request on its way, which says the same.
        if (!connection.isFull) connection.send([bareFrame(Xid.ping, OpCode.ping)]);
      }
      this.#keepAlive();
    }, Math.max(due - this.#clock.monotonic(), 1));
  }
}
