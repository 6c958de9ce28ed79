/** The leader, as elections that wait show it: nobody waits for a lease to pass to learn who it is. */

import assert from "node:assert/strict";
import { LeaderElection } from "../../src/election.ts";
import { patience } from "./slowness.ts";
import { onStage, type Stage, until } from "./stage.ts";
import type { ConformanceCase, ConformanceTarget } from "./target.ts";

/** The number of participants; the last one only observes. */
const ELECTIONS = 4;
/** The time that they may take to name the next leader, in milliseconds, where nothing else runs. */
const NAMED_MS = 5_000;

/** Returns the cases about elections. They pass, with nothing to check, where a provider has no `watch`. */
export function electionCases(target: ConformanceTarget): ConformanceCase[] {
  return [onStage(target, "elections that wait name each new leader at a hint, not after a lease", nameEachLeader)];
}

async function nameEachLeader(stage: Stage): Promise<void> {
  if (!stage.first.capabilities.watch) return;
  const electionGroup = stage.group();
  const limitMs = Math.min(patience(NAMED_MS), stage.long * 0.8);
  const elections: LeaderElection[] = [];
  try {
    for (let i = 0; i < ELECTIONS; i++) {
      const election = new LeaderElection(await stage.open(), {
        ...{ electionGroup, participantId: `election-${i}`, observer: i === ELECTIONS - 1, logger: null },
        // News that is learnt sooner than this is learnt by hints.
        ...{ heartbeatTimeout: stage.long, electionInterval: stage.long },
      });
      elections.push(election);
      await election.start();
    }
    let leader: LeaderElection | undefined = elections.find((election) => election.isLeader);
    assert.ok(leader !== undefined, "one of several elections must lead");
    const waiting = new Set(elections);
    const named = new Map(elections.map((election) => [election, [] as string[]]));
    for (const [election, names] of named) {
      void election.changes({ types: ["changed"] }).forEach(({ current }) => void names.push(current?.leaderId ?? ""));
    }
    for (let round = 0; round < 2; round++) {
      waiting.delete(leader);
      await (round === 0 ? leader.stop() : leader.releaseLeadership({ cooldown: stage.long }));
      leader = await until(
        "somebody leads after a release",
        limitMs,
        stage.pause,
        () => Promise.resolve([...waiting].find((election) => election.isLeader)),
      );
      const { participantId } = leader;
      for (const election of waiting) {
        await until(
          `${election.participantId} names ${participantId}`,
          limitMs,
          stage.pause,
          () => Promise.resolve(election.status.currentLeader?.leaderId === participantId || undefined),
        );
        const isTold: boolean | undefined = election === leader || named.get(election)?.includes(participantId);
        assert.ok(isTold, `changes() of ${election.participantId} must tell of ${participantId}`);
      }
    }
  } finally {
    await Promise.all(elections.map((election) => election.stop()));
  }
}
