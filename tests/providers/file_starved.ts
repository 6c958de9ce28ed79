/**
 * Many elections in a process that may open few files: prints what failed, as a JSON line. The directory holds other
 * groups already. Started by `file_limits_test.ts`.
 */

import process from "node:process";
import { fileProvider } from "../../providers/file.ts";
import type { Lease } from "../../src/provider.ts";

const [directory = "", elections = "0"] = process.argv.slice(2);
const provider = fileProvider({ directory });
const failures: string[] = [];
const names = Array.from({ length: Number(elections) }, (_, i) => `mine-${i}`);

const leases = await together(names, async (electionGroup) => {
  const termId = crypto.randomUUID();
  const asked = { electionGroup, participantId: "p", termId, heartbeatTimeout: 600_000, metadata: {} };
  const answer = await provider.acquire(asked, soon());
  if (!answer.acquired) throw new Error("it is held");
  return answer.lease;
});
let listing = true;
const groups = provider.groups?.(soon()).finally(() => listing = false);
let beats = 0;
do {
  await together(leases, async (lease: Lease) => {
    const metadata = beats++ % 5 === 0 ? { beat: String(beats) } : undefined;
    const answer = await provider.renew(lease, { ...soon(), ...(metadata && { metadata }) });
    if (answer !== "renewed") throw new Error(answer);
  });
  await together(names, (name) => provider.read(name, soon()));
} while (listing);
const listed = await groups?.then(({ length }) => length, (error: Error) => error.message);
process.stdout.write(`${JSON.stringify({ leases: leases.length, listed, beats, failures })}\n`);

async function together<T, R>(all: readonly T[], work: (each: T) => Promise<R>): Promise<R[]> {
  const answers = await Promise.allSettled(all.map(work));
  return answers.flatMap((answer) => {
    if (answer.status === "fulfilled") return [answer.value];
    failures.push(String(answer.reason).slice(0, 300));
    return [];
  });
}

function soon(): { signal: AbortSignal } {
  return { signal: AbortSignal.timeout(120_000) };
}
