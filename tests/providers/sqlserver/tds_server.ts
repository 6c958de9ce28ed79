/**
 * Speaks just enough of TDS, the protocol of SQL Server, to let the real driver log in and to answer its requests from a
 * script: what the driver makes of an answer, an error, a cancelled request and a server that hangs is then tested for real.
 */

import { once } from "node:events";
import { type AddressInfo, createServer, type Socket } from "node:net";

/** One value of an answer: a BIGINT or a string. */
type Value = bigint | string;

/** An answer: one row, no row, an error's number, or none at all. */
export type Answer = Readonly<Record<string, Value>> | null | number | "hang";

/** A running server. */
export interface TdsServer {
  readonly port: number;
  /** Connections that are open. */
  open(): number;
  /** Requests seen, without those that set up a connection. */
  requests(): number;
  /** Cancellations seen. */
  attentions(): number;
  close(): void;
}

const [BATCH, RPC, ATTENTION, LOGIN, PRELOGIN] = [0x01, 0x03, 0x06, 0x10, 0x12];
const HEADER_LENGTH = 8;
const ATTENTION_DONE = 0x20;

/** Starts a server that gives each request the next of `answers`. With `deaf`, it does not acknowledge cancellations. */
export async function startTdsServer(answers: Answer[], { deaf = false } = {}): Promise<TdsServer> {
  const sockets = new Set<Socket>();
  let [requests, attentions] = [0, 0];
  function answer(type: number, first: boolean): Uint8Array | null {
    switch (type) {
      case PRELOGIN:
        // The version at offset 11, and encryption, which is not supported, at offset 17.
        return bytes(0, 0, 11, 0, 6, 1, 0, 17, 0, 1, 0xff, 16, 0, 0, 0, 0, 0, 2);
      case LOGIN:
        return concat(token(0xad, concat(bytes(1, 0x74, 0, 0, 4), text8("fake"), bytes(16, 0, 0, 0))), done(0));
      case ATTENTION:
        attentions++;
        return deaf ? null : done(ATTENTION_DONE);
      default: {
        if (first) return done(0);
        requests++;
        const next = answers.shift() ?? null;
        if (next === "hang") return null;
        if (typeof next === "number") return concat(error(next), done(2));
        return next === null ? done(0) : concat(rowOf(next), done(0x10));
      }
    }
  }
  const server = createServer((socket) => {
    sockets.add(socket.on("error", () => {}));
    socket.on("close", () => sockets.delete(socket));
    let received = new Uint8Array();
    let isSetUp = false;
    socket.on("data", (chunk: Uint8Array) => {
      received = concat(received, chunk);
      while (received.length >= HEADER_LENGTH) {
        const view = new DataView(received.buffer, received.byteOffset);
        const [type, status, length] = [view.getUint8(0), view.getUint8(1), view.getUint16(2)];
        if (received.length < length) return;
        received = received.slice(length);
        // Only the last packet of a message is answered.
        if ((status & 1) === 0) continue;
        const reply = answer(type, type === BATCH && !isSetUp);
        isSetUp ||= type === BATCH || type === RPC;
        if (reply !== null) socket.write(packet(reply));
      }
    });
  });
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return {
    port: (server.address() as AddressInfo).port,
    open: () => sockets.size,
    requests: () => requests,
    attentions: () => attentions,
    close() {
      for (const socket of sockets) socket.destroy();
      server.close();
    },
  };
}

function packet(body: Uint8Array): Uint8Array {
  const length = body.length + HEADER_LENGTH;
  return concat(bytes(0x04, 1, length >> 8, length & 0xff, 0, 0, 1, 0), body);
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

function error(number: number): Uint8Array {
  const message = `error ${number}`;
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
