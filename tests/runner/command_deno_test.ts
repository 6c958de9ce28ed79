/** How the driver runs programs. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { execute } from "./command.ts";

test("execute() returns what a program printed, and how it ended", async () => {
  const argv = ["sh", "-c", "echo said; echo complained >&2; exit 3"];
  const { ok, late, output } = await execute({ argv });
  assert.deepEqual({ ok, late }, { ok: false, late: false });
  assert.match(output, /said/);
  assert.match(output, /complained/);
  assert.deepEqual(await execute({ argv: ["true"] }), { ok: true, late: false, output: "" });
});

test("execute() ends a program whose time is over, and says so", async () => {
  const { ok, late, output } = await execute({ argv: ["sleep", "600"], limitMs: 500 });
  assert.deepEqual({ ok, late }, { ok: false, late: true });
  assert.match(output, /ended after \d+ s/);
});

test("execute() says which program it cannot run", async () => {
  const { ok, output } = await execute({ argv: ["/nowhere/at-all"] });
  assert.equal(ok, false);
  assert.match(output, /Cannot run "\/nowhere\/at-all"/);
});
