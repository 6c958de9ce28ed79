import assert from "node:assert/strict";
import { childrenOf, elect, eventually, isAlive, start, temporary } from "./elect.ts";

Deno.test("elect demo shows two hand-offs under growing tokens, within 20 seconds", async () => {
  const start = Date.now();
  const { code, stdout, stderr } = await elect(["demo", "--json"], { env: { ELECT_PROVIDER: "" } });
  assert.equal(code, 0, stdout + stderr);
  assert.ok(Date.now() - start < 20_000);
  const events = stdout.trim().split("\n").map((line) => JSON.parse(line));
  assert.deepEqual(
    events.map(({ event }) => event),
    ["entered", "entered", "entered", "leads", "killed", "leads", "stopped", "leads", "verdict"],
  );
  const reigns = events.filter(({ event }) => event === "leads");
  assert.deepEqual(reigns.map(({ token }) => token), ["1", "2", "3"]);
  assert.equal(new Set(reigns.map(({ participantId }) => participantId)).size, 3);
  for (const { handOffMs } of reigns.slice(1)) assert.ok(handOffMs > 0, `${handOffMs} ms`);
});

Deno.test("elect demo lets nobody hand over, before all have entered", async () => {
  await using directory = await temporary();
  const [module, late] = [`${directory.path}/late.ts`, 2_000];
  // The demo loads it first, then its participants do; the last of them takes its time.
  await Deno.writeTextFile(
    module,
    `for (let nth = 0;; nth++) {
      try {
        Deno.mkdirSync(import.meta.dirname + "/" + nth);
      } catch {
        continue;
      }
      if (nth === 3) await new Promise((resolve) => setTimeout(resolve, ${late}));
      break;
    }`,
  );
  const { code, stdout, stderr } = await elect(["demo", "--json", "--import", module], { env: { ELECT_PROVIDER: "" } });
  assert.equal(code, 0, stdout + stderr);
  const events = stdout.trim().split("\n").map((line) => JSON.parse(line));
  assert.deepEqual(events.slice(0, 4).map(({ event }) => event), ["entered", "entered", "entered", "leads"]);
  assert.ok(events[2].at >= late / 1_000, stdout);
});

Deno.test("elect demo leaves no participant behind, when it is interrupted or killed", async () => {
  for (const signal of ["SIGINT", "SIGKILL"] as const) {
    await using demo = start(["demo"], { env: { ELECT_PROVIDER: "" } });
    await demo.said(/leads under token/);
    const participants = childrenOf(demo.pid, "demo_participant");
    assert.equal(participants.length, 3);
    demo.kill(signal);
    await eventually(() => participants.every((pid) => !isAlive(pid)), "the end of the participants");
    if (signal === "SIGINT") assert.equal((await demo.finished()).code, 130);
  }
});
