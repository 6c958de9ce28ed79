/**
 * Speaks just enough of TDS, the protocol of SQL Server, to let the real driver log in and to answer its requests from
 * a script: what the driver makes of an answer, an error, a cancelled request and a server that hangs is then tested
 * for real.
 */

import { once } from "node:events";
import { type AddressInfo, connect, createServer, type Server, type Socket } from "node:net";
import { createServer as createTlsServer, type TlsOptions } from "node:tls";

/** One value of an answer: a BIGINT or a string. */
type Value = bigint | string;

/** One row, no row, an error's number, or none at all. */
export type Reply = Readonly<Record<string, Value>> | null | number | "hang";

/** An answer, now or once something has happened. */
export type Answer = Reply | { readonly after: Promise<unknown>; readonly reply: Reply };

/** How the server behaves. */
export interface TdsOptions {
  /** Whether cancellations are never acknowledged. */
  readonly deaf?: boolean;
  /** Waited for before a cancellation is acknowledged. */
  readonly acknowledge?: () => Promise<unknown>;
  /** The number and the words with which logins are refused. */
  readonly refusal?: readonly [number: number, message: string];
  /** Waited for before a login is answered. */
  readonly login?: () => Promise<unknown>;
  /** Certificate and key. Without, nothing is encrypted. */
  readonly tls?: TlsOptions & {
    /** Whether TLS comes before TDS (`encrypt=strict`), or inside of its packets, as in SQL Server before 2022. */
    readonly first: boolean;
  };
}

/** A running server. */
export interface TdsServer {
  readonly port: number;
  /** Connections that are open. */
  open(): number;
  /** Requests seen, without those that set up a connection. */
  requests(): number;
  /** Cancellations seen. */
  attentions(): number;
  /** Logins that have been answered. */
  logins(): number;
  /** The most logins that waited for their answer at one time. */
  mostLogins(): number;
  /** What was sent to set up connections. */
  setups(): readonly string[];
  /** What the logins said, as far as it is not scrambled. */
  introductions(): readonly string[];
  /** Ends every connection. */
  hangUp(): void;
  close(): void;
}

const [BATCH, RPC, ATTENTION, LOGIN, PRELOGIN] = [0x01, 0x03, 0x06, 0x10, 0x12];
const HEADER_LENGTH = 8;
const ATTENTION_DONE = 0x20;

/** Starts a server that gives each request the next of `answers`. */
export async function startTdsServer(answers: Answer[], options: TdsOptions = {}): Promise<TdsServer> {
  const { tls } = options;
  const sockets = new Set<Socket>();
  const servers: Server[] = [];
  const [setups, introductions]: [string[], string[]] = [[], []];
  let [requests, attentions, logins, waiting, mostLogins] = [0, 0, 0, 0, 0];
  async function answer(type: number, isFirst: boolean, body: string): Promise<Uint8Array | null> {
    switch (type) {
      case PRELOGIN:
        // The version at offset 11, and encryption at offset 17: required, or not supported.
        return bytes(0, 0, 11, 0, 6, 1, 0, 17, 0, 1, 0xff, 16, 0, 0, 0, 0, 0, tls && !tls.first ? 3 : 2);
      case LOGIN:
        introductions.push(body);
        mostLogins = Math.max(mostLogins, ++waiting);
        await options.login?.();
        waiting--;
        logins++;
        if (options.refusal !== undefined) return concat(error(...options.refusal), done(2));
        return concat(token(0xad, concat(bytes(1, 0x74, 0, 0, 4), text8("fake"), bytes(16, 0, 0, 0))), done(0));
      case ATTENTION:
        attentions++;
        await options.acknowledge?.();
        return options.deaf ? null : done(ATTENTION_DONE);
      default: {
        if (isFirst) {
          setups.push(body);
          return done(0);
        }
        requests++;
        const next = answers.shift() ?? null;
        if (typeof next !== "object" || next === null || !(next.after instanceof Promise)) {
          return replyTo(next as Reply);
        }
        await next.after;
        return replyTo(next.reply as Reply);
      }
    }
  }
  function serve(socket: Socket): void {
    let received = new Uint8Array();
    let isSetUp = false;
    let isAsked = false;
    socket.on("error", () => {}).on("data", async (chunk: Uint8Array) => {
      received = concat(received, chunk);
      for (;;) {
        const message = takePacket(received);
        if (message === null) return;
        received = message.rest;
        const { type, body } = message;
        // Only the last packet of a message is answered.
        if (!message.isLast) continue;
        const reply = answer(type, type === BATCH && !isSetUp, readable(body));
        isSetUp ||= type === BATCH || type === RPC;
        if (type === BATCH || type === RPC) isAsked = true;
        const answered = await reply;
        if (answered === null || socket.destroyed) continue;
        // A request that is cancelled is answered by that, with a message of its own before that of the cancellation.
        if (type === ATTENTION && isAsked) socket.write(packet(done(2)));
        if ((type === BATCH || type === RPC) && !isAsked) continue;
        if (type !== LOGIN && type !== PRELOGIN) isAsked = false;
        socket.write(packet(answered));
        if (type === PRELOGIN && tls && !tls.first && inner !== undefined) {
          socket.removeAllListeners("data");
          return unwrapTls(socket, inner.port);
        }
      }
    });
  }
  async function listen(server: Server): Promise<{ port: number }> {
    servers.push(server);
    server.listen(0, "127.0.0.1");
    await once(server, "listening");
    return { port: (server.address() as AddressInfo).port };
  }
  function track(socket: Socket): void {
    sockets.add(socket.on("error", () => {}));
    socket.on("close", () => sockets.delete(socket));
  }
  function hangUp(): void {
    for (const socket of sockets) socket.destroy();
  }
  const inner = tls && await listen(createTlsServer({ ...tls, ALPNProtocols: ["tds/8.0"] }, serve));
  const outer = createServer((socket) => {
    track(socket);
    serve(socket);
  });
  if (tls?.first) servers[0]?.on("connection", track);
  const { port } = tls?.first && inner !== undefined ? inner : await listen(outer);
  return {
    port,
    open: () => sockets.size,
    requests: () => requests,
    attentions: () => attentions,
    logins: () => logins,
    mostLogins: () => mostLogins,
    setups: () => setups,
    introductions: () => introductions,
    hangUp,
    close() {
      hangUp();
      for (const server of servers) server.close();
    },
  };
}

/** Takes the handshake out of packets and hands it to a server of TLS, until the client speaks TLS as it is. */
function unwrapTls(socket: Socket, port: number): void {
  const inner = connect({ host: "127.0.0.1", port });
  let received = new Uint8Array();
  let isRaw = false;
  socket.on("data", (chunk: Uint8Array) => {
    received = concat(received, chunk);
    for (;;) {
      isRaw ||= received.length > 0 && received[0] !== PRELOGIN;
      const message = isRaw ? null : takePacket(received);
      if (message === null) break;
      received = message.rest;
      inner.write(message.body);
    }
    if (!isRaw) return;
    inner.write(received);
    received = new Uint8Array();
  });
  inner.on("data", (chunk: Uint8Array) => void socket.write(isRaw ? chunk : packet(chunk, PRELOGIN)));
  inner.on("error", () => socket.destroy()).on("close", () => socket.destroy());
  socket.on("close", () => inner.destroy());
}

function replyTo(next: Reply): Uint8Array | null {
  if (next === "hang") return null;
  if (typeof next === "number") return concat(error(next), done(2));
  return next === null ? done(0) : concat(rowOf(next), done(0x10));
}

interface Packet {
  readonly type: number;
  readonly isLast: boolean;
  readonly body: Uint8Array<ArrayBuffer>;
  readonly rest: Uint8Array<ArrayBuffer>;
}

function takePacket(received: Uint8Array<ArrayBuffer>): Packet | null {
  if (received.length < HEADER_LENGTH) return null;
  const view = new DataView(received.buffer, received.byteOffset);
  const [type, status, length] = [view.getUint8(0), view.getUint8(1), view.getUint16(2)];
  if (received.length < length) return null;
  return {
    type,
    isLast: (status & 1) === 1,
    body: received.slice(HEADER_LENGTH, length),
    rest: received.slice(length),
  };
}

/** The letters in a message: every other byte of theirs is zero. */
function readable(body: Uint8Array): string {
  return new TextDecoder("latin1").decode(body).replaceAll("\0", "");
}

function packet(body: Uint8Array, type = 0x04): Uint8Array {
  const length = body.length + HEADER_LENGTH;
  return concat(bytes(type, 1, length >> 8, length & 0xff, 0, 0, 1, 0), body);
}

function rowOf(row: Readonly<Record<string, Value>>): Uint8Array {
  const columns = Object.entries(row).map(([name, value]) => {
    const type = typeof value === "bigint" ? bytes(0x26, 8) : concat(bytes(0xe7), uint(2, 8_000), bytes(0, 0, 0, 0, 0));
    return concat(uint(4, 0), uint(2, 1), type, text8(name));
  });
  const values = Object.values(row).map((value) => {
    if (typeof value === "bigint") return concat(bytes(8), uint(8, value));
    return concat(uint(2, value.length * 2), ucs2(value));
  });
  return concat(bytes(0x81), uint(2, columns.length), ...columns, bytes(0xd1), ...values);
}

function error(number: number, message = `error ${number}`): Uint8Array {
  const body = concat(uint(4, number), bytes(1, 16), uint(2, message.length), ucs2(message), text8(""), text8(""));
  return token(0xaa, concat(body, uint(4, 1)));
}

function done(status: number): Uint8Array {
  return concat(bytes(0xfd), uint(2, status), uint(2, 0), uint(8, 1));
}

function token(type: number, body: Uint8Array): Uint8Array {
  return concat(bytes(type), uint(2, body.length), body);
}

function text8(text: string): Uint8Array {
  return concat(bytes(text.length), ucs2(text));
}

function ucs2(text: string): Uint8Array {
  return concat(...[...text].map((char) => uint(2, char.charCodeAt(0))));
}

/** A number in `length` bytes, the lowest first. */
function uint(length: number, value: number | bigint): Uint8Array {
  return Uint8Array.from({ length }, (_, i) => Number((BigInt(value) >> BigInt(8 * i)) & 0xffn));
}

function bytes(...values: number[]): Uint8Array {
  return Uint8Array.from(values);
}

function concat(...parts: readonly Uint8Array[]): Uint8Array<ArrayBuffer> {
  const whole = new Uint8Array(parts.reduce((length, part) => length + part.length, 0));
  let at = 0;
  for (const part of parts) {
    whole.set(part, at);
    at += part.length;
  }
  return whole;
}
