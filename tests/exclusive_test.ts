/** Jobs that run once: who runs them, who is told that somebody else does, and how long that counts. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { memoryProvider } from "../providers/memory.ts";
import { exclusive, type ExclusiveOptions } from "../src/exclusive.ts";
import type { LostReason } from "../src/errors.ts";
import { FaultyProvider } from "../testing/faulty_provider.ts";
import { VirtualClock } from "../testing/virtual_clock.ts";
import { abortOf, gate, Stage } from "./stage.ts";

let stores = 0;

/** One store, one clock, and jobs of its group. */
class Jobs extends Stage {
  readonly name = `exclusive-${stores++}`;
  override readonly clock = new VirtualClock();
  readonly provider = new FaultyProvider(memoryProvider({ name: this.name, clock: this.clock }), this.clock);

  options(participantId: string, more: Partial<ExclusiveOptions> = {}): ExclusiveOptions {
    return { electionGroup: "g", participantId, clock: this.clock, random: () => 0.5, logger: null, ...more };
  }

  /** Runs a job that takes `ms`. */
  job(participantId: string, ms: number, more: Partial<ExclusiveOptions> = {}) {
    return exclusive(this.provider, this.options(participantId, more), async (term) => {
      await this.pause(ms);
      return `${participantId} ${term.token}`;
    });
  }

  pause(ms: number): Promise<void> {
    return new Promise((resolve) => void this.clock.setTimer(resolve, ms));
  }

  async holder(): Promise<string | null> {
    return (await this.provider.read("g", { signal: new AbortController().signal }))?.leaderId ?? null;
  }
}

test("exclusive() runs the job once, and says who runs it to those who come meanwhile", async () => {
  const jobs = new Jobs();
  const first = jobs.job("a", 20_000);
  await jobs.clock.advance(100);
  const second = await jobs.finish(jobs.job("b", 0));
  assert.ok(second.outcome === "held" && second.leader?.leaderId === "a");
  // It asked once, and has left nothing behind.
  assert.equal(jobs.provider.calls.filter((call) => call === "acquire").length, 2);
  assert.deepEqual(await jobs.finish(first), { outcome: "done", value: "a 1" });
  assert.equal(await jobs.holder(), null);
  assert.deepEqual(await jobs.finish(jobs.job("b", 0)), { outcome: "done", value: "b 2" });
  const { length } = jobs.provider.calls;
  await jobs.during(60_000, () => assert.equal(jobs.provider.calls.length, length), 1_000);
});

test("exclusive() waits as long as it was told to, and no longer", async () => {
  const jobs = new Jobs();
  const first = jobs.job("a", 20_000);
  await jobs.clock.advance(100);
  const began = jobs.clock.monotonic();
  const impatient = await jobs.finish(jobs.job("b", 0, { wait: "5s" }));
  const took = jobs.clock.monotonic() - began;
  assert.ok(impatient.outcome === "held" && impatient.leader?.leaderId === "a");
  assert.ok(took >= 5_000 && took < 5_100, `${took} ms`);
  const patient = jobs.job("c", 0, { wait: "1m" });
  assert.equal((await jobs.finish(first)).outcome, "done");
  assert.deepEqual(await jobs.finish(patient), { outcome: "done", value: "c 2" });
});

test("exclusive() keeps the lease for atLeast, with heartbeats, however the work ends", async () => {
  for (const fails of [false, true]) {
    const jobs = new Jobs();
    const settled = gate();
    const first = exclusive(jobs.provider, jobs.options("a", { atLeast: "1m" }), async () => {
      await jobs.pause(100);
      settled.resolve();
      if (fails) throw new Error("the job failed");
    });
    first.catch(() => {});
    await jobs.finish(settled.promise);
    // Longer than the lease lives without a heartbeat.
    await jobs.during(59_000, () => assert.equal(jobs.provider.calls.includes("release"), false), 500);
    assert.equal((await jobs.finish(jobs.job("b", 0))).outcome, "held");
    if (fails) await assert.rejects(jobs.finish(first), /the job failed/);
    else assert.equal((await jobs.finish(first)).outcome, "done");
    assert.ok(jobs.clock.monotonic() >= 60_000);
    // It resolved when the lease was free.
    assert.equal(await jobs.holder(), null);
  }
});

test("atLeast counts from the beginning of the term: work that takes longer is not followed by a wait", async () => {
  const jobs = new Jobs();
  assert.equal((await jobs.finish(jobs.job("a", 10_000, { atLeast: "9s" }))).outcome, "done");
  assert.ok(jobs.clock.monotonic() < 10_200);
});

test("exclusive() says that the lease was lost, why, and does not run the job again", async () => {
  const reasons: LostReason[] = [];
  for (const how of ["expired", "unhealthy", "lost"] as const) {
    let isFit = true;
    const jobs = new Jobs();
    let runs = 0;
    const options = jobs.options("a", { healthCheck: () => isFit, wait: "1h", atLeast: "1h" });
    const job = exclusive(jobs.provider, options, async (term) => {
      runs++;
      await abortOf(term.signal);
      if (how !== "lost") throw term.signal.reason;
      return "finished all the same";
    });
    await jobs.clock.advance(100);
    if (how === "expired") jobs.provider.faults.renew = { fail: true };
    if (how === "unhealthy") isFit = false;
    if (how === "lost") {
      const { termId = "" } = await jobs.provider.read("g", { signal: new AbortController().signal }) ?? {};
      await jobs.provider.release({ electionGroup: "g", termId }, { signal: new AbortController().signal });
    }
    const end = await jobs.finish(job);
    assert.ok(end.outcome === "lost");
    reasons.push(end.reason);
    assert.equal(runs, 1);
  }
  assert.deepEqual(reasons, ["expired", "unhealthy", "lost"]);
});

test("a lease that is lost after the work has settled changes nothing: it is done", async () => {
  const jobs = new Jobs();
  const job = jobs.job("a", 100, { atLeast: "1h" });
  await jobs.clock.advance(200);
  jobs.provider.faults.renew = { fail: true };
  assert.deepEqual(await jobs.finish(job), { outcome: "done", value: "a 1" });
  assert.ok(jobs.clock.monotonic() < 60_000);
});

test("exclusive() rejects with what its work throws, and has released the lease by then", async () => {
  const jobs = new Jobs();
  const job = exclusive(jobs.provider, jobs.options("a"), () => Promise.reject(new Error("the job failed")));
  await assert.rejects(jobs.finish(job), /the job failed/);
  assert.equal(await jobs.holder(), null);
  // Also where it throws before it returns a promise.
  const early = exclusive(jobs.provider, jobs.options("a"), () => {
    throw new Error("the job failed at once");
  });
  await assert.rejects(jobs.finish(early), /failed at once/);
  assert.equal(await jobs.holder(), null);
});

test("exclusive() rejects when the backend cannot be asked, with and without a wait", async () => {
  for (const wait of [0, 3_000]) {
    const jobs = new Jobs();
    jobs.provider.faults.acquire = jobs.provider.faults.read = { fail: true };
    await assert.rejects(jobs.finish(jobs.job("a", 0, { wait })), { name: "ProviderError" });
  }
  // One that is found in time is no failure.
  const jobs = new Jobs();
  jobs.provider.faults.acquire = { fail: true };
  const job = jobs.job("a", 0, { wait: "1m" });
  await jobs.clock.advance(2_000);
  delete jobs.provider.faults.acquire;
  assert.equal((await jobs.finish(job)).outcome, "done");
});

test("the signal of exclusive() ends its wait, its work and the time that the lease is kept", async () => {
  const jobs = new Jobs();
  const first = jobs.job("a", 30_000);
  await jobs.clock.advance(100);
  const waiting = new AbortController();
  const second = jobs.job("b", 0, { wait: "1h", signal: waiting.signal });
  second.catch(() => {});
  await jobs.clock.advance(100);
  waiting.abort(new Error("enough of waiting"));
  await assert.rejects(jobs.finish(second), /enough of waiting/);
  await jobs.finish(first);

  const working = new AbortController();
  const third = exclusive(jobs.provider, jobs.options("c", { signal: working.signal }), async ({ signal }) => {
    await abortOf(signal);
    throw signal.reason;
  });
  await jobs.clock.advance(100);
  working.abort(new Error("enough of working"));
  assert.deepEqual(await jobs.finish(third), { outcome: "lost", reason: "stopped" });

  const keeping = new AbortController();
  const fourth = jobs.job("d", 0, { atLeast: "1h", signal: keeping.signal });
  await jobs.clock.advance(1_000);
  keeping.abort();
  assert.equal((await jobs.finish(fourth)).outcome, "done");
  assert.equal(await jobs.holder(), null);
  const never = jobs.job("e", 0, { signal: AbortSignal.abort(new Error("never begun")) });
  await assert.rejects(jobs.finish(never), /never begun/);
});

test("exclusive() refuses malformed options before it asks anybody", async () => {
  const jobs = new Jobs();
  const work = () => Promise.resolve();
  const refused = (more: Record<string, unknown>, error: object) =>
    assert.rejects(exclusive(jobs.provider, { ...jobs.options("a"), ...more }, work), error);
  await refused({ wait: "soon" }, TypeError);
  await refused({ wait: -1 }, RangeError);
  await refused({ atLeast: "1 day" }, TypeError);
  await refused({ atLeats: "1s" }, /atLeats/);
  await refused({ electionGroup: "no good" }, TypeError);
  await assert.rejects(exclusive(jobs.provider, jobs.options("a"), "work" as never), /no function/);
  await assert.rejects(exclusive(jobs.provider, undefined as never, work), TypeError);
  await assert.rejects(
    jobs.finish(exclusive(jobs.provider, jobs.options("a", { observer: true }), work)),
    /only observes/,
  );
  assert.equal(jobs.provider.calls.includes("acquire"), false);
});

test("exclusive() takes part also where autoStart is false, and asks at once whatever its campaignDelay", async () => {
  const jobs = new Jobs();
  const end = await jobs.finish(jobs.job("a", 0, { autoStart: false, campaignDelay: "1h" }));
  assert.deepEqual(end, { outcome: "done", value: "a 1" });
});

test("run() gives up after its wait, each time, and keeps the lease for atLeast", async () => {
  const stage = new Stage();
  const [a, b] = [stage.actor("a"), stage.actor("b")];
  for (const each of [a, b]) await stage.start(each);
  const work = () => Promise.resolve("done");
  assert.equal(await stage.finish(b.election.run(work, { wait: 0 })), undefined);
  assert.equal(await stage.finish(b.election.run(work, { wait: "2s" })), undefined);
  const began = stage.clock.monotonic();
  assert.equal(await stage.finish(a.election.run(work, { atLeast: "30s" })), "done");
  assert.ok(stage.clock.monotonic() - began >= 30_000);
  assert.equal(await stage.finish(b.election.run(work, { wait: "1m" })), "done");
  await assert.rejects(b.election.run(work, { wait: "soon" as never }), TypeError);
  await assert.rejects(b.election.run(work, { atLeast: -1 }), RangeError);
  for (const { election } of [a, b]) await stage.finish(election.stop());
});
