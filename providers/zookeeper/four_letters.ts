/**
 * The version of a server, by ZooKeeper's four-letter word `srvr`, on a connection of its own: the protocol of sessions
 * does not tell it. Servers answer `srvr` unless `4lw.commands.whitelist` forbids it.
 *
 * @module
 */

import type { Socket } from "node:net";
import { dial } from "../kit/dial.ts";
import { secure } from "../kit/secure.ts";
import { readTlsFiles, type TlsFiles } from "../kit/tls_files.ts";
import type { Server } from "./endpoints.ts";

/** The time that a server has for its answer, in milliseconds. */
const PATIENCE_MS = 2_000;
/** More than any answer takes, in characters. */
const MOST = 10_000;

/** Returns the version that the first server tells which tells one; null if none does. */
export async function askVersion(
  servers: readonly Server[],
  tls: TlsFiles | undefined,
  signal: AbortSignal,
): Promise<string | null> {
  for (const server of servers) {
    const bound = AbortSignal.any([signal, AbortSignal.timeout(PATIENCE_MS)]);
    const told = await ask(server, tls, bound).catch(() => "");
    const [, version] = /^Zookeeper version: ([^\s,-]+)/.exec(told) ?? [];
    if (version !== undefined) return version;
    signal.throwIfAborted();
  }
  return null;
}

async function ask(server: Server, tls: TlsFiles | undefined, signal: AbortSignal): Promise<string> {
  const plain = await dial(server, signal);
  const socket = tls === undefined ? plain : await secure(plain, server.host, await readTlsFiles(tls), signal);
  try {
    return await answerOf(socket, signal);
  } finally {
    socket.destroy();
  }
}

function answerOf(socket: Socket, signal: AbortSignal): Promise<string> {
  return new Promise((resolve, reject) => {
    let told = "";
    signal.addEventListener("abort", () => reject(signal.reason), { once: true });
    socket.on("error", reject);
    socket.on("data", (chunk: Uint8Array) => {
      told += new TextDecoder().decode(chunk);
      if (told.length > MOST) resolve(told);
    });
    socket.on("close", () => resolve(told));
    socket.write("srvr");
  });
}
