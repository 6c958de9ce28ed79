/** A real etcd for the tests: the oldest that the provider works with and a newer one, from packages of Debian. */

import { join } from "node:path";
import { cacheDirectory, fillCache, unpackDebian } from "./debian.ts";
import { findProgram, freePorts, removeDirectory, startProcess, temporaryDirectory } from "./process.ts";
import type { ServerKind, TestServer } from "./server.ts";

/** The Debian release that holds each version: 3.4.23, and 3.5.16. */
const SUITES = { "3.4": "bookworm", "3.5": "trixie" } as const;

/** A version that can be had. */
export type EtcdVersion = keyof typeof SUITES;

/** Starts one member that is a cluster of its own, by the oldest version. */
export const etcdServer: ServerKind = {
  name: "etcd",
  compose: {
    url: "etcd://127.0.0.1:52379",
    image: "gcr.io/etcd-development/etcd:v3.5.21",
    port: 2379,
    command: [
      "etcd",
      "--listen-client-urls=http://0.0.0.0:2379",
      "--advertise-client-urls=http://127.0.0.1:2379",
    ],
    healthCheck: ["etcdctl", "endpoint", "health"],
  },
  async install() {
    for (const version of Object.keys(SUITES) as EtcdVersion[]) await etcdProgram("etcd", version);
  },
  start: () => startEtcd(),
};

/** How to start an etcd other than the default. */
export interface EtcdSetup {
  /** @default "3.4" */
  readonly version?: EtcdVersion;
  /** Arguments beside those for addresses and data. */
  readonly args?: readonly string[];
  /** Whether it speaks HTTPS; `args` then says how. */
  readonly tls?: boolean;
}

/** Starts a server with `setup`. */
export async function startEtcd(
  { version = "3.4", args: more = [], tls = false }: EtcdSetup = {},
): Promise<TestServer> {
  const command = await etcdProgram("etcd", version);
  const directory = await temporaryDirectory("etcd");
  const [port = 0, peer = 0, metrics = 0] = await freePorts(3);
  const client = `${tls ? "https" : "http"}://127.0.0.1:${port}`;
  const args = [
    ...["--data-dir", join(directory, "data"), "--listen-client-urls", client, "--advertise-client-urls", client],
    ...["--listen-peer-urls", `http://127.0.0.1:${peer}`, "--initial-advertise-peer-urls", `http://127.0.0.1:${peer}`],
    ...["--initial-cluster", `default=http://127.0.0.1:${peer}`, "--logger", "zap", "--log-level", "warn"],
    // Its health is told without certificates.
    ...["--listen-metrics-urls", `http://127.0.0.1:${metrics}`],
    ...more,
  ];
  const server = await startProcess({ command, args, directory, ready: () => healthy(metrics) });
  return {
    url: tls ? `etcd+https://localhost:${port}` : `etcd://127.0.0.1:${port}`,
    ...server,
    async stop() {
      await server.kill();
      await removeDirectory(directory);
    },
  };
}

/** Resolves when a member says that it has a leader, and answers by a quorum. */
export async function healthy(port: number): Promise<void> {
  const answer = await fetch(`http://127.0.0.1:${port}/health`, { signal: AbortSignal.timeout(2_000) });
  const body = await answer.text();
  if (!answer.ok || !/"health":"?true/.test(body)) throw new Error(`${answer.status} ${body}`);
}

/** Returns the path of a program of etcd, which is fetched if need be. */
export async function etcdProgram(program: "etcd" | "etcdctl", version: EtcdVersion = "3.4"): Promise<string> {
  const name = `etcd-${version}`;
  const path = join(cacheDirectory(name), "usr", "bin", program);
  if (await findProgram(path) === null) {
    // Once for all who wait for it.
    fetching[version] ??= fillCache(name, (directory) => {
      return unpackDebian(SUITES[version], ["etcd-server", "etcd-client"], directory);
    }).finally(() => delete fetching[version]);
    await fetching[version];
  }
  return path;
}

const fetching: Partial<Record<EtcdVersion, Promise<void>>> = {};
