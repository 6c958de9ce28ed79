/** What a killed `elect run` leaves behind has ended, before the next one of the host begins its command. */

import { delay } from "@std/async";
import assert from "node:assert/strict";
import { elect as enter } from "../../mod.ts";
import { childrenOf, eventually, isAlive, onEachRuntime, type Running, startOn, temporary } from "./elect.ts";

/**
 * Says which process of an earlier command is alive, leaves two of its own that are deaf to SIGTERM, and says that it
 * leads. A process that nobody has mourned yet is not alive.
 */
const SCRIPT = `
  for pid in $(cat "$PIDS" 2>/dev/null); do
    case $(cat /proc/$pid/stat 2>/dev/null) in ""|*") Z"*) ;; *) echo "overlaps with $pid" ;; esac
  done
  trap '' TERM
  echo $$ >> "$PIDS"
  (i=0; while [ $i -lt 1200 ]; do sleep 0.05; i=$((i+1)); done) &
  echo $! >> "$PIDS"
  echo "leader $ELECT_TOKEN pid $$"
  wait`;
const LEASE_MS = 3_000;

/** What is done to the leader of the first term, and to its guard. */
const ENDS: Readonly<Record<string, (elect: number, guard: number) => void>> = {
  "elect is killed": (elect) => Deno.kill(elect, "SIGKILL"),
  "elect and its guard are killed": (elect, guard) => {
    Deno.kill(guard, "SIGKILL");
    Deno.kill(elect, "SIGKILL");
  },
  "elect is killed and its guard stopped": (elect, guard) => {
    Deno.kill(guard, "SIGSTOP");
    Deno.kill(elect, "SIGKILL");
  },
  "elect and its guard are stopped": (elect, guard) => {
    Deno.kill(guard, "SIGSTOP");
    Deno.kill(elect, "SIGSTOP");
  },
};

for (const [what, end] of Object.entries(ENDS)) {
  onEachRuntime(
    `elect run begins its command when that of an earlier term has ended, when ${what}`,
    async (runtime) => {
      await using place = await temporary();
      const env = { ELECT_PROVIDER: place.url, PIDS: `${place.path}/pids` };
      const args = ["run", "nightly", "--heartbeat-timeout", `${LEASE_MS}`, "--", "sh", "-c", SCRIPT];
      await using first = await startOn(args, { env, runtime });
      await first.said(/leader 1 pid/);
      await using second = await startOn(args, { env, runtime });
      await second.said(/waits to lead/, "stderr");
      const guard = guardOf(first);
      try {
        end(first.pid, guard);
        await second.said(/leader \d+ pid/);
        assert.doesNotMatch(second.stdout, /overlaps/);
      } finally {
        if (isAlive(guard)) Deno.kill(guard, "SIGKILL");
      }
    },
  );
}

onEachRuntime("elect run ends its command without its guard's help, when the guard is stopped", async (runtime) => {
  await using place = await temporary();
  const env = { ELECT_PROVIDER: place.url, PIDS: `${place.path}/pids` };
  const args = ["run", "nightly", "--heartbeat-timeout", `${LEASE_MS}`, "--", "sh", "-c", SCRIPT];
  await using leader = await startOn(args, { env, runtime });
  const child = Number((await leader.said(/leader 1 pid (\d+)/))[1]);
  Deno.kill(guardOf(leader), "SIGSTOP");
  await using evict = await startOn(["evict", "nightly", "--yes"], { env, runtime });
  assert.equal((await evict.finished()).code, 0);
  assert.equal((await leader.finished()).code, 75);
  assert.ok(!isAlive(child));
});

onEachRuntime(
  "elect run exits 75, when the next one of its host has ended its command before it knew",
  async (runtime) => {
    await using place = await temporary();
    const env = { ELECT_PROVIDER: place.url, PIDS: `${place.path}/pids` };
    // The evicted leader learns nothing from its heartbeats within the time of this test.
    const timing = ["--heartbeat-timeout", "200s", "--heartbeat-interval", "60s"];
    await using first = await startOn(["run", "nightly", ...timing, "--", "sh", "-c", "echo up; sleep 60"], {
      env,
      runtime,
    });
    await first.said(/up/);
    await using second = await startOn(["run", "nightly", ...timing, "--", "sh", "-c", SCRIPT], { env, runtime });
    await second.said(/waits to lead/, "stderr");
    await using evict = await startOn(["evict", "nightly", "--yes"], { env, runtime });
    assert.equal((await evict.finished()).code, 0);
    await second.said(/leader 2 pid/);
    assert.equal((await first.finished()).code, 75);
  },
);

Deno.test("a participant of the library leads when the guard of a killed elect has ended, and not before", async () => {
  await using place = await temporary();
  const env = { ELECT_PROVIDER: place.url, PIDS: `${place.path}/pids` };
  const args = ["run", "nightly", "--heartbeat-timeout", "100s", "--", "sh", "-c", SCRIPT];
  await using leader = await startOn(args, { env });
  await leader.said(/leader 1 pid/);
  const pids = (await Deno.readTextFile(env.PIDS)).trim().split("\n").map(Number);
  const guard = guardOf(leader);
  await using follower = await enter(place.url, { electionGroup: "nightly", electionInterval: "100ms" });
  Deno.kill(guard, "SIGSTOP");
  leader.kill("SIGKILL");
  await eventually(() => !isAlive(leader.pid), "the end of elect");
  // Several looks later, the death of elect is known, and the command lives.
  for (let look = 0; look < 5; look++) {
    assert.equal((await follower.tryAcquireLeadership()).outcome, "held");
    await delay(100);
  }
  assert.ok(pids.every(isAlive));
  Deno.kill(guard, "SIGCONT");
  await follower.waitForLeadership();
  assert.ok(pids.every((pid) => !isAlive(pid)));
});

onEachRuntime("the command of an elect that is killed while it waits never begins", async (runtime) => {
  await using place = await temporary();
  const env = { ELECT_PROVIDER: place.url };
  await using leader = await startOn(["run", "nightly", "--", "sh", "-c", "echo up; sleep 60"], { env, runtime });
  await leader.said(/up/);
  const touch = ["sh", "-c", "echo began"];
  await using waiting = await startOn(["run", "nightly", "--", ...touch], { env, runtime });
  await waiting.said(/waits to lead/, "stderr");
  waiting.kill("SIGKILL");
  // Its streams end when nobody has them any more: neither its guard nor what waited to become the command.
  await waiting.finished();
  assert.equal(waiting.stdout, "");
});

Deno.test("the guard ends only when nothing of its command is alive, when elect is killed", async () => {
  await using place = await temporary();
  const env = { ELECT_PROVIDER: place.url, PIDS: `${place.path}/pids` };
  await using leader = await startOn(["run", "nightly", "--", "sh", "-c", SCRIPT], { env });
  await leader.said(/leader 1 pid/);
  const pids = (await Deno.readTextFile(env.PIDS)).trim().split("\n").map(Number);
  const guard = guardOf(leader);
  leader.kill("SIGKILL");
  await eventually(() => {
    // In this order: what is alive after the guard has been seen dead, was so when it died.
    const over = !isAlive(guard);
    assert.ok(!over || pids.every((pid) => !isAlive(pid)), "the guard ended first");
    return over;
  }, "the end of the guard");
});

function guardOf(running: Running): number {
  const [guard] = childrenOf(running.pid, "guard_process");
  if (guard === undefined) throw new Error("there is no guard");
  return guard;
}
