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

test("execute() ends what a program leaves behind, also without a parent", async () => {
  const path = await Deno.makeTempFile();
  try {
    const orphan = `setsid sh -c 'echo $$ > ${path}; exec sleep 600' & sleep 0.5`;
    const { ok } = await execute({ argv: ["sh", "-c", orphan] });
    assert.equal(ok, true);
    const pid = Number(await Deno.readTextFile(path));
    assert.ok(pid > 1);
    const state = await Deno.readTextFile(`/proc/${pid}/stat`).then((stat) => stat.split(") ")[1]?.[0], () => "gone");
    assert.ok(["Z", "X", "gone"].includes(state ?? ""), `it is ${state}`);
  } finally {
    await Deno.remove(path);
  }
});

test("execute() says which program it cannot run", async () => {
  const { ok, output } = await execute({ argv: ["/nowhere/at-all"] });
  assert.equal(ok, false);
  assert.match(output, /Cannot run "\/nowhere\/at-all"/);
});
