/** The measure of how slow the machine is. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { patience, slowness } from "./slowness.ts";

test("slowness() is at least 1 and at most 10, and patience() is so many times what it is given", () => {
  const factor = slowness();
  assert.ok(factor >= 1 && factor <= 10, `${factor}`);
  assert.equal(slowness(), factor, "a measurement that is fresh counts");
  assert.equal(patience(1_000), Math.ceil(1_000 * factor));
});
