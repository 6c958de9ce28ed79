/** `elect run` for jobs: giving up, keeping the lease, and what it says meanwhile. */

import { delay } from "@std/async";
import assert from "node:assert/strict";
import { clockAhead } from "../servers/stepped_clock.ts";
import {
  elect,
  electOn,
  eventually,
  isAlive,
  onEachRuntime,
  type Running,
  start,
  startOn,
  temporary,
} from "./elect.ts";

const HOLD = ["--", "sh", "-c", "echo up; sleep 60"];

onEachRuntime(
  "elect run --no-wait and --wait give up with the exit code for it, when somebody leads",
  async (runtime) => {
    await using place = await temporary();
    const setting = { env: { ELECT_PROVIDER: place.url }, runtime };
    await using leader = await startOn(["run", "a", "--id", "web-1", ...HOLD], setting);
    await leader.said(/up/);
    const giveUp = async (...options: string[]) => {
      const { code, stdout, stderr } = await electOn(["run", "a", ...options, "--", "echo", "led"], setting);
      assert.equal(stdout, "");
      assert.match(stderr, /does not wait to lead "a" any longer: web-1 leads/);
      return code;
    };
    assert.equal(await giveUp("--no-wait"), 1);
    assert.equal(await giveUp("--wait", "0"), 1);
    assert.equal(await giveUp("--wait", "200ms"), 1);
    assert.equal(await giveUp("--no-wait", "--conflict-exit-code", "0"), 0);
    assert.equal(await giveUp("--wait", "200ms", "--conflict-exit-code", "255"), 255);
    // One that waits long enough leads.
    await using waiting = await startOn(["run", "a", "--wait", "1m", "--", "echo", "led"], setting);
    await waiting.said(/waits to lead "a": web-1 leads/, "stderr");
    leader.kill("SIGTERM");
    assert.deepEqual([(await waiting.finished()).code, waiting.stdout], [0, "led\n"]);
    assert.deepEqual(await electOn(["run", "a", "--no-wait", "--", "echo", "led"], setting), {
      code: 0,
      stdout: "led\n",
      stderr: "",
    });
  },
);

Deno.test("elect run --no-wait exits 69, when there is nobody to ask", async () => {
  const env = { ELECT_PROVIDER: "redis://127.0.0.1:1" };
  const { code, stdout } = await elect(["run", "a", "--no-wait", "--", "echo", "led"], { env });
  assert.deepEqual([code, stdout], [69, ""]);
});

Deno.test("elect run --wait does not end a command that has begun", async () => {
  await using place = await temporary();
  const env = { ELECT_PROVIDER: place.url };
  const { code } = await elect(["run", "a", "--wait", "500ms", "--", "sh", "-c", "sleep 1.5; exit 7"], { env });
  assert.equal(code, 7);
});

Deno.test("elect run --at-least keeps the lease after its command has ended, and a signal ends that", async () => {
  await using place = await temporary();
  const env = { ELECT_PROVIDER: place.url };
  const args = ["run", "a", "--at-least", "1h", "--heartbeat-timeout", "2s", "--", "sh", "-c", "echo done; exit 7"];
  await using running = start(args, { env });
  await running.said(/done/);
  // Longer than the lease lives without heartbeats.
  for (const end = Date.now() + 3_000; Date.now() < end;) {
    assert.equal((await elect(["run", "a", "--no-wait", "--", "echo", "led"], { env })).code, 1);
  }
  running.kill("SIGTERM");
  assert.equal((await running.finished()).code, 7);
  assert.equal((await elect(["leader", "a"], { env })).code, 1);

  const begun = Date.now();
  assert.equal((await elect(["run", "a", "--at-least", "2s", "--", "true"], { env })).code, 0);
  assert.ok(Date.now() - begun >= 2_000);
});

onEachRuntime(
  "one cron line on three hosts runs the job once, at the same second and with clocks a second apart",
  async (runtime) => {
    for (const apart of [0, 1]) {
      await using place = await temporary();
      const hosts: Running[] = [];
      try {
        // Each begins when it is the same time by its own clock: the one that is ahead comes first.
        for (const ahead of [apart, 0, -apart]) {
          const env = { ELECT_PROVIDER: place.url, ...(ahead !== 0 && await clockAhead(ahead)) };
          const line = ["run", "nightly", "--no-wait", "--at-least", "1h", "--", "sh", "-c", "echo ran at $(date +%s)"];
          hosts.push(await startOn(line, { env, runtime }));
          await delay(apart * 1_000);
        }
        const losers = await eventually(async () => {
          const ended = hosts.filter(({ pid }) => !isAlive(pid));
          return ended.length === 2 && await Promise.all(ended.map((host) => host.finished()));
        }, () => `two hosts that give up: ${hosts.map(({ stdout, stderr }) => stdout + stderr)}`);
        assert.deepEqual(losers.map(({ code, stdout }) => [code, stdout]), [[1, ""], [1, ""]]);
        const winner = hosts.find(({ pid }) => isAlive(pid)) ?? assert.fail("one host must keep the lease");
        await winner.said(/^ran at \d+\n$/);
        winner.kill("SIGTERM");
        assert.equal((await winner.finished()).code, 0);
      } finally {
        for (const host of hosts) await host[Symbol.asyncDispose]();
      }
    }
  },
);

Deno.test("elect run says once whom it waits for, as an event with --json, and nothing with --log-level none", async () => {
  await using place = await temporary();
  const env = { ELECT_PROVIDER: place.url };
  await using leader = start(["run", "a", "--id", "web-1", "--repeat", ...HOLD], { env });
  await leader.said(/up/);
  await using json = start(["run", "a", "--json", ...HOLD], { env });
  await json.said(/"event":"waiting"/, "stderr");
  const event = JSON.parse(json.stderr.trim());
  assert.deepEqual([event.event, event.leaderId, event.electionGroup], ["waiting", "web-1", "a"]);
  const { stderr } = await elect(["run", "a", "--wait", "200ms", "--log-level", "none", ...HOLD], { env });
  assert.equal(stderr, "");
  // Evicted, the first waits in its turn, and says so; evicted again after that, it does not.
  await elect(["evict", "a", "--yes"], { env });
  await json.said(/up/);
  await eventually(() => /waits to lead "a"/.test(leader.stderr), "who waits");
});

Deno.test("elect run says that its leases count for this machine and user only, when no provider is given", async () => {
  await using place = await temporary();
  const env = { XDG_STATE_HOME: place.path, HOME: place.path, ELECT_PROVIDER: "" };
  const { stderr } = await elect(["run", "a", "--", "true"], { env });
  // Deno tells that its own cache is empty, in this home.
  const said = (text: string) => text.split("\n").filter((line) => line.startsWith("elect: "));
  const lines = said(stderr);
  assert.equal(lines.length, 1, stderr);
  assert.match(
    lines[0] ?? "",
    /its lease is kept in file:.*this machine and this user only; --provider or ELECT_PROVIDER/,
  );
  const given = await elect(["run", "a", "--", "true"], { env: { ...env, ELECT_PROVIDER: place.url } });
  assert.deepEqual(said(given.stderr), []);
});
