/**
 * One participant: start it twice, in two terminals, and end one of them.
 *
 * ```sh
 * deno run --allow-all examples/basic.ts            # a directory under the system's temporary one
 * node examples/basic.ts redis://localhost:6379     # any provider URL; bun takes the same
 * ```
 *
 * A URL with a password is better given as ELECT_PROVIDER: command lines are public on a machine.
 *
 * @module
 */

import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { pathToFileURL } from "node:url";
import { elect, type Term } from "@multilock/core";
// Each registers the URLs that it opens. A program imports the one that it uses.
import "@multilock/core/azure-blob";
import "@multilock/core/consul";
import "@multilock/core/etcd";
import "@multilock/core/kubernetes";
import "@multilock/core/mysql";
import "@multilock/core/postgres";
import "@multilock/core/redis";
import "@multilock/core/sqlserver";
import "@multilock/core/zookeeper";

const target = process.argv[2] ?? process.env["ELECT_PROVIDER"] ?? pathToFileURL(join(tmpdir(), "elect-example")).href;

const election = await elect(target, { electionGroup: "example-basic", metadata: { example: "basic" } });
const stop = new AbortController();
for (const signal of ["SIGINT", "SIGTERM"] as const) process.once(signal, () => stop.abort());

try {
  console.log(`${election.participantId} takes part`);
  await election.run(work, { signal: stop.signal, once: false });
  console.log(`${election.participantId} leaves`);
} finally {
  // Gives the lease back. From Node 24 on, `await using election` does it at the end of the block.
  await election.stop();
}

/** The work of the leader. It ends by itself, or when `term.signal` says so. */
async function work(term: Term): Promise<void> {
  console.log(`${term.participantId} leads under token ${term.token}`);
  while (!term.signal.aborted) {
    // Whatever is written from here should carry term.token, and be refused where a larger one has been seen.
    await delay(1_000, undefined, { signal: term.signal }).catch(() => {});
  }
  console.log(`${term.participantId} has put down its work`);
}
