/** `elect transfer`, and commands that hold back so that others lead first. */

import assert from "node:assert/strict";
import { elect, electOn, onEachRuntime, startOn, temporary } from "./elect.ts";

const HOLD = [
  "--repeat",
  "--heartbeat-timeout",
  "2s",
  "--",
  "sh",
  "-c",
  "echo up $ELECT_PARTICIPANT_ID; exec sleep 60",
];

onEachRuntime(
  "elect transfer hands over to the one that it names, and --campaign-delay holds back",
  async (runtime) => {
    await using place = await temporary();
    const setting = { env: { ELECT_PROVIDER: place.url }, runtime };
    await using first = await startOn(["run", "a", "--id", "web-1", ...HOLD], setting);
    await first.said(/up web-1/);
    // There first, and would hear of every release first.
    await using spare = await startOn(["run", "a", "--id", "spare", "--campaign-delay", "4s", ...HOLD], setting);
    await spare.said(/waits to lead "a": web-1 leads/, "stderr");
    await using second = await startOn(["run", "a", "--id", "web-2", ...HOLD], setting);
    await second.said(/waits to lead "a": web-1 leads/, "stderr");

    const toSpare = await electOn(["transfer", "a", "--to", "spare", "--yes"], setting);
    assert.deepEqual([toSpare.code, toSpare.stdout], [0, "spare leads a\n"], toSpare.stderr);
    await spare.said(/up spare/);
    const again = await electOn(["transfer", "a", "--to", "spare", "--yes", "--json"], setting);
    assert.equal(again.code, 0);
    const { outcome, leaderId } = JSON.parse(again.stdout);
    assert.deepEqual([outcome, leaderId], ["transferred", "spare"]);

    // Somebody who is not there does not lead; within two seconds nobody else does.
    const toNobody = await electOn(["transfer", "a", "--to", "nobody", "--yes"], setting);
    assert.equal(toNobody.code, 1);
    assert.match(toNobody.stdout, /^(web-1|web-2|spare) leads a\n$|^nobody leads a\n$/);

    // The leader's death leaves the lease to whoever does not hold back.
    spare.kill("SIGTERM");
    await spare.finished();
  },
);

Deno.test("elect transfer says what is missing, or malformed, or that nobody leads", async () => {
  await using place = await temporary();
  const env = { ELECT_PROVIDER: place.url };
  const usage = async (args: string[], what: RegExp) => {
    const { code, stderr } = await elect(["transfer", ...args], { env });
    assert.equal(code, 64);
    assert.match(stderr, what);
  };
  await usage(["a", "--yes"], /--to says which participant/);
  await usage(["a", "--to", "web-2"], /--yes is required/);
  await usage(["a", "--to", "no good", "--yes"], /Cannot use --to.*must match/);
  await usage(["--to", "web-2", "--yes"], /needs the name of an election group/);
  const { code, stdout } = await elect(["transfer", "a", "--to", "web-2", "--yes"], { env });
  assert.deepEqual([code, stdout], [1, "nobody leads a\n"]);
  const { code: refused, stderr } = await elect(["run", "a", "--campaign-delay", "soon", "--", "true"], { env });
  assert.equal(refused, 64);
  assert.match(stderr, /--campaign-delay/);
});
