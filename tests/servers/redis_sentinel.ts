/** A real primary of Redis with a replica and three sentinels that watch it. */

import { writeFile } from "node:fs/promises";
import { join } from "node:path";
import {
  connectable,
  findProgram,
  freePort,
  removeDirectory,
  run,
  startProcess,
  temporaryDirectory,
} from "./process.ts";
import type { ServerProcess } from "./process.ts";
import { startRedis } from "./redis.ts";
import type { TestServer } from "./server.ts";
import { until } from "../until.ts";

/** What runs. */
export interface SentinelRedis {
  /** `redis+sentinel://` with the three sentinels. */
  readonly url: string;
  readonly primary: TestServer;
  readonly replica: TestServer;
  readonly sentinels: readonly (ServerProcess & { readonly port: number })[];
  /** Which port the sentinels name as the primary's; null while they do not agree. */
  primaryPort(): Promise<number | null>;
  /** Resolves when the replica has all that the primary has by now. */
  replicated(): Promise<void>;
  /** Ends all and removes their data. */
  stop(): Promise<void>;
}

/** Starts them. A primary that is silent for 1.5 s is replaced. With a password, servers and sentinels ask for it. */
export async function startSentinelRedis(password?: string): Promise<SentinelRedis> {
  const command = await findProgram("redis-server", "valkey-server");
  if (command === null) throw new Error('Cannot start server "redis": there is no redis-server');
  const secret = password === undefined ? [] : ["--requirepass", password, "--masterauth", password];
  const prompt = ["--repl-diskless-sync-delay", "0"];
  const ended: (() => Promise<void>)[] = [];
  const stop = async () => void await Promise.all(ended.map((end) => end()));
  try {
    const primary = await startRedis({ args: [...prompt, ...secret] });
    ended.push(() => primary.stop());
    const port = new URL(primary.url).port;
    const replica = await startRedis({ args: [...prompt, ...secret, "--replicaof", "127.0.0.1", port] });
    ended.push(() => replica.stop());
    const sentinels: (ServerProcess & { readonly port: number })[] = [];
    for (let i = 0; i < 3; i++) {
      const sentinel = await startSentinel(command, port, password);
      ended.push(sentinel.end);
      sentinels.push(sentinel);
    }
    const auth = password === undefined ? [] : ["-a", password, "--no-auth-warning"];
    const ask = (at: number, ...args: string[]) => run("redis-cli", ["-p", String(at), ...auth, ...args]);
    await until("sentinels that know each other", async () => {
      const known = await Promise.all(sentinels.map((each) => ask(each.port, "sentinel", "master", "m")));
      // Each must know the replica and the two others, or there is no failover.
      return known.every((text) => /num-slaves\n1\n/.test(text) && /num-other-sentinels\n2\n/.test(text));
    });
    return {
      url: `redis+sentinel://${sentinels.map((each) => `127.0.0.1:${each.port}`).join()}/m`,
      primary,
      replica,
      sentinels,
      async primaryPort() {
        const named = await Promise.all(
          sentinels.map((each) => ask(each.port, "sentinel", "get-master-addr-by-name", "m")),
        );
        const ports = new Set(named.map((text) => Number(text.split("\n")[1])));
        return ports.size === 1 ? [...ports][0] ?? null : null;
      },
      replicated: async () =>
        void await until(
          "a replica that has it all",
          async () => (await ask(Number(port), "wait", "1", "1000")).trim() === "1",
        ),
      stop,
    };
  } catch (error) {
    await stop();
    throw error;
  }
}

async function startSentinel(command: string, primaryPort: string, password: string | undefined) {
  const directory = await temporaryDirectory("sentinel");
  const port = await freePort();
  const lines = [
    `port ${port}`,
    "bind 127.0.0.1",
    `dir ${directory}`,
    `sentinel monitor m 127.0.0.1 ${primaryPort} 2`,
    "sentinel down-after-milliseconds m 1500",
    "sentinel failover-timeout m 5000",
    ...(password === undefined ? [] : [`sentinel auth-pass m ${password}`, `requirepass ${password}`]),
  ];
  const file = join(directory, "sentinel.conf");
  await writeFile(file, lines.map((line) => `${line}\n`).join(""));
  const server = await startProcess({ command, args: [file, "--sentinel"], directory, ready: () => connectable(port) });
  return {
    ...server,
    port,
    async end() {
      await server.kill();
      await removeDirectory(directory);
    },
  };
}
