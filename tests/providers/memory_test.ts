/** The embedded provider. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { type MemoryOptions, memoryProvider } from "../../providers/memory.ts";
import { openProvider } from "../../src/registry.ts";
import { conformanceCases } from "../../testing/conformance.ts";
import { VirtualClock } from "../../testing/virtual_clock.ts";
import { heldCalls } from "../testing/held_calls.ts";

const open = (options?: MemoryOptions) => memoryProvider({ ...options, name: "conformance" });
const target = { name: "memory", open, heartbeatTimeout: 300, detour: heldCalls(open) };
for (const { name, run } of conformanceCases(target)) test(name, run);

test("a URL names the store, percent-encoded, and the clock given with it decides", async () => {
  const clock = new VirtualClock();
  const options = { signal: AbortSignal.timeout(5_000) };
  const provider = await openProvider("memory:two%20words", { clock });
  const request = { electionGroup: "g", participantId: "p", termId: "1", heartbeatTimeout: 1_000, metadata: {} };
  await provider.acquire(request, options);
  const same = memoryProvider({ name: "two words", clock });
  assert.equal((await same.read("g", options))?.expiresIn, 1_000);
  await clock.advance(400);
  assert.equal((await same.read("g", options))?.expiresIn, 600);
  await clock.advance(600);
  assert.equal(await same.read("g", options), null);
});
