/**
 * One participant as a process of its own: it drives the provider as a test tells it, a JSON line for each step.
 *
 * `campaign`: watch, acquire when hinted, renew. `once GROUP`: acquire once and answer. `release`, `free`: give up the
 * lease.
 */

import process from "node:process";
import { createInterface } from "node:readline";
import { fileProvider } from "../../providers/file.ts";
import { sleep, systemClock } from "../../src/time/clock.ts";
import type { Lease } from "../../src/provider.ts";

const [directory = "", timeout = "1000"] = process.argv.slice(2);
const heartbeatTimeout = Number(timeout);
const provider = fileProvider({ directory });
const leaving = new AbortController();
const works: Promise<void>[] = [];
let lease: Lease | null = null;

say({ ready: process.pid });
for await (const line of createInterface({ input: process.stdin })) {
  const [command, group = "g"] = line.split(" ");
  if (command === "once") works.push(once(group));
  if (command === "campaign") works.push(campaign(group));
  if (command === "release" && lease !== null) say({ released: await provider.release(lease, soon()) });
}
// The input has ended: leave as a stopping election would, and let the process end by itself.
leaving.abort();
await Promise.all(works);
await provider[Symbol.asyncDispose]();

async function once(electionGroup: string): Promise<void> {
  try {
    const answer = await provider.acquire(request(electionGroup), soon());
    if (answer.acquired) lease = answer.lease;
    say(answer.acquired ? { won: Number(answer.lease.token) } : { held: Number(answer.leader?.token ?? 0) });
  } catch (error) {
    say({ error: String(error) });
  }
}

async function campaign(electionGroup: string): Promise<void> {
  for await (const _ of provider.watch?.(electionGroup, { signal: leaving.signal }) ?? []) {
    say({ looking: true });
    const askedAt = systemClock.monotonic();
    const answer = await provider.acquire(request(electionGroup), soon());
    if (!answer.acquired) continue;
    say({ won: Number(answer.lease.token) });
    lease = answer.lease;
    await lead(answer.lease, askedAt);
    if (leaving.signal.aborted) await provider.release(answer.lease, soon());
  }
}

/** Renews until the lease is lost, and marks with a file of its own when it believed that it led. */
async function lead(held: Lease, askedAt: number): Promise<void> {
  let validUntil = askedAt + heartbeatTimeout * 0.9;
  while (!leaving.signal.aborted) {
    await sleep(systemClock, heartbeatTimeout / 5, leaving.signal).catch(() => {});
    const sentAt = systemClock.monotonic();
    const late = sentAt > validUntil;
    const outcome = await provider.renew(held, soon()).catch((error: unknown) => String(error));
    if (outcome === "renewed") validUntil = sentAt + heartbeatTimeout * 0.9;
    else return say({ lost: Number(held.token), outcome, late });
  }
}

function request(electionGroup: string) {
  const termId = crypto.randomUUID();
  return { electionGroup, participantId: `p-${process.pid}`, termId, heartbeatTimeout, metadata: {} };
}

function soon(): { signal: AbortSignal } {
  return { signal: AbortSignal.timeout(30_000) };
}

function say(message: Record<string, unknown>): void {
  process.stdout.write(`${JSON.stringify(message)}\n`);
}
