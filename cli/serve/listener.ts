/**
 * The HTTP server: where it listens, and what it lets nobody do to it.
 *
 * @module
 */

import { chmodSync, lstatSync, rmSync } from "node:fs";
import { createServer, type Server } from "node:http";
import { type AddressInfo, connect, type Socket } from "node:net";
import { ConfigError } from "../../src/errors.ts";
import type { Packages } from "./packages.ts";

/** The most connections that may be open. Those beyond are closed before a byte of theirs is read. */
const MAX_CONNECTIONS = 1_200;
/** Limits of one request: bytes of its headers, and milliseconds until they and then all of it must be there. */
const LIMITS = {
  maxHeaderSize: 8_192,
  headersTimeout: 5_000,
  requestTimeout: 10_000,
  connectionsCheckingInterval: 1_000,
  keepAliveTimeout: 5_000,
};
/** The longest time for answers that are being written when the server stops, in milliseconds. */
const CLOSING_MS = 1_000;

/** Where to listen. */
export type Place = { readonly host: string; readonly port: number } | { readonly socket: string };

/** A server that listens. */
export interface Listener {
  /** Its address: a URL, or the path of its socket. */
  readonly address: string;
  /** Takes no more connections, and ends those that are there. */
  close(): Promise<void>;
}

/**
 * Listens at `place`, and hands requests to `fetch`.
 *
 * @throws {ConfigError} if that is not possible
 */
export async function listen(
  { server: { getRequestListener } }: Packages,
  place: Place,
  fetch: Parameters<Packages["server"]["getRequestListener"]>[0],
): Promise<Listener> {
  const server = createServer(LIMITS, getRequestListener(fetch, { overrideGlobalObjects: false }));
  server.maxConnections = MAX_CONNECTIONS;
  const sockets = new Set<Socket>();
  server.on("connection", (socket) => {
    // Not every runtime minds `maxConnections`.
    if (sockets.size >= MAX_CONNECTIONS) return void socket.destroy();
    sockets.add(socket);
    socket.on("error", () => {});
    socket.on("close", () => sockets.delete(socket));
  });
  // Bytes that are no HTTP get no answer: whoever sends them does not read one.
  server.on("clientError", (_error, socket) => void socket.destroy());
  const address = "socket" in place ? await listenAtSocket(server, place.socket) : await listenAtPort(server, place);
  return {
    address,
    async close() {
      const closed = new Promise<void>((resolve) => server.close(() => resolve()));
      server.closeIdleConnections();
      const timer = setTimeout(() => server.closeAllConnections(), CLOSING_MS);
      await Promise.race([closed, new Promise((resolve) => setTimeout(resolve, 2 * CLOSING_MS).unref())]);
      clearTimeout(timer);
      if ("socket" in place) rmSync(place.socket, { force: true });
    },
  };
}

async function listenAtPort(server: Server, { host, port }: { host: string; port: number }): Promise<string> {
  await listening(server, () => server.listen(port, host), `${host}:${port}`);
  const { address, port: actual } = server.address() as AddressInfo;
  return `http://${address.includes(":") ? `[${address}]` : address}:${actual}/`;
}

/** A socket that a process left behind which was killed is replaced; a live one, or what is no socket, is not. */
async function listenAtSocket(server: Server, path: string): Promise<string> {
  const there = lstatSync(path, { throwIfNoEntry: false });
  if (there !== undefined) {
    if (!there.isSocket()) throw new ConfigError(`Cannot listen on "${path}": it is there, and is no socket`);
    if (await answers(path)) throw new ConfigError(`Cannot listen on "${path}": somebody else does`);
    rmSync(path, { force: true });
  }
  await listening(server, () => server.listen(path), path);
  // For the user and the group alone; whoever may open it needs no password to read.
  chmodSync(path, 0o660);
  return path;
}

function listening(server: Server, begin: () => void, where: string): Promise<void> {
  return new Promise((resolve, reject) => {
    const fail = (error: Error) =>
      reject(new ConfigError(`Cannot listen on "${where}": ${error.message}`, { cause: error }));
    server.once("error", fail);
    server.once("listening", () => {
      server.off("error", fail);
      server.on("error", () => {});
      resolve();
    });
    begin();
  });
}

function answers(path: string): Promise<boolean> {
  return new Promise((resolve) => {
    const socket = connect(path, () => {
      socket.destroy();
      resolve(true);
    });
    socket.once("error", () => resolve(false));
  });
}
