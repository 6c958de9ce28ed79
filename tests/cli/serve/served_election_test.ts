/** What is remembered of an election that is served. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { EventStream } from "../../../cli/serve/event_stream.ts";
import { ServedElection } from "../../../cli/serve/served_election.ts";
import { LeaderElection } from "../../../mod.ts";
import { memoryProvider } from "../../../providers/memory.ts";
import { resolveOptions } from "../../../src/options.ts";
import { until } from "../../until.ts";

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
