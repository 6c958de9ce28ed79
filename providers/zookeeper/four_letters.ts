/**
 * The version of a server, by ZooKeeper's four-letter word `srvr`, on a connection of its own: the protocol of sessions
 * does not tell it. Servers answer `srvr` unless `4lw.commands.whitelist` forbids it.
 *
 * @module
 */

import type { Socket } from "node:net";
import { abortable } from "../../src/call.ts";
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
  const settings = tls === undefined ? null : await readTlsFiles(tls);
  const plain = await dial(server, signal);
  try {
    const socket = settings === null ? plain : await secure(plain, server.host, settings, signal);
    return await abortable(answerOf(socket), signal);
  } finally {
    plain.destroy();
  }
}

async function answerOf(socket: Socket): Promise<string> {
  let told = "";
  socket.write("srvr");
  for await (const chunk of socket) {
    told += String(chunk);
    if (told.length > MOST) break;
  }
  return told;
}
