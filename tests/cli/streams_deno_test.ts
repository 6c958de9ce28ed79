/** A reader of what `elect` says that goes away, or stands still, ends no leadership. */

import assert from "node:assert/strict";
import { commandLine, electOn, eventually, onEachRuntime, startOn, temporary } from "./elect.ts";

/** Every heartbeat is logged, so that something is written whoever reads. */
const TALKATIVE = ["--log-level", "debug", "--heartbeat-timeout", "2s", "--heartbeat-interval", "100ms"];

onEachRuntime("elect run and its command go on, when the reader of standard error goes away", async (runtime) => {
  await using place = await temporary();
  const [program = "", ...args] = [
    ...await commandLine(runtime),
    ...["run", "nightly", ...TALKATIVE, "--", "sh", "-c", 'touch "$UP"; sleep 3; exit 7'],
  ];
  const child = new Deno.Command(program, {
    args,
    env: { ELECT_PROVIDER: place.url, UP: `${place.path}/up` },
    stdin: "null",
    stdout: "null",
    stderr: "piped",
  }).spawn();
  await eventually(() => exists(`${place.path}/up`), "the command");
  await child.stderr.cancel();
  // The command lasts longer than its lease without heartbeats.
  assert.equal((await child.status).code, 7);
});

onEachRuntime("elect run and its command go on, when the reader of standard error stands still", async (runtime) => {
  await using place = await temporary();
  const env = { ELECT_PROVIDER: place.url, FIFO: `${place.path}/fifo`, ENDED: `${place.path}/ended` };
  // Standard error is a pipe that is full from the start, and that nobody reads.
  const full = 'mkfifo "$FIFO"; exec 3<>"$FIFO"; head -c 65536 /dev/zero >&3; exec "$@" 2>&3';
  const command = ["sh", "-c", 'sleep 4; echo "ended $?" > "$ENDED"; exit 7'];
  await using running = await startOn(["run", "nightly", ...TALKATIVE, "--", ...command], {
    env,
    runtime,
    under: ["sh", "-c", full, "sh"],
  });
  // Its leadership, and so its command, must outlast the lease of 2 s.
  await eventually(() => exists(env.ENDED), "the end of the command");
  assert.equal((await running.finished()).code, 7);
});

onEachRuntime("elect watch ends, when the reader of standard output has had enough", async (runtime) => {
  await using place = await temporary();
  const env = { ELECT_PROVIDER: place.url };
  await using watch = await startOn(["watch", "nightly"], {
    env,
    runtime,
    under: ["sh", "-c", '"$@" | head -n 1', "sh"],
  });
  await watch.said(/nobody leads/);
  await using _leader = await startOn(["run", "nightly", "--", "sleep", "60"], { env, runtime });
  assert.equal((await watch.finished()).code, 0);
});

onEachRuntime("elect says that its output cannot be written, and exits 74, when the disk is full", async (runtime) => {
  const full = { runtime, under: ["sh", "-c", 'exec "$@" >/dev/full', "sh"] };
  await using place = await temporary();
  for (const args of [["providers"], ["leader", "nightly"], ["--help"], ["completions", "bash"], ["manual"]]) {
    const { code, stderr } = await electOn(args, { ...full, env: { ELECT_PROVIDER: place.url } });
    assert.equal(code, 74, `elect ${args.join(" ")}: ${stderr}`);
    assert.match(stderr, /^elect: Cannot write the output: .*space.*\n$/);
  }
});

function exists(path: string): boolean {
  try {
    Deno.statSync(path);
    return true;
  } catch {
    return false;
  }
}
