/**
 * A program that closes its provider while the server hangs, for `mysql/network_deno_test.ts` to watch end. Not a test
 * itself.
 */

import { once } from "node:events";
import process from "node:process";
import { mysqlProvider } from "../../providers/mysql.ts";

const provider = mysqlProvider({ url: process.argv[2] ?? "" });
const answer = await provider.acquire(
  { electionGroup: `close-${process.pid}`, participantId: "p", termId: "t", heartbeatTimeout: 60_000, metadata: {} },
  { signal: AbortSignal.timeout(10_000) },
);
console.log(answer.acquired ? "ready" : "held");

await once(process.stdin, "data");
process.stdin.destroy();
const { signal } = new AbortController();
const left = answer.acquired ? [provider.renew(answer.lease, { signal }), provider.read("close", { signal })] : [];
for (const call of left) call.catch(() => {});
// Under way, but not answered any more.
await new Promise((resolve) => setTimeout(resolve, 50));
await provider[Symbol.asyncDispose]();
const outcomes = await Promise.allSettled(left);
console.log(outcomes.map(({ status }) => status).join());
