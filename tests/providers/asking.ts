/** How tests of providers ask for leases. */

import assert from "node:assert/strict";
import type { AcquireRequest, Hint, Lease, Provider } from "../../src/provider.ts";
import { patience } from "../slowness.ts";

/** The length of a lease where a test names no other, in milliseconds. */
export const LEASE_MS = 10_000;

/** Asks for the lease of `electionGroup`. */
export function request(electionGroup = "g", changes: Partial<AcquireRequest> = {}): AcquireRequest {
  const termId = crypto.randomUUID();
  return { electionGroup, participantId: "p", termId, heartbeatTimeout: LEASE_MS, metadata: {}, ...changes };
}

/** Longer than any call takes on a busy machine. */
export function soon(): { signal: AbortSignal } {
  return { signal: AbortSignal.timeout(30_000) };
}

/** Acquires the lease. */
export async function win(provider: Provider, asked = request()): Promise<Lease> {
  const answer = await provider.acquire(asked, soon());
  assert.ok(answer.acquired, "the lease must be granted");
  return answer.lease;
}

/** Tries to, in vain. */
export async function lose(provider: Provider, asked = request()): Promise<void> {
  assert.equal((await provider.acquire(asked, soon())).acquired, false, "the lease must not be granted");
}

/** Renews a lease of 3 s, and sees that those who wait are told of it. `hints` has handed out what came before. */
export async function tellsRenewal(
  provider: Provider,
  lease: Lease,
  hints: AsyncIterator<Hint | void> | undefined,
): Promise<void> {
  const renewal = hints?.next();
  await provider.renew(lease, soon());
  const { renewed } = (await renewal)?.value ?? {};
  assert.deepEqual([renewed?.termId, renewed?.expiresIn], [lease.termId, 3_000]);
}

/** Holds the lead of a clock against what it is where a server of this host tells the time to the second. */
export function isOfThisHost(clockOffsetMs: number | null | undefined): void {
  assert.ok(Math.abs(clockOffsetMs ?? NaN) <= 500 + patience(1_000), `a lead of ${clockOffsetMs} ms`);
}
