/** A real ZooKeeper for the tests, from Debian's packages: one server, or the members of an ensemble. */

import { access, mkdir, writeFile } from "node:fs/promises";
import { connect } from "node:net";
import { join } from "node:path";
import {
  aptInstall,
  findProgram,
  freePort,
  removeDirectory,
  type ServerProcess,
  startProcess,
  temporaryDirectory,
} from "./process.ts";
import type { ServerKind, TestServer } from "./server.ts";

const JAR = "/usr/share/java/zookeeper.jar";
/** What its manifest leaves out and TLS needs: parts of Netty, which it depends on as a whole. */
const TLS_JARS = ["/usr/share/java/netty-codec.jar", "/usr/share/java/netty-resolver.jar"];
/** The unit of all timing of the server: it grants sessions of two ticks and more, and expires them on a tick. */
export const TICK_MS = 250;

/** Starts one server, without an ensemble. */
export const zookeeperServer: ServerKind = {
  name: "zookeeper",
  compose: {
    url: "zookeeper://127.0.0.1:52181/elections",
    image: "zookeeper:3.9",
    port: 2181,
    environment: {
      ZOO_STANDALONE_ENABLED: "true",
      ZOO_TICK_TIME: "500",
      // The suite holds leases for a minute; by default a session lasts 20 ticks at most.
      ZOO_CFG_EXTRA: "maxSessionTimeout=120000",
    },
    healthCheck: ["zkServer.sh", "status"],
  },
  install: installZooKeeper,
  start: () => startZooKeeper(),
};

/** Makes the programs available. */
export async function installZooKeeper(): Promise<void> {
  const hasJar = await access(JAR).then(() => true, () => false);
  // The service of the package `zookeeper` is not needed, only the library that it depends on.
  if (!hasJar || await findProgram("java") === null) await aptInstall("libzookeeper-java", "default-jre-headless");
}

/** How to start a server that differs from the usual one. */
export interface ZooKeeperSettings {
  /** Lines of its configuration. */
  readonly settings?: readonly string[];
  /** Properties of the program, such as `jute.maxbuffer=8192`. */
  readonly properties?: readonly string[];
  /** Where its data are, and whatever it needs; removed when it stops. @default a new temporary directory */
  readonly directory?: string;
}

/** Starts one server, without an ensemble, on a free port. */
export async function startZooKeeper(
  { settings = [], properties = [], directory }: ZooKeeperSettings = {},
): Promise<TestServer & { readonly port: number }> {
  const port = await freePort();
  const home = directory ?? await temporaryDirectory("zookeeper");
  const server = await startMember(home, port, settings, undefined, properties);
  return {
    url: `zookeeper://127.0.0.1:${port}/elections`,
    port,
    ...server,
    async stop() {
      await server.kill();
      await removeDirectory(home);
    },
  };
}

/**
 * Starts one server with its data in `directory`; returns when it serves clients, or at once, when `isReady` says so.
 * `settings` are lines of its configuration, `properties` those of the program.
 */
export async function startMember(
  directory: string,
  port: number,
  settings: readonly string[],
  isReady: () => Promise<unknown> = () => askServer(port, "srvr"),
  properties: readonly string[] = [],
): Promise<ServerProcess> {
  const command = await findProgram("java");
  if (command === null) throw new Error('Cannot start server "zookeeper": there is no java');
  const data = join(directory, "data");
  await mkdir(data, { recursive: true });
  const configuration = [
    `tickTime=${TICK_MS}`,
    `dataDir=${data}`,
    `clientPort=${port}`,
    "clientPortAddress=127.0.0.1",
    "maxClientCnxns=0",
    "maxSessionTimeout=120000",
    "preAllocSize=1024",
    "admin.enableServer=false",
    "4lw.commands.whitelist=*",
    ...settings,
  ];
  const file = join(directory, "zoo.cfg");
  await writeFile(file, configuration.join("\n") + "\n");
  const args = [
    ...["-Xmx96m", "-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-Dzookeeper.jmx.log4j.disable=true"],
    ...properties.map((property) => `-D${property}`),
    ...["-cp", [JAR, ...TLS_JARS].join(":"), "org.apache.zookeeper.server.quorum.QuorumPeerMain", file],
  ];
  return await startProcess({ command, args, directory, ready: isReady });
}

/** Asks a server with a four-letter word. Rejects when it does not serve clients, as without a quorum. */
export function askServer(port: number, word: string): Promise<string> {
  return new Promise((resolve, reject) => {
    let answer = "";
    const socket = connect({ port, host: "127.0.0.1" }, () => socket.write(word));
    socket.setTimeout(2_000, () => socket.destroy(new Error("no answer within 2 s")));
    socket.once("error", reject);
    socket.on("data", (chunk) => answer += chunk.toString());
    socket.once("close", () => {
      if (answer === "" || answer.includes("not currently serving")) reject(new Error(answer.trim() || "closed"));
      else resolve(answer);
    });
  });
}
