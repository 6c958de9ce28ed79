import { zookeeperProvider } from "../../providers/zookeeper.ts";
import { ZooKeeperClient } from "../../providers/zookeeper/client.ts";
import { check, create, exists, multi, OPEN_ACL, remove } from "../../providers/zookeeper/protocol.ts";
import { parseTarget } from "../../providers/zookeeper/target.ts";
import { systemClock } from "../../src/time/clock.ts";
import { askServer } from "../../tests/servers/zookeeper.ts";
import { type BenchBackend, unbounded } from "../backend.ts";

const EPHEMERAL = 1;

/**
 * Beside the same client's single requests: create an ephemeral node, look at it, check it in a transaction, delete it.
 */
export async function open(url: string): Promise<BenchBackend> {
  const { servers, credentials } = parseTarget(url);
  const client = new ZooKeeperClient({ servers, credentials, sessionTimeout: 16_500, clock: systemClock });
  await client.connected();
  const path = `/bench-${crypto.randomUUID()}`;
  const call = <T>(operation: Parameters<typeof client.call<T>>[0]) => client.call(operation, unbounded.signal);
  const provider = zookeeperProvider({ url });
  return {
    provider,
    bare: {
      acquireWon: () => call(create(path, new Uint8Array(0), OPEN_ACL, EPHEMERAL)),
      acquireLost: () => call(exists(path)),
      heartbeat: () => call(multi([check(path)])),
      release: () => call(remove(path)),
    },
    async version() {
      const [{ port = 0 } = {}] = servers;
      // The protocol does not tell; this word every server answers.
      const [, version = ""] = /version: ([^-,\s]+)/.exec(await askServer(port, "srvr")) ?? [];
      return `ZooKeeper ${version}`;
    },
    heartbeatTimeout: 15_000,
    async close() {
      await Promise.all([provider[Symbol.asyncDispose](), client.close()]);
    },
  };
}
