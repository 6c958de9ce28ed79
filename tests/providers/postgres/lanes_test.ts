/** How the connections of a pool are shared out. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { Lane, lanesOf as shareOut } from "../../../providers/kit/lanes.ts";

const never = new AbortController().signal;
const lanesOf = (pool: object, max: number) => shareOut(pool, { max, setting: "max", hasHints: true });

test("Lane lets so many in, the others in their order, and the urgent before them", async () => {
  const lane = new Lane(2);
  const entered: string[] = [];
  const leave = new Map<string, () => void>();
  const enter = async (name: string, urgent = false, signal = never) => {
    leave.set(name, await lane.enter(signal, urgent));
    entered.push(name);
  };
  const settled = () => new Promise((resolve) => setTimeout(resolve));
  const gone = new AbortController();
  void enter("a");
  void enter("b");
  assert.ok(!lane.isFree);
  void enter("c");
  const aborted = enter("aborted", false, gone.signal);
  void enter("d");
  void enter("urgent", true);
  await settled();
  assert.deepEqual(entered, ["a", "b"]);
  gone.abort(new Error("gone"));
  await assert.rejects(aborted, /gone/);
  for (const name of ["a", "b", "urgent", "c"]) {
    leave.get(name)?.();
    await settled();
  }
  assert.deepEqual(entered, ["a", "b", "urgent", "c", "d"]);
  assert.ok(lane.isFree);
  // One place is taken, and one is free: neither lost nor gained.
  void enter("e");
  await settled();
  assert.ok(!lane.isFree);
  await assert.rejects(lane.enter(AbortSignal.abort(new Error("early"))), /early/);
});

test("lanesOf() leaves each kind of call a connection, within what the pool has", async () => {
  /** How many calls a lane lets in at once. */
  async function width(lane: Lane | null): Promise<number> {
    let count = 0;
    for (; lane?.isFree; count++) await lane.enter(never);
    return count;
  }
  assert.throws(() => lanesOf({}, 1), RangeError);
  for (const max of [2, 3, 4, 5, 6, 10, 50]) {
    const { calls, heartbeats, hints } = lanesOf({}, max);
    const widths = [await width(calls), await width(heartbeats), await width(hints)];
    const [ofCalls = 0, ofHeartbeats = 0, ofHints = 0] = widths;
    assert.ok(ofCalls >= 1 && ofHeartbeats >= 1, widths.join());
    assert.equal(ofHints >= 1, max >= 3);
    assert.ok(ofCalls + ofHeartbeats + ofHints <= max, `${widths} of ${max}`);
  }
  const pool = {};
  assert.equal(lanesOf(pool, 5), lanesOf(pool, 5));
});
