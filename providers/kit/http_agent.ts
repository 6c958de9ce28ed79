/**
 * Connections for HTTP and HTTPS that are kept, reach every address of a host, and read their certificates anew.
 *
 * @module
 */

import { Agent as HttpAgent } from "node:http";
import { Agent as HttpsAgent } from "node:https";
import type { Socket } from "node:net";
import { dial } from "./dial.ts";
import { secure } from "./secure.ts";
import { readTlsFiles, type TlsFiles } from "./tls_files.ts";

/** The time that a connection may take in all, in milliseconds: whoever wanted it has given up long before. */
const CONNECT_MS = 10_000;

/** The connections of one provider. */
export interface HttpConnections {
  /** The agent that `request` of `node:http` or `node:https` takes. */
  readonly agent: HttpAgent;
  /**
   * Takes note that a request on `socket` was answered, or was given up without an answer. In that case every other
   * connection that is kept is closed, since it may be as dead, and the address is tried last from then on.
   */
  note(socket: Socket | null, isAnswered: boolean): void;
  /** Closes all of them, those too that are still being made. */
  close(): void;
}

/** The part of the options of a request that says where to connect to. */
interface RequestTarget {
  readonly host?: string | null | undefined;
  readonly port?: number | string | null | undefined;
}

/**
 * Opens the connections to a host, without I/O.
 *
 * @param tls where to find certificates, for HTTPS; null for HTTP. The files are read for each new connection.
 */
export function openConnections(tls: TlsFiles | null): HttpConnections {
  const agent = tls === null ? new HttpAgent({ keepAlive: true }) : new HttpsAgent({ keepAlive: true });
  const suspects = new Set<string>();
  const closing = new AbortController();

  async function open({ host, port }: RequestTarget): Promise<Socket> {
    const limit = setTimeout(() => late.abort(new Error("the host does not answer")), CONNECT_MS);
    const late = new AbortController();
    const signal = AbortSignal.any([closing.signal, late.signal]);
    try {
      const to = { host: host ?? "localhost", port: Number(port), suspects };
      // Before anything is sent, so that a file which cannot be read is a failure of this request alone.
      const settings = tls === null ? null : await readTlsFiles(tls);
      const socket = await dial(to, signal);
      socket.setNoDelay(true);
      if (settings === null) return socket;
      return await secure(socket, to.host, settings, signal);
    } finally {
      clearTimeout(limit);
    }
  }

  agent.createConnection = (to: RequestTarget, callback?: (error: Error | null, socket: Socket) => void) => {
    open(to).then((socket) => {
      // Refused right after the handshake, as one without a client's certificate is: nobody else would hear of that.
      if (socket.destroyed) throw socket.errored ?? new Error("the host closed the connection");
      callback?.(null, socket);
    }).catch((error) => callback?.(error, undefined as never));
    // A socket that comes by the callback is not returned.
    return undefined as never;
  };
  // Deno sends a request once more whose connection was used before and ends without an answer, also when it was
  // destroyed by its owner. It goes by `reusedSocket`, which the agent sets: without that, no write is repeated.
  const reuse = agent.reuseSocket.bind(agent);
  agent.reuseSocket = (socket, request) => {
    reuse(socket, request);
    request.reusedSocket = false;
  };
  return {
    agent,
    note(socket, isAnswered) {
      const address = socket?.remoteAddress;
      if (isAnswered) {
        if (address !== undefined) suspects.delete(address);
        return;
      }
      if (address !== undefined) suspects.add(address);
      for (const kept of Object.values(agent.freeSockets)) for (const each of kept ?? []) each.destroy();
    },
    close() {
      closing.abort(new Error("the connections are closed"));
      agent.destroy();
    },
  };
}
