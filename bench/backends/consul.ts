/**
 * Consul beside `npm:consul`: a transaction that locks, one that fails to, one that locks again, and one that unlocks.
 */

import Consul from "consul";
import assert from "node:assert/strict";
import { consulProvider } from "../../providers/consul.ts";
import type { BenchBackend } from "../backend.ts";

/** As the package's code has it: its declarations know neither these arguments nor these operations. */
interface Transactions {
  create(operations: readonly object[]): Promise<unknown>;
}

/** Opens the provider, and sessions for the bare calls. */
export async function open(url: string): Promise<BenchBackend> {
  const provider = consulProvider({ url: `${url}/bench` });
  const { hostname: host, port } = new URL(url);
  const consul = new Consul({ host, port: Number(port || 8500) });
  const transactions = consul.transaction as unknown as Transactions;
  const newSession = async () => (await consul.session.create({ ttl: "600s", lockdelay: "0s" })).ID;
  const [mine, other] = await Promise.all([newSession(), newSession()]);
  const key = `bench/bare/${crypto.randomUUID()}/.lock`;
  let beat = 0;
  function lock(verb: "lock" | "unlock", session: string): Promise<unknown> {
    // As large as a record without metadata.
    const Value = btoa(String(beat++).padEnd(220, "."));
    return transactions.create([{ KV: { Verb: verb, Key: key, Value, Session: session } }]);
  }
  return {
    provider,
    bare: {
      acquireWon: () => lock("lock", mine),
      // The package throws what the server refuses.
      acquireLost: () => assert.rejects(lock("lock", other), { statusCode: 409 }),
      heartbeat: () => lock("lock", mine),
      release: () => lock("unlock", mine),
    },
    heartbeatTimeout: 60_000,
    async close() {
      await provider[Symbol.asyncDispose]();
      for (const session of [mine, other]) await consul.session.destroy(session);
    },
  };
}
