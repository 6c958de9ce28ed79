/** The peers, by name. Their modules are loaded when they are opened. */

import type { Peer, PeerKind } from "./peer.ts";

/** See {@linkcode PeerKind}. */
export const PEERS: Readonly<Record<string, PeerKind>> = {
  "redis-semaphore": { provider: "redis", open: async (...of) => (await import("./redis.ts")).openSemaphore(...of) },
  "redlock": { provider: "redis", open: async (...of) => (await import("./redis.ts")).openRedlock(...of) },
  "proper-lockfile": { provider: "file", open: async (...of) => (await import("./file.ts")).openLockfile(...of) },
  "advisory lock": { provider: "postgres", open: async (...of) => (await import("./sql.ts")).openAdvisory(...of) },
  "GET_LOCK": { provider: "mysql", open: async (...of) => (await import("./sql.ts")).openGetLock(...of) },
  "Curator": { provider: "zookeeper", open: async (...of) => (await import("./curator.ts")).openLatch(...of) },
  "consul lock": {
    provider: "consul",
    isCommand: true,
    open: async (...of) => (await import("./command.ts")).openConsulLock(...of),
  },
  "etcdctl lock": {
    provider: "etcd",
    isCommand: true,
    open: async (...of) => (await import("./command.ts")).openEtcdLock(...of),
  },
};

/** Returns the names of the peers that use the backend of `provider`. */
export function peersOf(provider: string): string[] {
  return Object.keys(PEERS).filter((name) => PEERS[name]?.provider === provider);
}

/** Opens a lock of each of them that is no command; those, with their names. */
export async function openPeers(provider: string, url: string): Promise<(readonly [string, Peer])[]> {
  const names = peersOf(provider).filter((name) => PEERS[name]?.isCommand !== true);
  return await Promise.all(
    names.map(async (name) => [name, await openPeer(name, url, `bench-${crypto.randomUUID()}`)] as const),
  );
}

/** Opens the lock `key` of a peer. */
export async function openPeer(name: string, url: string, key: string): Promise<Peer> {
  const kind = PEERS[name];
  if (kind === undefined) throw new TypeError(`Cannot open peer "${name}": known are ${Object.keys(PEERS).join(", ")}`);
  return await kind.open(url, key);
}
