/** What a participant knows of the leader. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { LeaderView } from "../src/participant/leader_view.ts";
import type { LeaderInfo } from "../src/provider.ts";
import { VirtualClock } from "../testing/virtual_clock.ts";

const LEADER: LeaderInfo = {
  leaderId: "a",
  termId: "1",
  token: 1n,
  leadershipAcquiredAt: new Date(0),
  lastHeartbeat: null,
  metadata: {},
  expiresIn: 1_000,
};

test("current counts expiresIn down, and is null, when what was seen has expired; last stays", async () => {
  const clock = new VirtualClock();
  const view = new LeaderView(clock);
  assert.equal(view.current, null);
  view.see(LEADER);
  assert.deepEqual(view.current, LEADER);
  await clock.advance(999);
  assert.deepEqual(view.current, { ...LEADER, expiresIn: 1 });
  await clock.advance(1);
  assert.equal(view.current, null);
  assert.deepEqual(view.last, LEADER);
});

test("current stays, when only the backend knows when the lease expires", async () => {
  const clock = new VirtualClock();
  const view = new LeaderView(clock);
  view.see({ ...LEADER, expiresIn: null });
  await clock.advance(1_000_000);
  assert.equal(view.current?.termId, "1");
});

test("see() starts counting anew, when it sees the same term again, and says whether it is another", async () => {
  const clock = new VirtualClock();
  const view = new LeaderView(clock);
  assert.equal(view.see(null), false);
  assert.equal(view.see(LEADER), true);
  await clock.advance(900);
  assert.equal(view.see(LEADER), false);
  await clock.advance(900);
  assert.equal(view.current?.expiresIn, 100);
  assert.equal(view.see({ ...LEADER, termId: "2" }), true, "the same participant in another term is another leader");
  assert.equal(view.see(null), true);
});

test("see() takes a term that is over when it is first seen for nobody's, and tells of it, when it turns out to live", () => {
  const view = new LeaderView(new VirtualClock());
  for (const expiresIn of [0, -5]) assert.equal(view.see({ ...LEADER, expiresIn }), false);
  assert.equal(view.last, null);
  assert.equal(view.see(LEADER), true);
  assert.equal(view.see({ ...LEADER, expiresIn: 0 }), false, "of a term that was told of, its end is no other term");
  assert.equal(view.current, null);
});
