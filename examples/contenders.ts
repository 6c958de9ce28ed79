/**
 * Several participants compete for one group; each leads for a moment, steps down, and lets the next one in.
 *
 * ```sh
 * deno run --allow-all examples/contenders.ts            # within this process
 * node examples/contenders.ts redis://localhost:6379     # any provider URL; bun takes the same
 * ```
 *
 * @module
 */

import process from "node:process";
import { setTimeout as delay } from "node:timers/promises";
import { LeaderElection, openProvider } from "@multilock/core";
import "@multilock/core/azure-blob";
import "@multilock/core/consul";
import "@multilock/core/etcd";
import "@multilock/core/kubernetes";
import "@multilock/core/mysql";
import "@multilock/core/postgres";
import "@multilock/core/redis";
import "@multilock/core/sqlserver";
import "@multilock/core/zookeeper";

const NAMES = ["ada", "grace", "lynn"];
const target = process.argv[2] ?? process.env["ELECT_PROVIDER"] ?? "memory:contenders";

// One connection serves any number of elections.
const provider = await openProvider(target);
const elections = NAMES.map((participantId) =>
  new LeaderElection(provider, { electionGroup: "example-contenders", participantId })
);

const tokens: bigint[] = [];
try {
  await Promise.all(elections.map(contend));
  console.log(`everyone has led once, under tokens ${tokens.join(", ")}`);
} finally {
  await provider[Symbol.asyncDispose]();
}

/** Takes part until it has led once. From Node 24 on, `await using` stops an election at the end of a block. */
async function contend(election: LeaderElection): Promise<void> {
  try {
    void narrate(election);
    await election.start();
    await election.run(async (term) => {
      tokens.push(term.token);
      await delay(200, undefined, { signal: term.signal });
    });
  } finally {
    await election.stop();
  }
}

/** Tells what the others see: each change comes with who led before and who leads now. */
async function narrate(election: LeaderElection): Promise<void> {
  for await (const change of election.changes({ types: ["acquired", "lost"] })) {
    console.log(
      `${election.participantId} has ${change.type} leadership, token ${(change.current ?? change.previous)?.token}`,
    );
  }
}
