import assert from "node:assert/strict";
import { test } from "node:test";
import { CLOCK_RATE_ERROR, LeaseEvidence } from "../../../providers/kit/lease_evidence.ts";
import { VirtualClock } from "../../../testing/virtual_clock.ts";

const LEASE = 10_000;
/** A whole lease as an observer counts it. */
const WHOLE = LEASE * (1 + CLOCK_RATE_ERROR);

/** An observer, and the server's clock, which a test can set. */
class Scene {
  readonly clock = new VirtualClock();
  readonly evidence = new LeaseEvidence(this.clock);
  ahead = 0;

  get server(): number {
    return this.clock.wall() + this.ahead;
  }

  /** An answer that took no time. */
  note(version: string | null, expired = false): void {
    const record = version === null ? null : { version, heartbeatTimeout: LEASE, expired };
    this.evidence.note("g", record, this.server, this.clock.monotonic());
  }
}

test("of() believes the server's clock, when nobody has asked it before", () => {
  const { evidence } = new Scene();
  assert.deepEqual(evidence.of("g", LEASE), { stale: null, earliest: null, latest: null });
});

test("of() names a version that has stood still for a whole lease, and no sooner", async () => {
  const scene = new Scene();
  scene.note("1");
  await scene.clock.advance(WHOLE - 1);
  scene.note("1");
  assert.equal(scene.evidence.of("g", LEASE).stale, null);
  await scene.clock.advance(1);
  assert.equal(scene.evidence.of("g", LEASE).stale, "1");
  scene.note("2");
  assert.equal(scene.evidence.of("g", LEASE).stale, null, "a renewal begins anew");
});

test("of() counts by the lease of the holder, not by its own", async () => {
  const scene = new Scene();
  scene.note("1");
  await scene.clock.advance(5_000);
  assert.equal(scene.evidence.of("g", 1_000).stale, null);
});

test("of() bounds the server's time by what can have passed, and a little", async () => {
  const scene = new Scene();
  scene.note("1");
  await scene.clock.advance(3_000);
  const { latest } = scene.evidence.of("g", LEASE);
  assert.ok(latest !== null && latest >= scene.server && latest < scene.server + LEASE / 10);
});

test("a clock that is set forward is not believed for a lease, and then again", async () => {
  const scene = new Scene();
  scene.note("1");
  await scene.clock.advance(2_000);
  scene.ahead = 60_000;
  const before = scene.evidence.of("g", LEASE);
  assert.ok(before.latest !== null && before.latest < scene.server, "the server refuses, by its own time");
  scene.note("1", true);
  assert.deepEqual(scene.evidence.of("g", LEASE), { stale: null, earliest: -Infinity, latest: -Infinity });
  assert.ok(Math.abs(scene.evidence.expiresIn("g", -50_000) - (WHOLE - 2_000)) < 0.001, "only a standstill counts");
  await scene.clock.advance(WHOLE - 2_000);
  assert.equal(scene.evidence.of("g", LEASE).stale, "1");
  await scene.clock.advance(2_000);
  scene.note("2");
  assert.notEqual(scene.evidence.of("g", LEASE).latest, -Infinity);
});

test("a clock that is set back keeps nobody out for longer than a lease", async () => {
  const scene = new Scene();
  scene.note("1");
  scene.ahead = -3_600_000;
  scene.note("1");
  assert.ok(scene.evidence.expiresIn("g", 3_615_000) <= WHOLE);
  await scene.clock.advance(WHOLE);
  assert.equal(scene.evidence.of("g", LEASE).stale, "1");
  assert.equal(scene.evidence.expiresIn("g", 3_600_000), 0);
});

test("an answer that was slow is no step", async () => {
  const scene = new Scene();
  scene.note("1");
  const sent = scene.clock.monotonic();
  await scene.clock.advance(4_000);
  scene.evidence.note("g", { version: "1", heartbeatTimeout: LEASE }, scene.server, sent);
  assert.notEqual(scene.evidence.of("g", LEASE).latest, -Infinity);
});

test("a record seen expired by a clock that is believed may be taken over, however slow the take-over is", async () => {
  const scene = new Scene();
  scene.note("1");
  await scene.clock.advance(9_000);
  scene.note("1", true);
  assert.equal(scene.evidence.of("g", LEASE).stale, "1");
  assert.equal(scene.evidence.expiresIn("g", -1), 0);
});

test("a step that is seen in one group counts for all", async () => {
  const scene = new Scene();
  scene.note("1");
  await scene.clock.advance(1_000);
  scene.ahead = 5_000;
  scene.evidence.note("other", null, scene.server, scene.clock.monotonic());
  assert.equal(scene.evidence.of("g", LEASE).latest, -Infinity);
});

test("a group that is free has no evidence against it", () => {
  const scene = new Scene();
  scene.note("1");
  scene.note(null);
  assert.equal(scene.evidence.of("g", LEASE).stale, null);
  assert.equal(scene.evidence.expiresIn("g", 7), 7);
});

test("a clock that is set back and then forward between two looks ends no lease by its time", async () => {
  const scene = new Scene();
  scene.note("1");
  await scene.clock.advance(2_000);
  // The leader renews by the clock that was set back, unseen; ten seconds forward then end that lease.
  scene.ahead = -290_000;
  const { earliest, latest } = scene.evidence.of("g", LEASE);
  assert.ok(latest !== null && scene.server < latest, "the upper bound does not tell");
  assert.ok(earliest !== null && scene.server < earliest, "the server refuses, by its own time");
  scene.note("2", true);
  assert.deepEqual(scene.evidence.of("g", LEASE), { stale: null, earliest: -Infinity, latest: -Infinity });
  assert.ok(Math.abs(scene.evidence.expiresIn("g", -1) - WHOLE) < 0.001, "only a standstill counts");
  await scene.clock.advance(WHOLE);
  assert.equal(scene.evidence.of("g", LEASE).stale, "2", "and for no longer than a lease");
});

test("of() bounds the server's time from below by what must have passed, less a little", async () => {
  const scene = new Scene();
  scene.note("1");
  await scene.clock.advance(3_000);
  const { earliest } = scene.evidence.of("g", LEASE);
  assert.ok(earliest !== null && earliest <= scene.server && earliest > scene.server - LEASE / 10);
});

test("noteTime() makes a step back known, and leaves what was seen of records", async () => {
  const scene = new Scene();
  scene.note("1");
  await scene.clock.advance(WHOLE);
  scene.ahead = -1_000;
  scene.evidence.noteTime(scene.server, scene.clock.monotonic());
  assert.deepEqual(scene.evidence.of("g", LEASE), { stale: "1", earliest: -Infinity, latest: -Infinity });
});

test("an answer whose time was read as soon as it was asked for, and was slow to come, is no step", async () => {
  const scene = new Scene();
  scene.note("1");
  // Twice: the first slow answer must not make the second look late, nor a quick one after it early.
  for (let slow = 0; slow < 2; slow++) {
    const [sent, read] = [scene.clock.monotonic(), scene.server];
    await scene.clock.advance(4_000);
    scene.evidence.note("g", { version: "1", heartbeatTimeout: LEASE }, read, sent);
    assert.notEqual(scene.evidence.of("g", LEASE).latest, -Infinity);
  }
  scene.note("1");
  assert.notEqual(scene.evidence.of("g", LEASE).latest, -Infinity);
});

test("of two answers that overlap, the one that is noted later may show the earlier time", async () => {
  const scene = new Scene();
  const [sent, read] = [scene.clock.monotonic(), scene.server];
  await scene.clock.advance(3_000);
  scene.note("1");
  await scene.clock.advance(1_000);
  scene.evidence.note("g", { version: "1", heartbeatTimeout: LEASE }, read, sent);
  const { earliest, latest } = scene.evidence.of("g", LEASE);
  assert.ok(earliest !== null && latest !== null && earliest <= scene.server && scene.server <= latest);
});

test("an answer in whole milliseconds is no step back, when no lease is known yet", () => {
  const scene = new Scene();
  scene.evidence.noteTime(5_000.9, scene.clock.monotonic());
  scene.evidence.noteTime(5_000, scene.clock.monotonic());
  assert.notEqual(scene.evidence.of("g", LEASE).latest, -Infinity);
});
