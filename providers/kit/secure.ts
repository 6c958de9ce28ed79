/**
 * TLS over a connection that has been made.
 *
 * @module
 */

import { isIP, type Socket } from "node:net";
import { connect as connectTls } from "node:tls";
import type { TlsSettings } from "./tls_files.ts";

/**
 * Begins TLS with whoever answers to `host` at the other end of `socket`, and waits for the end of the handshake.
 *
 * @throws why there is none: the certificate, the connection, or the reason of `signal`
 */
export function secure(socket: Socket, host: string, settings: TlsSettings, signal: AbortSignal): Promise<Socket> {
  // The server's name must be a name: for an address, the certificate is held against `host`.
  const servername = settings.servername ?? (isIP(host) === 0 ? host : undefined);
  return secured(connectTls({ ...settings, socket, host, ...(servername !== undefined && { servername }) }), signal);
}

function secured(socket: Socket, signal: AbortSignal): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const onAbort = () => socket.destroy(signal.reason);
    signal.addEventListener("abort", onAbort, { once: true });
    if (signal.aborted) onAbort();
    const end = () => signal.removeEventListener("abort", onAbort);
    // It stays, so that an error which comes later than another end has a listener.
    socket.on("error", (error) => {
      end();
      reject(error);
    });
    socket.once("close", () => {
      end();
      reject(new Error("the host closed the connection"));
    });
    socket.once("secureConnect", () => {
      end();
      resolve(socket);
    });
  });
}
