/** A real Redis Cluster for the tests, of primaries and, where they are asked for, one replica of each. */

import { run } from "./process.ts";
import { startRedis } from "./redis.ts";
import type { TestServer } from "./server.ts";
import { until } from "../until.ts";

/** A running cluster. */
export interface RedisCluster {
  /** The primaries, in the order of their slots, and then the replicas, in the same order. */
  readonly nodes: readonly TestServer[];
  /** The port of each. */
  readonly ports: readonly number[];
  /** Runs a command of `redis-cli` on a node. */
  cli(node: number, ...args: string[]): Promise<string>;
  /** Ends it and removes its data. */
  stop(): Promise<void>;
}

const SLOTS = 16_384;

/** Starts one. A primary that is silent for a second is replaced, where it has a replica. */
export async function startRedisCluster(
  { primaries = 3, replicas = false, args = [] }: {
    readonly primaries?: number;
    readonly replicas?: boolean;
    readonly args?: readonly string[];
  } = {},
): Promise<RedisCluster> {
  const count = replicas ? primaries * 2 : primaries;
  const setup = ["--cluster-enabled", "yes", "--cluster-announce-ip", "127.0.0.1", "--cluster-node-timeout", "1000"];
  const nodes: TestServer[] = [];
  const stop = async () => void await Promise.all(nodes.map((node) => node.stop()));
  const ports: number[] = [];
  const cli = (node: number, ...more: string[]) => run("redis-cli", ["-p", String(ports[node]), ...more]);
  try {
    for (let node = 0; node < count; node++) {
      const server = await startLow([...setup, ...args]);
      nodes.push(server);
      ports.push(Number(new URL(server.url).port));
    }
    for (let node = 0; node < primaries; node++) {
      const [first, next] = [node, node + 1].map((each) => Math.floor(each * SLOTS / primaries)) as [number, number];
      await cli(node, "cluster", "addslotsrange", String(first), String(next - 1));
      await cli(node, "config", "set", "cluster-require-full-coverage", "no");
    }
    for (let node = 1; node < count; node++) await cli(node, "cluster", "meet", "127.0.0.1", String(ports[0]));
    const ids = await Promise.all(ports.map(async (_, node) => (await cli(node, "cluster", "myid")).trim()));
    for (let node = 0; node < count; node++) await settled(() => cli(node, "cluster", "nodes"), ids);
    for (let node = primaries; node < count; node++) {
      await cli(node, "cluster", "replicate", ids[node - primaries] ?? "");
    }
    for (let node = 0; node < count; node++) {
      await until("a cluster that knows its slots", async () => {
        const [info, slots] = [await cli(node, "cluster", "info"), await cli(node, "cluster", "slots")];
        return /cluster_state:ok/.test(info) && ports.every((port) => slots.includes(String(port)));
      });
    }
  } catch (error) {
    await stop();
    throw error;
  }
  return { nodes, ports, cli, stop };
}

/** The nodes talk to each other on a port 10,000 above their own, which must exist. */
async function startLow(args: readonly string[]): Promise<TestServer> {
  for (;;) {
    const server = await startRedis({ args: [...args, "--cluster-port", "0"] }).catch((error: unknown) => error);
    if (!(server instanceof Error)) return server as TestServer;
    if (!/port/i.test(server.message)) throw server;
  }
}

async function settled(nodes: () => Promise<string>, ids: readonly string[]): Promise<void> {
  await until("nodes that know each other", async () => {
    const text = await nodes();
    return ids.every((id) => text.includes(id)) && !text.includes("handshake");
  });
}
