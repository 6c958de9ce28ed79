/** The question of `elect evict`, and the chart of `elect watch`, on a real terminal. */

import assert from "node:assert/strict";
import { commandLine, electOn, onEachRuntime, startOn, temporary } from "./elect.ts";
import { drawChart } from "../../cli/chart.ts";
import { openTerminal } from "./terminal.ts";

/** What is typed at the question, the exit code, and who leads afterwards. */
const ANSWERS: readonly [keys: string[], code: number, evicted: boolean][] = [
  [["C-c"], 130, false],
  [["C-d"], 130, false],
  [["n", "Enter"], 0, false],
  [["Enter"], 0, false],
  [["y", "e", "BSpace", "BSpace", "Enter"], 0, false],
  [["y", "Enter"], 0, true],
];

onEachRuntime("elect evict asks, and does nothing unless the answer is yes", async (runtime) => {
  await using place = await temporary();
  await using terminal = await openTerminal();
  await using leader = await startOn(["run", "t", "--", "sh", "-c", "echo up; sleep 100"], {
    env: { ELECT_PROVIDER: place.url },
    runtime,
  });
  await leader.said(/up/);
  const command = (await commandLine(runtime)).map((word) => `'${word}'`).join(" ");
  for (const [nth, [keys, code, evicted]] of ANSWERS.entries()) {
    // The exit code in quotes, so that the echo of the line is not taken for it.
    await terminal.type([`ELECT_PROVIDER='${place.url}' ${command} evict t; echo end''${nth}=$?`, "Enter"]);
    await terminal.shows(new RegExp(`(\\[y/N\\][^]*){${nth + 1}}`));
    await terminal.type(keys);
    const [, shown] = await terminal.shows(new RegExp(`end${nth}=(\\d+)`));
    assert.equal(Number(shown), code, `after ${keys}`);
    const { code: nobody } = await electOn(["leader", "t"], { env: { ELECT_PROVIDER: place.url }, runtime });
    assert.equal(nobody === 1, evicted, `after ${keys}`);
  }
});

onEachRuntime(
  "elect watch --chart draws who leads each group, and a lease that drains and is renewed",
  async (runtime) => {
    await using place = await temporary();
    await using terminal = await openTerminal();
    const env = { ELECT_PROVIDER: place.url };
    const args = ["run", "t", "--id", "web-1", "--heartbeat-timeout", "3s", "--", "sh", "-c", "echo up; sleep 100"];
    await using leader = await startOn(args, { env, runtime });
    await leader.said(/up/);
    const command = (await commandLine(runtime)).map((word) => `'${word}'`).join(" ");
    await terminal.type([`ELECT_PROVIDER='${place.url}' ${command} watch t other --chart; echo end''=$?`, "Enter"]);
    const line = /^t {6,}web-1 \(1\) {2,}[\u2588\u2591]{40} {2,}(\d\.\d) s left, in term for \d+ s$/m;
    await terminal.shows(line);
    await terminal.shows(/^other {2,}nobody leads {2}\u2591{40}$/m);
    const left: number[] = [];
    const rises = () => left.filter((each, at) => each > (left[at - 1] ?? Infinity)).length;
    while (rises() < 2 || left.length < 6) {
      const [, seconds] = await terminal.shows(line);
      if (Number(seconds) !== left.at(-1)) left.push(Number(seconds));
    }
    leader.kill("SIGTERM");
    await terminal.shows(/^t {6,}nobody leads/m);
    await terminal.type(["C-c"]);
    await terminal.shows(/end=0/);
  },
);

Deno.test("elect watch --chart prints lines, of several groups too, where there is no terminal", async () => {
  await using place = await temporary();
  const env = { ELECT_PROVIDER: place.url };
  await using watcher = await startOn(["watch", "a", "b", "--chart"], { env });
  await watcher.said(/^\S+Z {2}nobody leads a$/m);
  await watcher.said(/^\S+Z {2}nobody leads b$/m);
  await using _leader = await startOn(["run", "b", "--id", "web-1", "--", "sleep", "60"], { env });
  await watcher.said(/^\S+Z {2}web-1 leads b under token 1/m);
  watcher.kill("SIGTERM");
  assert.equal((await watcher.finished()).code, 0);
  assert.ok(!watcher.stdout.includes("\x1b"), "no control sequences");
});

Deno.test("drawChart() fits the terminal, and spells out what would drive it", () => {
  const leader = {
    leaderId: "web\x1b[31m",
    termId: "1",
    token: 7n,
    leadershipAcquiredAt: new Date(0),
    lastHeartbeat: null,
    metadata: {},
    expiresIn: 5_000,
  };
  const row = { group: "g", leader, leaseMs: 10_000, termMs: 3_700_000, error: undefined };
  const [line = ""] = drawChart([row], 100);
  assert.equal(
    line,
    `g  web\\u001b[31m (7)  ${"\u2588".repeat(20)}${"\u2591".repeat(20)}    5.0 s left, in term for 1 h 1 min`,
  );
  for (const columns of [1, 20, 60, 79]) assert.ok((drawChart([row], columns)[0] ?? "").length <= columns);
  assert.match(drawChart([{ ...row, leader: { ...leader, expiresIn: null } }], 100)[0] ?? "", /\) {44,}in term for/);
  assert.match(drawChart([{ ...row, error: "no answer" }], 100)[0] ?? "", /no answer$/);
});
