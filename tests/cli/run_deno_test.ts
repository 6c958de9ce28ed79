import { delay } from "@std/async";
import assert from "node:assert/strict";
import {
  childrenOf,
  elect,
  electOn,
  eventually,
  isAlive,
  onEachRuntime,
  type Running,
  start,
  temporary,
} from "./elect.ts";

const HEARTBEAT_TIMEOUT_MS = 4_000;
const HEARTBEAT_INTERVAL_MS = 400;
const TIMING = ["--heartbeat-timeout", `${HEARTBEAT_TIMEOUT_MS}`, "--heartbeat-interval", `${HEARTBEAT_INTERVAL_MS}ms`];
/** Says who leads, and its process id, and goes on until it is ended; not for ever, should a test fail. */
const LEAD = 'echo "leader $ELECT_TOKEN pid $$"; sleep 60';
/** As above, and takes no notice of SIGTERM, but says so. */
const STUBBORN =
  `trap 'echo told to end' TERM; echo "leader $ELECT_TOKEN pid $$"; for i in $(seq 600); do sleep 0.05; done`;

/** Starts `elect run nightly` with a shell script as its command. */
function run(url: string, script: string, ...options: string[]): Running {
  return start(["run", "nightly", ...TIMING, ...options, "--", "sh", "-c", script], { env: { ELECT_PROVIDER: url } });
}

/** Waits until the command of one of them runs. */
async function leaderOf(contenders: Running[]): Promise<{ leader: Running; token: bigint; child: number }> {
  return await eventually(() => {
    for (const leader of contenders) {
      const match = leader.stdout.match(/leader (\d+) pid (\d+)/);
      if (match) return { leader, token: BigInt(match[1] ?? ""), child: Number(match[2]) };
    }
    return null;
  }, "a leader");
}

Deno.test("elect run hands over with a larger token and leaves no child, when the leader is killed or frozen", async () => {
  await using place = await temporary();
  await using one = run(place.url, LEAD);
  await using two = run(place.url, LEAD);
  await using three = run(place.url, LEAD);
  const all = [one, two, three];
  const first = await leaderOf(all);
  assert.equal(all.filter(({ stdout }) => stdout !== "").length, 1, "one leads");

  // Killed: the guard ends the child, and the file provider notices the death.
  let left = Date.now();
  first.leader.kill("SIGKILL");
  const others = all.filter((each) => each !== first.leader);
  const second = await leaderOf(others);
  // Sooner than the lease can have expired, however busy the machine is.
  const earliest = HEARTBEAT_TIMEOUT_MS - HEARTBEAT_INTERVAL_MS;
  assert.ok(Date.now() - left < earliest, `hand-off after ${Date.now() - left} ms`);
  assert.ok(second.token > first.token);
  await eventually(() => !isAlive(first.child), "the end of the killed leader's child");

  // Frozen: the lease has to expire, and the guard ends the child before that.
  left = Date.now();
  second.leader.kill("SIGSTOP");
  const third = await leaderOf(others.filter((each) => each !== second.leader));
  assert.ok(!isAlive(second.child), "the child of the frozen leader is gone before the next one runs");
  assert.ok(third.token > second.token);
  // One look after the expiry, which may take as long as its bounds.
  assert.ok(Date.now() - left < HEARTBEAT_TIMEOUT_MS + 10_000, `hand-off after ${Date.now() - left} ms`);
  second.leader.kill("SIGCONT");
  const { code, stderr } = await second.leader.finished();
  assert.equal(code, 75);
  assert.match(stderr, /lost leadership of "nightly"/);
  assert.ok(isAlive(third.child), "the next leader goes on");
  third.leader.kill("SIGTERM");
  assert.equal((await third.leader.finished()).code, 143);
});

Deno.test("elect run gives its command the term, and returns its exit code", async () => {
  await using place = await temporary();
  const script = 'echo "$ELECT_GROUP $ELECT_PARTICIPANT_ID $ELECT_TOKEN $ELECT_TERM_ID"; echo to stderr >&2; exit 7';
  await using running = run(place.url, script, "--id", "web-1");
  const { code, stdout, stderr } = await running.finished();
  assert.equal(code, 7);
  assert.match(stdout, /^nightly web-1 1 [0-9a-f]{8}-[0-9a-f-]{27}\n$/);
  assert.equal(stderr, "to stderr\n");
  await using signalled = run(place.url, "kill -USR1 $$");
  assert.equal((await signalled.finished()).code, 128 + 10);
  await using missing = start(["run", "nightly", "--", "no-such-program"], { env: { ELECT_PROVIDER: place.url } });
  assert.equal((await missing.finished()).code, 127);
});

Deno.test("elect run releases leadership and ends what its command has left running, when the command ends", async () => {
  await using place = await temporary();
  await using first = run(place.url, 'sleep 60 & echo "pid $!"; exit 0');
  const { code, stdout } = await first.finished();
  assert.equal(code, 0);
  assert.ok(!isAlive(Number(stdout.match(/pid (\d+)/)?.[1])));
  const { code: nobody } = await elect(["leader", "nightly"], { env: { ELECT_PROVIDER: place.url } });
  assert.equal(nobody, 1);
});

Deno.test("elect run passes SIGINT and SIGTERM on to its command, and waits for it", async () => {
  await using place = await temporary();
  for (const signal of ["SIGINT", "SIGTERM"] as const) {
    await using running = run(
      place.url,
      `trap 'echo tidy; exit 3' ${signal.slice(3)}; echo up; for i in $(seq 600); do sleep 0.05; done`,
    );
    await running.said(/up/);
    running.kill(signal);
    const { code, stdout } = await running.finished();
    assert.equal(code, 3);
    assert.equal(stdout, "up\ntidy\n");
  }
});

Deno.test("elect run answers SIGINT and SIGTERM while it waits, and never starts its command", async () => {
  await using place = await temporary();
  await using leader = run(place.url, LEAD);
  await leaderOf([leader]);
  for (const [signal, code] of [["SIGINT", 130], ["SIGTERM", 143]] as const) {
    await using waiting = run(place.url, "echo started");
    await waiting.said(/elect: waits to lead/, "stderr");
    waiting.kill(signal);
    const result = await waiting.finished();
    assert.equal(result.code, code, result.stderr);
    assert.equal(result.stdout, "");
  }
  leader.kill("SIGTERM");
  await leader.finished();
});

Deno.test("elect run ends its command with SIGTERM, then SIGKILL, and exits 75, when its leader is evicted", async () => {
  await using place = await temporary();
  await using running = run(place.url, STUBBORN);
  const { child } = await leaderOf([running]);
  const { code, stdout } = await elect(["evict", "nightly", "--yes"], { env: { ELECT_PROVIDER: place.url } });
  assert.equal(code, 0);
  assert.match(stdout, /next heartbeat/);
  assert.equal((await running.finished()).code, 75);
  assert.match(running.stdout, /told to end/);
  assert.ok(!isAlive(child));
});

Deno.test("elect run ends its command with SIGTERM, then SIGKILL, before its term ends, when the backend hangs", async () => {
  await using place = await temporary();
  const module = `${place.path}/hanging.ts`;
  await Deno.writeTextFile(
    module,
    `import { openProvider, registerProvider } from "${new URL("../../mod.ts", import.meta.url)}";
    const open = async () => {
      const inner = await openProvider("memory:hanging");
      return {
        name: "hanging",
        capabilities: inner.capabilities,
        acquire: (request, options) => inner.acquire(request, options),
        renew: () => new Promise(() => {}),
        release: (lease, options) => inner.release(lease, options),
        read: (group, options) => inner.read(group, options),
        healthCheck: (options) => inner.healthCheck(options),
        [Symbol.asyncDispose]: () => inner[Symbol.asyncDispose](),
      };
    };
    registerProvider({ name: "hanging", protocols: ["hanging:"], open });`,
  );
  const timing = ["--heartbeat-timeout", "3s", "--import", module, "--provider", "hanging:"];
  await using running = run(place.url, STUBBORN, ...timing);
  const { child } = await leaderOf([running]);
  const start = Date.now();
  await eventually(() => !isAlive(child), "the end of the command");
  // 3000 ms, less a thousandth for clocks and a tenth as safety margin, counted from before the lease was granted.
  assert.ok(Date.now() - start < 2_697, `the command ended ${Date.now() - start} ms after its start`);
  assert.match(running.stdout, /told to end/);
  assert.equal((await running.finished()).code, 75);
});

Deno.test("elect run --repeat campaigns again with a larger token, when leadership was lost", async () => {
  await using place = await temporary();
  await using running = run(place.url, LEAD, "--repeat", "--json");
  await leaderOf([running]);
  await elect(["evict", "nightly", "--yes"], { env: { ELECT_PROVIDER: place.url } });
  await running.said(/leader 2/);
  const events = running.stderr.trim().split("\n").map((line) => JSON.parse(line));
  assert.deepEqual(
    events.filter(({ event }) => ["elected", "lost"].includes(event)).map(({ event, token }) => [event, token]),
    [["elected", "1"], ["lost", undefined], ["elected", "2"]],
  );
  running.kill("SIGTERM");
  assert.equal((await running.finished()).code, 143);
});

Deno.test("elect run ends its command and exits 75, when its guard is killed", async () => {
  await using place = await temporary();
  await using running = run(place.url, STUBBORN);
  const { child } = await leaderOf([running]);
  const [guard = 0] = childrenOf(running.pid, "guard_process");
  Deno.kill(guard, "SIGKILL");
  assert.equal((await running.finished()).code, 75);
  assert.ok(!isAlive(child));
});

Deno.test("elect run leaves neither command nor guard behind, when it is killed before and after its command began", async () => {
  await using place = await temporary();
  for (const delayMs of [0, 150, 300]) {
    await using running = run(place.url, STUBBORN);
    const guard = await eventually(() => childrenOf(running.pid, "guard_process")[0], "the guard");
    await delay(delayMs);
    const commands = childrenOf(running.pid, "sh -c");
    running.kill("SIGKILL");
    await eventually(() => [guard, ...commands].every((pid) => !isAlive(pid)), "the end of guard and command");
  }
});

onEachRuntime("elect run gives its command the environment of elect", async (runtime) => {
  await using place = await temporary();
  // Some are no names for a shell: those of Java's settings, of the functions that bash exports, and worse.
  const own = {
    "--x": "1",
    "spring.url": "x y",
    "BASH_FUNC_f%%": "() { echo hi; }",
    "it's.$(a)": "'\"$x\n*",
    "a-b": "",
  };
  // Not through the options of a Deno command, which refuses such names.
  const under = ["env", ...Object.entries({ ...own, PLAIN: "$(b)" }).map(([name, value]) => `${name}=${value}`)];
  under.splice(1, 0, "--");
  const env = { ELECT_PROVIDER: place.url };
  const { code, stdout } = await electOn(["run", "nightly", "--", "cat", "/proc/self/environ"], {
    env,
    runtime,
    under,
  });
  assert.equal(code, 0);
  const lines = stdout.split("\0");
  for (const [name, value] of Object.entries({ ...own, PLAIN: "$(b)", ELECT_TOKEN: "1" })) {
    assert.ok(lines.includes(`${name}=${value}`), `${name} in ${stdout}`);
  }
  assert.ok(!lines.some((line) => /^(ELECT_KEPT|DENO_EXTRA)_/.test(line)), stdout);
});

Deno.test("elect run leaves nothing in the register of this host, when its command has ended", async () => {
  await using place = await temporary();
  const env = { ELECT_PROVIDER: place.url };
  const path = `${place.path}/leases/~commands`;
  const { code, stdout } = await elect(["run", "nightly", "--", "ls", path], { env });
  assert.equal(code, 0);
  assert.match(stdout, /^[0-9a-f.]+\n$/, "it is entered while it runs");
  assert.deepEqual(await Array.fromAsync(Deno.readDir(path)), []);
});

Deno.test("elect run says that no other sees its lease, when that is in its own memory", async () => {
  const { code, stdout, stderr } = await elect(["run", "nightly", "--provider", "memory:x", "--", "echo", "led"]);
  assert.deepEqual([code, stdout], [0, "led\n"]);
  assert.match(stderr, /^elect: keeps its lease in its own memory, where no other elect sees it.*\n$/);
});
