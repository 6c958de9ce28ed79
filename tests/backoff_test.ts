/** How long to wait before trying again. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { jittered, lookDelay } from "../src/time/backoff.ts";

test("jittered() takes up to a quarter off, so that those who share an interval do not act in phase", () => {
  assert.equal(jittered(1_000, () => 0), 1_000);
  assert.equal(jittered(1_000, () => 0.5), 875);
  assert.ok(jittered(1_000, () => 0.999) > 749);
});

test("lookDelay() retries quickly so often as allowed, and then waits for the usual interval, again and again", () => {
  const options = { retryBaseDelay: 100, retryMaxDelay: 150, maxRetryAttempts: 2, electionInterval: 5_000 };
  const delays = [0, 1, 2, 3, 4, 5, 6].map((failures) => lookDelay(failures, { ...options, random: () => 0 }));
  assert.deepEqual(delays, [5_000, 10, 15, 5_000, 10, 15, 5_000]);
  const never = { ...options, maxRetryAttempts: 0, random: () => 0 };
  assert.deepEqual([1, 2].map((failures) => lookDelay(failures, never)), [5_000, 5_000]);
});
