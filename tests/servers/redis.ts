/** A real Redis for the tests: the `redis-server` of the machine, or of Debian's package. */

import { connect } from "node:net";
import {
  aptInstall,
  connectable,
  findProgram,
  freePort,
  removeDirectory,
  startProcess,
  temporaryDirectory,
} from "./process.ts";
import type { ServerKind, TestServer } from "./server.ts";

const PROGRAMS = ["redis-server", "valkey-server"];

/** Starts Redis, or Valkey where that is what the machine has. */
export const redisServer: ServerKind = {
  name: "redis",
  compose: {
    url: "redis://127.0.0.1:56379",
    image: "redis:7.4-alpine",
    port: 6379,
    command: ["redis-server", "--save", "", "--appendonly", "yes", "--appendfsync", "always"],
    healthCheck: ["redis-cli", "ping"],
  },
  async install() {
    const missing = [
      ...(await findProgram(...PROGRAMS) === null ? ["redis-server"] : []),
      // What moves a server's clock is compiled, and certificates are made.
      ...(await findProgram("cc") === null ? ["gcc", "libc6-dev"] : []),
      ...(await findProgram("openssl") === null ? ["openssl"] : []),
    ];
    if (missing.length > 0) await aptInstall(...missing);
  },
  start: () => startRedis(),
};

/** How to start a Redis other than the default. */
export interface RedisSetup {
  /** Arguments of the server beside those for port, directory and durability. */
  readonly args?: readonly string[];
  /** Whether the server speaks TLS instead of plain TCP; `args` then says how. */
  readonly tls?: boolean;
  /** The program. @default the one on the search path */
  readonly program?: string;
  /** Variables of its environment beside ours. */
  readonly env?: Readonly<Record<string, string>>;
}

/** Starts a server with `setup`. */
export async function startRedis(
  { args: more = [], tls = false, program, env = {} }: RedisSetup = {},
): Promise<TestServer> {
  const command = program ?? await findProgram(...PROGRAMS);
  if (command === null) throw new Error('Cannot start server "redis": there is no redis-server');
  const port = await freePort();
  const directory = await temporaryDirectory("redis");
  const args = [
    ...(tls ? ["--port", "0", "--tls-port", String(port)] : ["--port", String(port)]),
    ...["--bind", "127.0.0.1", "--dir", directory, "--save", ""],
    // Written and flushed before each answer, the append-only file has, after a SIGKILL, all that was ever
    // acknowledged.
    ...["--appendonly", "yes", "--appendfsync", "always"],
    ...more,
  ];
  const ready = () => tls ? connectable(port) : ping(port);
  const server = await startProcess({ command, args, directory, ready, env });
  return {
    url: tls ? `rediss://localhost:${port}` : `redis://127.0.0.1:${port}`,
    ...server,
    async stop() {
      await server.kill();
      await removeDirectory(directory);
    },
  };
}

/** Resolves when Redis answers PING with PONG: while it loads its data it accepts connections, and answers an error. */
function ping(port: number): Promise<void> {
  return new Promise((resolve, reject) => {
    const socket = connect({ port, host: "127.0.0.1" }, () => socket.write("PING\r\n"));
    socket.setTimeout(2_000, () => socket.destroy(new Error("no answer within 2 s")));
    socket.once("error", reject);
    socket.once("close", () => reject(new Error("closed")));
    socket.once("data", (answer) => {
      // One that asks for a password is up, too.
      if (/^(\+PONG|-NOAUTH)/.test(answer.toString())) resolve();
      else reject(new Error(answer.toString().trim()));
      socket.destroy();
    });
  });
}
