/** A record that was seen expired, by a clock that is believed or not. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { LeaseEvidence } from "../../../providers/kit/lease_evidence.ts";
import { VirtualClock } from "../../../testing/virtual_clock.ts";

const record = { version: "v1", heartbeatTimeout: 1_000 };

test("LeaseEvidence lets a version through that was seen expired, also when the take-over travelled for long", async () => {
  const clock = new VirtualClock();
  const evidence = new LeaseEvidence(clock);
  evidence.note("g", record, 5_000, clock.monotonic());
  const sentAt = clock.monotonic();
  const { latest, stale } = evidence.of("g", 1_000);
  assert.equal(stale, null);
  // Half of the second in which it stands still is spent on the way: by then the server's clock is past `latest`.
  await clock.advance(500);
  assert.ok(latest !== null && latest < 5_500);
  evidence.note("g", { ...record, expired: true }, 5_500, sentAt);
  assert.equal(evidence.of("g", 1_000).stale, "v1");
  assert.equal(evidence.expiresIn("g", -1), 0);
  // A heartbeat in between makes it another version.
  evidence.note("g", { ...record, version: "v2" }, 5_500, clock.monotonic());
  assert.equal(evidence.of("g", 1_000).stale, null);
});

test("LeaseEvidence does not let a version through that was seen expired by a clock that was set forward", async () => {
  const clock = new VirtualClock();
  const evidence = new LeaseEvidence(clock);
  evidence.note("g", record, 5_000, clock.monotonic());
  await clock.advance(100);
  evidence.note("g", { ...record, expired: true }, 65_100, clock.monotonic());
  assert.deepEqual(evidence.of("g", 1_000), { stale: null, earliest: -Infinity, latest: -Infinity });
  assert.ok(evidence.expiresIn("g", -59_000) > 800);
  // It has stood still since it was first seen.
  await clock.advance(902);
  assert.equal(evidence.of("g", 1_000).stale, "v1");
});
