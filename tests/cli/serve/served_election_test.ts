/** What is remembered of an election that is served. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { EventStream } from "../../../cli/serve/event_stream.ts";
import { ServedElection } from "../../../cli/serve/served_election.ts";
import { LeaderElection, type LeaderInfo, type LeadershipChange } from "../../../mod.ts";
import { memoryProvider } from "../../../providers/memory.ts";
import { resolveOptions } from "../../../src/options.ts";
import { until } from "../../until.ts";

test("a lease that is renewed while nobody asks is not said to have expired when it is given back", async () => {
  // An election that looks once, as one does that waits for the lease to run out.
  const leader: LeaderInfo = {
    leaderId: "a",
    termId: "t",
    token: 1n,
    leadershipAcquiredAt: new Date(),
    lastHeartbeat: null,
    metadata: {},
    expiresIn: 2_500,
  };
  const began = Date.now();
  let [looks, tell] = [0, (_change: LeadershipChange | null) => {}];
  const election = {
    electionGroup: "g",
    participantId: "own",
    isLeader: false,
    term: null,
    get status() {
      const expiresIn = 2_500 - (Date.now() - began);
      return { role: "follower", currentLeader: expiresIn > 0 ? { ...leader, expiresIn } : null, lastError: null };
    },
    start: () => Promise.resolve(),
    stop: () => Promise.resolve(tell(null)),
    getCurrentLeader: () => Promise.resolve(++looks > 0 ? leader : null),
    async *changes() {
      for (;;) {
        const change = await new Promise<LeadershipChange | null>((resolve) => tell = resolve);
        if (change === null) return;
        yield change;
      }
    },
  } as unknown as LeaderElection;
  const all = new EventStream();
  const config = resolveOptions({ electionGroup: "g" });
  const served = new ServedElection(election, config, memoryProvider({ name: "renewed" }), all);
  try {
    await served.start();
    await until("looks, after what the election saw has run out", () => Date.now() - began > 2_600 && looks >= 3);
    tell({
      type: "changed",
      at: new Date(),
      previous: leader,
      current: null,
      becameLeader: false,
      lostLeadership: false,
    });
    const reason = () => (served.state as { terms: { reason: string | null }[] }).terms[0]?.reason;
    await until("the end of the term", () => reason() !== null);
    assert.equal(reason(), "released");
  } finally {
    await served.stop();
    all.close();
  }
});

test("terms and participants of months are forgotten, the oldest first, and the own participant never", async () => {
  const provider = memoryProvider({ name: "months" });
  const options = { electionGroup: "g", participantId: "own", logger: null, campaignDelay: "1h" } as const;
  const all = new EventStream();
  const served = new ServedElection(new LeaderElection(provider, options), resolveOptions(options), provider, all);
  const signal = new AbortController().signal;
  const lead = async (participantId: string) => {
    const request = { electionGroup: "g", participantId, termId: crypto.randomUUID(), heartbeatTimeout: 60_000 };
    const answer = await provider.acquire({ ...request, metadata: {} }, { signal });
    assert.ok(answer.acquired, participantId);
    return answer.lease;
  };
  try {
    let lease = await lead("first");
    await served.start();
    for (let each = 1; each <= 210; each++) {
      await provider.release(lease, { signal });
      lease = await lead(`other-${each}`);
      await until(`leader ${each}`, () => served.leader?.leaderId === `other-${each}`);
    }
    const { terms, participants } = served.state as {
      terms: { leaderId: string; reason: string | null }[];
      participants: { participantId: string }[];
    };
    assert.equal(terms.length, 200);
    assert.deepEqual([terms[0]?.leaderId, terms[0]?.reason, terms[1]?.reason], ["other-210", null, "released"]);
    const names = participants.map(({ participantId }) => participantId);
    assert.deepEqual([names.length, names[0], names[1], names.at(-1)], [200, "own", "other-12", "other-210"]);
    await provider.release(lease, { signal });
  } finally {
    await served.stop();
    all.close();
    await provider[Symbol.asyncDispose]();
  }
});
