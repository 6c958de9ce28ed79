/** The calls to the file system that leading and waiting take, while nothing happens. */

import assert from "node:assert/strict";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { test } from "node:test";
import { LeaderElection } from "../../../mod.ts";
import { type Files, nodeFiles } from "../../../providers/file/directory.ts";
import { FileProvider } from "../../../providers/file/provider.ts";
import { sleep, systemClock } from "../../../src/time/clock.ts";
import { until } from "../../until.ts";

/** How long is counted, in milliseconds. */
const COUNTED_MS = 10_000;

/** Counts the calls of one process. */
function counting(): { files: Files; calls: Map<string, number> } {
  const calls = new Map<string, number>();
  const files = Object.fromEntries(
    Object.entries(nodeFiles).map(([name, call]) => [name, (...args: never[]) => {
      calls.set(name, (calls.get(name) ?? 0) + 1);
      return (call as (...args: never[]) => unknown)(...args);
    }]),
  ) as unknown as Files;
  return { files, calls };
}

test("a follower makes 200 calls a minute in the directory, a leader three a heartbeat, with a lease of 3 s", async (t) => {
  const directory = await mkdtemp(join(tmpdir(), "elect-idle-"));
  t.after(() => rm(directory, { recursive: true }));
  const timing = { heartbeatTimeout: 3_000, heartbeatInterval: 1_000, requestTimeout: 500, logger: null };
  const counted = [counting(), counting()];
  const providers = counted.map(({ files }) => new FileProvider(directory, systemClock, files));
  const elections = providers.map((provider) => new LeaderElection(provider, { electionGroup: "g", ...timing }));
  for (const election of elections) await election.start();
  const [leader, follower] = elections;
  const knows = () => follower?.status.currentLeader?.leaderId === leader?.participantId;
  await until("the follower knows the leader", knows);
  await sleep(systemClock, 1_000);
  for (const { calls } of counted) calls.clear();
  const start = performance.now();
  await sleep(systemClock, COUNTED_MS);
  const minutes = (performance.now() - start) / 60_000;
  const [led = 0, waited = 0] = counted.map(({ calls }) => [...calls.values()].reduce((sum, each) => sum + each, 0));
  assert(knows() && leader?.isLeader);
  await Promise.all(elections.map((election) => election.stop()));
  await Promise.all(providers.map((provider) => provider[Symbol.asyncDispose]()));
  const found = counted.map(({ calls }) => JSON.stringify([...calls]));
  assert(led <= 3 * (60 * minutes + 1), `${led} of the leader: ${found[0]}`);
  // What is due once in a while may be due twice in a short one.
  assert(waited <= 200 * minutes + 10, `${waited} of the follower: ${found[1]}`);
});
