/**
 * `elect bench`: how long the operations of a provider take here.
 *
 * @module
 */

import process from "node:process";
import { systemClock } from "../../src/time/clock.ts";
import { ElectionError } from "../../src/errors.ts";
import type { AcquireRequest, Lease, Provider } from "../../src/provider.ts";
import type { Command, Invocation } from "../args.ts";
import { EXIT } from "../exit.ts";
import { outputTo } from "../output.ts";
import type { Use } from "../scope.ts";
import { openTarget, patience } from "../target.ts";

/** Always the same group: its token stays in the backend for ever. */
const GROUP = "elect-bench";
const OPERATIONS = ["acquire won", "acquire lost", "heartbeat", "release"] as const;

/** `elect bench`. */
export const benchCommand: Command = {
  name: "bench",
  usage: "",
  summary: "Measures how long acquire, heartbeat and release take on the provider.",
  details: `Uses the election group ${GROUP}, and leaves its fencing token behind.`,
  example: "elect bench --provider redis://localhost --rounds 1000",
  options: ["rounds"],
  run: bench,
};

async function bench(invocation: Invocation, use: Use): Promise<number> {
  const provider = use(await openTarget(invocation));
  const output = outputTo(process.stdout, invocation.json);
  const times = await measure(provider, invocation.rounds);
  if (!invocation.json) output.print(output.faint(`${"".padEnd(14)}${columns("p50", "p99", "max")}  (ms)`), {});
  for (const operation of OPERATIONS) {
    const sorted = times[operation].sort((a, b) => a - b);
    const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * share))] ?? 0;
    const [p50, p99, max] = [at(0.5), at(0.99), at(1)];
    output.print(`${operation.padEnd(14)}${columns(p50.toFixed(3), p99.toFixed(3), max.toFixed(3))}`, {
      provider: provider.name,
      operation,
      rounds: invocation.rounds,
      p50,
      p99,
      max,
    });
  }
  return EXIT.done;
}

/** One round is a whole term: won, seen by another that loses, renewed, released. */
async function measure(provider: Provider, rounds: number): Promise<Record<typeof OPERATIONS[number], number[]>> {
  const { minTimeout, maxTimeout = Infinity } = provider.capabilities;
  const heartbeatTimeout = Math.min(Math.max(15_000, minTimeout), maxTimeout);
  const request = (): AcquireRequest => ({
    electionGroup: GROUP,
    participantId: `bench-${process.pid}`,
    termId: crypto.randomUUID(),
    heartbeatTimeout,
    metadata: {},
  });
  const times: Record<typeof OPERATIONS[number], number[]> = {
    "acquire won": [],
    "acquire lost": [],
    "heartbeat": [],
    "release": [],
  };
  await provider.healthCheck(patience());
  for (let round = 0; round < rounds; round++) {
    const lease = await timed(times["acquire won"], () => win(provider, request()));
    try {
      await timed(times["acquire lost"], () => provider.acquire(request(), patience()));
      await timed(times["heartbeat"], () => provider.renew(lease, patience()));
    } finally {
      await timed(times["release"], () => provider.release(lease, patience()));
    }
  }
  return times;
}

async function win(provider: Provider, request: AcquireRequest): Promise<Lease> {
  const answer = await provider.acquire(request, patience());
  if (answer.acquired) return answer.lease;
  const holder = answer.leader?.leaderId ?? "somebody";
  throw new ElectionError(`Cannot measure "${provider.name}": ${holder} leads ${GROUP}; is another bench running?`);
}

async function timed<T>(times: number[], work: () => Promise<T>): Promise<T> {
  const start = systemClock.monotonic();
  const result = await work();
  times.push(systemClock.monotonic() - start);
  return result;
}

function columns(...cells: string[]): string {
  return cells.map((cell) => cell.padStart(10)).join("");
}
