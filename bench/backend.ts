/**
 * The backends that the benchmarks measure, and the bare calls beside which they stand.
 *
 * @module
 */

import { CARDS } from "../providers/catalog.ts";
import type { AcquireRequest, Lease, Provider } from "../src/provider.ts";
import { cardFor } from "../src/registry.ts";

/** A provider, and the cheapest single call of the same weight that its driver can make, on a connection of its own. */
export interface BenchBackend {
  /** The provider that is measured. */
  readonly provider: Provider;
  /** The bare calls. They keep to keys of their own. */
  readonly bare: {
    /** Takes a lock that is free. */
    acquireWon(): Promise<unknown>;
    /** Tries to take a lock that is held. */
    acquireLost(): Promise<unknown>;
    /** Extends a lock that is held. */
    heartbeat(): Promise<unknown>;
    /** Gives the lock back. */
    release(): Promise<unknown>;
  };
  /** Asks the server for its version, where the provider's `inspect` does not. */
  version?(): Promise<string>;
  /** The `heartbeatTimeout` of the leases, in milliseconds. */
  readonly heartbeatTimeout: number;
  /** Closes the provider and the bare connection. */
  close(): Promise<void>;
}

/** Opens the benchmark of the provider that opens `url`: `backends/NAME.ts`. */
export async function openBackend(url: string): Promise<BenchBackend> {
  const { name = "" } = cardFor(url, CARDS) ?? {};
  const module: { open(url: string): Promise<BenchBackend> } = await import(
    `./backends/${name.replaceAll("-", "_")}.ts`
  );
  return await module.open(url);
}

/** Returns the product and version of the server at `url`; null where nobody tells. */
export async function versionOf(url: string): Promise<string | null> {
  const backend = await openBackend(url);
  try {
    const inspection = await backend.provider.inspect?.({ signal: AbortSignal.timeout(10_000) });
    return inspection?.version ?? await backend.version?.() ?? null;
  } finally {
    await backend.close();
  }
}

/** Asks for the lease of `electionGroup` in a new term. */
export function request(backend: BenchBackend, electionGroup: string): AcquireRequest {
  const { heartbeatTimeout } = backend;
  return { electionGroup, participantId: "bench", termId: crypto.randomUUID(), heartbeatTimeout, metadata: {} };
}

/** Takes a lease that must be free. */
export async function win(backend: BenchBackend, electionGroup: string): Promise<Lease> {
  const answer = await backend.provider.acquire(request(backend, electionGroup), {
    signal: AbortSignal.timeout(10_000),
  });
  if (!answer.acquired) throw new Error(`Cannot measure "${electionGroup}": ${answer.leader?.leaderId} leads it`);
  return answer.lease;
}

/** A signal that never aborts: the driver's own bounds are part of what is measured, a timer for each call is not. */
export const unbounded = { signal: new AbortController().signal };
