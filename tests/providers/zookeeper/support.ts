/** What the tests of the ZooKeeper provider share: requests, waiting, and the nodes as they are. */

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { ZooKeeperClient } from "../../../providers/zookeeper/client.ts";
import * as protocol from "../../../providers/zookeeper/protocol.ts";
import { parseTarget } from "../../../providers/zookeeper/target.ts";
import { systemClock } from "../../../src/time/clock.ts";
import type { AcquireRequest, Held, Lease, Provider } from "../../../src/provider.ts";

/** Longer than anything takes on a loaded machine. */
const LONG_MS = 20_000;

/** The options of a call that is to succeed. */
export const soon = (): { readonly signal: AbortSignal } => ({ signal: AbortSignal.timeout(LONG_MS) });

/** Returns a new name. */
export const newGroup = (): string => `zk-${randomUUID()}`;

/** Builds a request of a new term. */
export function request(electionGroup: string, changes: Partial<AcquireRequest> = {}): AcquireRequest {
  const termId = randomUUID();
  return { electionGroup, participantId: "p", termId, heartbeatTimeout: 60_000, metadata: {}, ...changes };
}

/** Acquires a lease. */
export async function win(provider: Provider, asked: AcquireRequest): Promise<Lease> {
  const answer = await provider.acquire(asked, soon());
  assert.ok(answer.acquired, `"${asked.electionGroup}" is held`);
  return answer.lease;
}

/** Is refused a lease. */
export async function lose(provider: Provider, asked: AcquireRequest): Promise<Held> {
  const answer = await provider.acquire(asked, soon());
  assert.ok(!answer.acquired, `"${asked.electionGroup}" is free`);
  return answer;
}

/** Waits. */
export const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));

/** The server seen from beside a provider. */
export interface Raw extends AsyncDisposable {
  /** Makes one request. */
  call<T>(operation: protocol.Operation<T>): Promise<T>;
  /** The path of a group. */
  path(group: string): string;
  /** The names of the nodes of a group, sorted as text. */
  nodes(group: string): Promise<string[]>;
}

/** Opens a session of its own to the server and root of `url`. */
export function openRaw(url: string): Raw {
  const { servers, root } = parseTarget(url);
  const client = new ZooKeeperClient({ servers, sessionTimeout: 10_000, clock: systemClock });
  const call = async <T>(operation: protocol.Operation<T>) => {
    await client.connected();
    return await client.call(operation, soon().signal);
  };
  return {
    call,
    path: (group) => `${root}/${group}`,
    nodes: async (group) => (await call(protocol.getChildren(`${root}/${group}`))).sort(),
    [Symbol.asyncDispose]: () => client.close(),
  };
}
