/**
 * etcd beside bare `fetch`: a transaction that creates a key, one that fails to, a keepalive, and one that deletes. One
 * key a group, as who needs no `etcdctl elect` would have it; the provider's keys are one a term.
 */

import { etcdProvider } from "../../providers/etcd.ts";
import type { BenchBackend } from "../backend.ts";

/** Opens the provider, and a lease of etcd for the bare calls. */
export async function open(url: string): Promise<BenchBackend> {
  const provider = etcdProvider({ url: `${url}/bench` });
  const origin = url.replace("etcd:", "http:");
  async function post(path: string, body: unknown): Promise<string> {
    const answer = await fetch(`${origin}/v3/${path}`, { method: "POST", body: JSON.stringify(body) });
    return await answer.text();
  }
  const { ID } = JSON.parse(await post("lease/grant", { TTL: "600" })) as { ID: string };
  const key = btoa(`bench/bare/${crypto.randomUUID()}`);
  // As large as a record without metadata.
  const value = btoa("".padEnd(150, "."));
  const acquire = () =>
    post("kv/txn", {
      compare: [{ key, target: "CREATE", result: "EQUAL", "create_revision": "0" }],
      success: [{ "request_put": { key, value, lease: ID } }],
      failure: [{ "request_range": { key } }],
    });
  return {
    provider,
    bare: {
      acquireWon: acquire,
      acquireLost: acquire,
      heartbeat: () => post("lease/keepalive", { ID }),
      release: () => post("kv/txn", { success: [{ "request_delete_range": { key } }] }),
    },
    async version() {
      const { etcdserver } = await (await fetch(`${origin}/version`)).json();
      return `etcd ${etcdserver}`;
    },
    heartbeatTimeout: 60_000,
    async close() {
      await provider[Symbol.asyncDispose]();
      await post("lease/revoke", { ID });
    },
  };
}
