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
  const { ok, output } = await execute({ argv: ["sh", "-c", "setsid sh -c 'echo $$; exec sleep 600' & sleep 0.5"] });
  assert.equal(ok, true, output);
  const pid = Number(output);
  assert.ok(pid > 1);
  const state = await Deno.readTextFile(`/proc/${pid}/stat`).then((stat) => stat.split(") ")[1]?.[0], () => "gone");
  assert.ok(["Z", "X", "gone"].includes(state ?? ""), `it is ${state}`);
});

test("endAll() ends whatever the process has begun, and begins nothing more", async () => {
  const script = `
    const { endAll, execute } = await import("${new URL("./command.ts", import.meta.url)}");
    const { status } = new Deno.Command("sleep", { args: ["600"] }).spawn();
    const running = execute({ argv: ["sleep", "600"] });
    await endAll(() => Promise.resolve());
    console.log((await status).signal, (await running).ok, (await execute({ argv: ["true"] })).ok);
    Deno.exit();`;
  const { output } = await execute({ argv: [Deno.execPath(), "eval", "--no-check", script] });
  assert.equal(output.trim(), "SIGKILL false false");
});

test("execute() says which program it cannot run", async () => {
  const { ok, output } = await execute({ argv: ["/nowhere/at-all"] });
  assert.equal(ok, false);
  assert.match(output, /Cannot run "\/nowhere\/at-all"/);
});
