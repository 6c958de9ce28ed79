/**
 * Consul beside bare `fetch`: a transaction that locks, one that fails to, one that locks again, and one that unlocks.
 */

import { Buffer } from "node:buffer";
import { consulProvider } from "../../providers/consul.ts";
import type { BenchBackend } from "../backend.ts";

/** Opens the provider, and a session for the bare calls, whose connections are of the same kind. */
export async function open(url: string): Promise<BenchBackend> {
  const provider = consulProvider({ url: `${url}/bench` });
  const origin = url.replace("consul:", "http:");
  async function put(path: string, body: string): Promise<string> {
    const answer = await fetch(`${origin}/v1/${path}`, { method: "PUT", body });
    return await answer.text();
  }
  const [mine, other] = await Promise.all([1, 2].map(async () => {
    const body = JSON.stringify({ TTL: "600s", LockDelay: "0s", Checks: [], NodeChecks: [] });
    return (JSON.parse(await put("session/create", body)) as { ID: string }).ID;
  }));
  const key = `bench/bare/${crypto.randomUUID()}/.lock`;
  let beat = 0;
  // As large as a record without metadata.
  function lock(verb: "lock" | "unlock", session: string | undefined): Promise<string> {
    const Value = Buffer.from(String(beat++).padEnd(220, ".")).toString("base64");
    return put("txn", JSON.stringify([{ KV: { Verb: verb, Key: key, Value, Session: session } }]));
  }
  return {
    provider,
    bare: {
      acquireWon: () => lock("lock", mine),
      acquireLost: () => lock("lock", other),
      heartbeat: () => lock("lock", mine),
      release: () => lock("unlock", mine),
    },
    heartbeatTimeout: 60_000,
    async close() {
      await provider[Symbol.asyncDispose]();
      for (const session of [mine, other]) await put(`session/destroy/${session}`, "");
    },
  };
}
