/** Preferred leaders: who holds back, for how long, and that it is no more than a hint. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { ElectionError } from "../src/errors.ts";
import { abortOf, Stage } from "./stage.ts";

test("campaignDelay lets the preferred participant lead, when a group becomes free", async () => {
  for (const leave of ["stop", "release", "crash"] as const) {
    const stage = new Stage();
    const leader = stage.actor("leader");
    await stage.start(leader);
    // The one that holds back is there first, and hears of everything first.
    const spare = stage.actor("spare", { campaignDelay: "3s" });
    const preferred = stage.actor("preferred");
    for (const each of [spare, preferred]) await stage.start(each);
    if (leave === "stop") await stage.finish(leader.election.stop());
    if (leave === "release") await stage.finish(leader.election.releaseLeadership({ cooldown: "1m" }));
    if (leave === "crash") leader.provider.faults.renew = { fail: true };
    await stage.during(25_000, () => assert.equal(spare.election.isLeader, false, leave));
    assert.equal(preferred.election.isLeader, true, leave);
    for (const { election } of [leader, spare, preferred]) await stage.finish(election.stop());
  }
});

test("campaignDelay only puts off: a group with nobody better gets a leader, and no sooner", async () => {
  const stage = new Stage();
  const spare = stage.actor("spare", { campaignDelay: "3s" });
  await stage.start(spare);
  const began = stage.clock.monotonic();
  assert.equal(spare.election.isLeader, false);
  assert.equal(spare.provider.calls.includes("acquire"), false);
  await stage.finish(spare.election.waitForLeadership());
  const took = stage.clock.monotonic() - began;
  assert.ok(took >= 3_000 && took < 3_200, `${took} ms`);
  // One look that asks: while it holds back it only reads.
  assert.equal(spare.provider.calls.filter((call) => call === "acquire").length, 1);
  // The next term, too: the delay counts from when the group became free.
  await stage.finish(spare.election.releaseLeadership({ cooldown: 0 }));
  await stage.during(2_900, () => assert.equal(spare.election.isLeader, false));
  await stage.during(300, () => {});
  assert.equal(spare.election.isLeader, true);
  await stage.finish(spare.election.stop());
});

test("campaignDelay counts anew, when somebody has led in between", async () => {
  const stage = new Stage();
  const spare = stage.actor("spare", { campaignDelay: "3s" });
  await stage.start(spare);
  await stage.clock.advance(2_000);
  const other = stage.actor("other");
  await stage.start(other);
  await stage.during(2_000, () => assert.equal(other.election.isLeader, true));
  await stage.finish(other.election.stop());
  await stage.during(2_900, () => assert.equal(spare.election.isLeader, false));
  await stage.during(300, () => {});
  assert.equal(spare.election.isLeader, true);
  await stage.finish(spare.election.stop());
});

test("tryAcquireLeadership() asks at once, whatever the campaignDelay", async () => {
  const stage = new Stage();
  const spare = stage.actor("spare", { campaignDelay: "1h" });
  await stage.start(spare);
  assert.equal((await stage.finish(spare.election.tryAcquireLeadership())).outcome, "elected");
  await stage.finish(spare.election.stop());
});

test("transferLeadership() hands over to the one that was named, and to nobody sooner", async () => {
  const stage = new Stage();
  const actors = ["a", "b", "c", "d"].map((name) => stage.actor(name, { campaignDelay: name === "d" ? "1h" : 0 }));
  const [a, , , d] = actors as [typeof actors[0], typeof actors[0], typeof actors[0], typeof actors[0]];
  for (const each of actors) await stage.start(each);
  assert.ok(a?.election.isLeader && d !== undefined);
  const token = a.election.status.token ?? 0n;
  // To one that would hold back for an hour by itself.
  await stage.finish(a.election.transferLeadership({ to: "d" }));
  assert.equal(d.election.isLeader, true);
  assert.equal(d.election.status.token, token + 1n);
  assert.equal((await stage.finish(a.election.getCurrentLeader()))?.leaderId, "d");
  for (const { election } of actors) await stage.finish(election.stop());
});

test("transferLeadership() to somebody who is not there: the others hold back for two seconds, or their own delay", async () => {
  const stage = new Stage();
  const [a, b, c] = [stage.actor("a"), stage.actor("b"), stage.actor("c", { campaignDelay: "4s" })];
  for (const each of [a, b, c]) await stage.start(each);
  const transferred = a.election.transferLeadership({ to: "nobody" });
  await stage.during(1_950, () => assert.ok([a, b, c].every(({ election }) => !election.isLeader)), 10);
  await stage.finish(transferred);
  // The caller may be as early as the others: nobody took it.
  await stage.during(300, () => {});
  assert.equal([a, b].filter(({ election }) => election.isLeader).length, 1);
  for (const { election } of [a, b, c]) await stage.finish(election.stop());

  // Alone, the caller leads again.
  const alone = stage.actor("alone");
  await stage.start(alone);
  await stage.finish(alone.election.transferLeadership({ to: "nobody" }));
  await stage.during(300, () => {});
  assert.equal(alone.election.isLeader, true);
  await stage.finish(alone.election.stop());
});

test("transferLeadership() without a name lets anybody else lead", async () => {
  const stage = new Stage();
  const [a, b] = [stage.actor("a"), stage.actor("b")];
  for (const each of [a, b]) await stage.start(each);
  const began = stage.clock.monotonic();
  await stage.finish(a.election.transferLeadership());
  assert.equal(b.election.isLeader, true);
  assert.ok(stage.clock.monotonic() - began < 200);
  for (const { election } of [a, b]) await stage.finish(election.stop());
});

test("transferLeadership() lets the work drain first", async () => {
  const stage = new Stage();
  const [a, b] = [stage.actor("a"), stage.actor("b")];
  for (const each of [a, b]) await stage.start(each);
  let drained = false;
  const run = a.election.run(async ({ signal }) => {
    await abortOf(signal);
    await stage.clock.advance(0);
    assert.equal(b.election.isLeader, false);
    drained = true;
  }, { once: false });
  await stage.clock.advance(0);
  await stage.finish(a.election.transferLeadership({ to: "b" }));
  assert.deepEqual([drained, b.election.isLeader], [true, true]);
  const stopped = Promise.all([a, b].map(({ election }) => election.stop()));
  await assert.rejects(stage.finish(run), ElectionError);
  await stage.finish(stopped);
});

test("transferLeadership() refuses what cannot be: no leader, itself, a malformed name, an unknown option", async () => {
  const stage = new Stage();
  const [a, b] = [stage.actor("a"), stage.actor("b")];
  for (const each of [a, b]) await stage.start(each);
  await assert.rejects(b.election.transferLeadership({ to: "a" }), /Cannot transfer leadership.*it does not lead/);
  await assert.rejects(a.election.transferLeadership({ to: "a" }), /that is this participant/);
  await assert.rejects(a.election.transferLeadership({ to: "x y" }), TypeError);
  await assert.rejects(a.election.transferLeadership({ too: "b" } as never), /did you mean "to"/);
  await assert.rejects(a.election.transferLeadership({ signal: AbortSignal.abort(new Error("enough")) }), /enough/);
  assert.equal(a.election.isLeader, true);
  assert.throws(() => stage.actor("c", { campaignDelay: "soon" as never }), /campaignDelay/);
  assert.throws(() => stage.actor("c", { campaignDelay: -1 }), RangeError);
  for (const { election } of [a, b]) await stage.finish(election.stop());
});

test("a stop ends the wait of transferLeadership(), and so does its signal", async () => {
  const stage = new Stage();
  const a = stage.actor("a");
  await stage.start(a);
  const controller = new AbortController();
  const first = a.election.transferLeadership({ to: "b", signal: controller.signal });
  first.catch(() => {});
  await stage.clock.advance(50);
  controller.abort(new Error("enough"));
  await assert.rejects(stage.finish(first), /enough/);
  await stage.finish(a.election.waitForLeadership());
  const second = a.election.transferLeadership({ to: "b" });
  second.catch(() => {});
  await stage.clock.advance(50);
  await stage.finish(a.election.stop());
  await assert.rejects(stage.finish(second), /it was stopped/);
});

test("a hint of a transfer that comes late, or again, keeps nobody from leading for longer than two seconds", async () => {
  const stage = new Stage();
  const wrapped = stage.wrap(stage.store, {
    // It says again and again that the lease is for somebody else, though nobody has it.
    async *watch(_group, { signal }) {
      for (let i = 0; i < 3 && !signal.aborted; i++) yield { transferTo: "somebody" };
      await abortOf(signal);
    },
  });
  const { LeaderElection } = await import("../src/election.ts");
  const options = { electionGroup: "h", participantId: "a", clock: stage.clock, random: () => 0.5, logger: null };
  const holder = new LeaderElection(stage.store, { ...options, participantId: "holder" });
  await stage.finish(holder.start());
  const election = new LeaderElection(wrapped, options);
  await stage.finish(election.start());
  await stage.clock.advance(100);
  await stage.finish(holder.stop());
  await stage.during(2_600, () => {});
  assert.equal(election.isLeader, true);
  await stage.finish(election.stop());
});
