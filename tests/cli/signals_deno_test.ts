/** Signals reach the command of `elect run`, and end nothing that they should not. */

import { delay } from "@std/async";
import assert from "node:assert/strict";
import { constants } from "node:os";
import { childrenOf, eventually, isAlive, onEachRuntime, startOn, temporary } from "./elect.ts";

const PASSED: readonly Deno.Signal[] = [
  "SIGUSR1",
  "SIGUSR2",
  "SIGALRM",
  "SIGWINCH",
  "SIGCONT",
  "SIGTSTP",
  "SIGVTALRM",
  "SIGINT",
  "SIGTERM",
  "SIGHUP",
  "SIGQUIT",
];
/** Where runtimes open their inspectors. */
const INSPECTORS = [9229, 6499];

onEachRuntime("elect run passes every signal on to its command, and goes on", async (runtime) => {
  await using place = await temporary();
  const traps = PASSED.map((signal) => `trap 'echo got ${signal}' ${signal.slice(3)}`).join("; ");
  const script =
    `${traps}; echo up; i=0; while [ $i -lt 1200 ] && ! [ -e "$DONE" ]; do sleep 0.05; i=$((i+1)); done; exit 7`;
  const env = { ELECT_PROVIDER: place.url, DONE: `${place.path}/done` };
  await using running = await startOn(["run", "nightly", "--", "sh", "-c", script], { env, runtime });
  await running.said(/up/);
  for (const signal of PASSED) {
    running.kill(signal);
    await running.said(new RegExp(`got ${signal}\\n`));
  }
  await eventually(async () => (await Promise.all(INSPECTORS.map(isOpen))).every((open) => !open), "closed inspectors");
  await Deno.writeTextFile(env.DONE, "");
  const { code, stdout } = await running.finished();
  assert.equal(code, 7);
  assert.deepEqual(stdout.trim().split("\n"), ["up", ...PASSED.map((signal) => `got ${signal}`)]);
});

onEachRuntime(
  "the guard of elect run takes what is sent to all processes of a service for no concern of its own",
  async (runtime) => {
    await using place = await temporary();
    const script = 'echo up; while ! [ -e "$DONE" ]; do sleep 0.05; done; exit 7';
    const env = { ELECT_PROVIDER: place.url, DONE: `${place.path}/done` };
    await using running = await startOn(["run", "nightly", "--", "sh", "-c", script], { env, runtime });
    await running.said(/up/);
    const [guard = 0] = childrenOf(running.pid, "guard_process");
    for (const signal of [...PASSED, "SIGPROF", "SIGXCPU", "SIGIO"] as const) {
      Deno.kill(guard, signal);
      await eventually(() => hasTakenAll(guard), `${signal} to be taken`);
    }
    await eventually(
      async () => (await Promise.all(INSPECTORS.map(isOpen))).every((open) => !open),
      "closed inspectors",
    );
    assert.ok(isAlive(guard));
    await Deno.writeTextFile(env.DONE, "");
    assert.equal((await running.finished()).code, 7);
  },
);

onEachRuntime("elect run goes on waiting, when signals come that do not ask it to end", async (runtime) => {
  await using place = await temporary();
  const env = { ELECT_PROVIDER: place.url };
  await using leader = await startOn(["run", "nightly", "--", "sh", "-c", "echo up; sleep 60"], { env, runtime });
  await leader.said(/up/);
  await using waiting = await startOn(["run", "nightly", "--", "echo", "led"], { env, runtime });
  await waiting.said(/waits to lead "nightly": .* leads/, "stderr");
  for (const signal of PASSED.slice(0, 7)) waiting.kill(signal);
  leader.kill("SIGTERM");
  assert.equal((await leader.finished()).code, 143);
  const { code, stdout } = await waiting.finished();
  assert.deepEqual([code, stdout], [0, "led\n"]);
});

const NOHUP: Record<string, readonly string[]> = {
  // There nohup opens /dev/null for writing as the standard input.
  "at a terminal": ["sh", "-c", 'exec nohup "$@" 0>/dev/null', "sh"],
  "in a script": ["nohup", "sh", "-c", '"$@" & echo "pid $!"; wait $!', "sh"],
};
for (const [where, under] of Object.entries(NOHUP)) {
  onEachRuntime(`elect run and its command outlive a hang-up, under nohup ${where}`, async (runtime) => {
    await using place = await temporary();
    const env = { ELECT_PROVIDER: place.url, DONE: `${place.path}/done` };
    const script = 'echo "command $$"; while ! [ -e "$DONE" ]; do sleep 0.05; done; exit 7';
    await using running = await startOn(["run", "nightly", "--", "sh", "-c", script], { env, runtime, under });
    const command = Number((await running.said(/command (\d+)/))[1]);
    const elect = Number(/pid (\d+)/.exec(running.stdout)?.[1] ?? running.pid);
    for (const pid of [command, elect]) {
      Deno.kill(pid, "SIGHUP");
      await eventually(() => hasTakenAll(pid), "the signal to be taken");
    }
    await Deno.writeTextFile(env.DONE, "");
    assert.equal((await running.finished()).code, 7);
  });
}

onEachRuntime("elect leader ends with a signal that asks it to, also while its modules load", async (runtime) => {
  for (const delayMs of [0, 20, 60, 120, 250]) {
    await using place = await temporary();
    // A backend that never answers: nothing but the signal ends it within the time of this test.
    const module = `${place.path}/silent.ts`;
    await Deno.writeTextFile(
      module,
      `import { registerProvider } from "${new URL("../../mod.ts", import.meta.url)}";
      await new Promise((resolve) => setTimeout(resolve, 60_000));
      registerProvider({ name: "silent", protocols: ["silent:"], open: () => { throw new Error() } });`,
    );
    await using running = await startOn(["leader", "a", "--provider", "silent:", "--import", module], { runtime });
    await delay(delayMs);
    running.kill("SIGTERM");
    assert.equal((await running.finished()).code, 143);
  }
});

const UNSHARE = ["unshare", "--pid", "--fork", "--mount-proc", "--kill-child"];

onEachRuntime("elect run says that orphans need an init, when it is process 1", async (runtime) => {
  await using place = await temporary();
  const env = { ELECT_PROVIDER: place.url };
  // An orphan of the command's process group stays a zombie for ever: it must not be waited for.
  const script = "(sh -c 'exit 0' &); sleep 0.3; exit 7";
  await using running = await startOn(["run", "nightly", "--", "sh", "-c", script], { env, runtime, under: UNSHARE });
  const { code, stderr } = await running.finished();
  assert.equal(code, 7, stderr);
  assert.match(stderr, /is process 1.*docker run --init/);
});

onEachRuntime("elect run ends with a signal that comes while it starts as process 1", async (runtime) => {
  for (const delayMs of [0, 20, 100]) {
    await using place = await temporary();
    const env = { ELECT_PROVIDER: place.url };
    await using running = await startOn(["run", "nightly", "--", "sleep", "60"], { env, runtime, under: UNSHARE });
    const init = await eventually(() => childOf(running.pid), "process 1");
    // From then on nothing is lost, though most of the program is still to be loaded.
    await eventually(() => listens(init), "a process that listens");
    await delay(delayMs);
    Deno.kill(init, "SIGTERM");
    assert.equal((await running.finished()).code, 143);
  }
});

/** Whether no signal waits to be taken; an error if the process is no more. */
function hasTakenAll(pid: number): boolean {
  return /^ShdPnd:\t0+\n/m.test(Deno.readTextFileSync(`/proc/${pid}/status`));
}

/** Whether `elect` listens: to SIGTSTP last, which no runtime catches by itself as it does SIGTERM. */
function listens(pid: number): boolean {
  const [, caught = "0"] = /^SigCgt:\s*(\S+)$/m.exec(Deno.readTextFileSync(`/proc/${pid}/status`)) ?? [];
  return (BigInt(`0x${caught}`) & 1n << BigInt(constants.signals.SIGTSTP - 1)) !== 0n;
}

function childOf(pid: number): number | null {
  try {
    return Number(Deno.readTextFileSync(`/proc/${pid}/task/${pid}/children`).trim().split(" ")[0]) || null;
  } catch {
    return null;
  }
}

async function isOpen(port: number): Promise<boolean> {
  try {
    (await Deno.connect({ hostname: "127.0.0.1", port })).close();
    return true;
  } catch {
    return false;
  }
}
