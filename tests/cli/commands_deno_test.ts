import assert from "node:assert/strict";
import { logTo } from "../../cli/output.ts";
import { VirtualClock } from "../../testing/virtual_clock.ts";
import { CARDS } from "../../providers/catalog.ts";
import { elect, eventually, start, temporary } from "./elect.ts";

/** Parses output of one JSON object per line. */
function objects(stdout: string): Record<string, unknown>[] {
  return stdout.trim().split("\n").map((line) => JSON.parse(line));
}

Deno.test("elect leader, groups, watch and evict tell of one leader from its election to its end", async () => {
  await using place = await temporary();
  const env = { ELECT_PROVIDER: place.url };
  assert.deepEqual(await elect(["leader", "nightly"], { env }), {
    code: 1,
    stdout: "nobody leads nightly\n",
    stderr: "",
  });

  await using watcher = start(["watch", "nightly", "--json"], { env });
  await watcher.said(/"current":null/);
  await using _leader = start(
    ["run", "nightly", "--id", "web-1", "--metadata", "zone=a", "--metadata", "say=x=\x1b[31m", "--", "sleep", "60"],
    { env },
  );
  await watcher.said(/"leaderId":"web-1"/);

  const shown = await elect(["leader", "nightly"], { env });
  assert.equal(shown.code, 0);
  assert.match(
    shown.stdout,
    /^web-1 leads nightly under token 1, since .*Z, expires in \d+\.\d s zone=a say=x=\\u001b\[31m\n$/,
  );
  const [info] = objects((await elect(["leader", "nightly", "--json"], { env })).stdout);
  assert.equal(info?.["electionGroup"], "nightly");
  assert.equal(info?.["leaderId"], "web-1");
  assert.equal(info?.["token"], "1");
  assert.deepEqual(info?.["metadata"], { zone: "a", say: "x=\x1b[31m" });
  assert.match((await elect(["groups"], { env })).stdout, /^web-1 leads nightly under token 1/);

  const [evicted] = objects((await elect(["evict", "nightly", "--yes", "--json"], { env })).stdout);
  assert.equal(evicted?.["outcome"], "released");
  assert.equal(evicted?.["leaderId"], "web-1");
  assert.match((await elect(["evict", "nightly", "--yes"], { env })).stdout, /^nobody leads nightly/);

  await watcher.said(/"leaderId":"web-1"[^]*"current":null/);
  watcher.kill("SIGINT");
  assert.equal((await watcher.finished()).code, 0);
  const seen = objects(watcher.stdout).map(({ current }) => (current as { token?: string } | null)?.token ?? null);
  assert.deepEqual(seen, [null, "1", null]);
});

Deno.test("elect check tells the round trip and the numbers of the timing", async () => {
  await using place = await temporary();
  const { code, stdout } = await elect(["check", "--heartbeat-timeout", "6s"], { env: { ELECT_PROVIDER: place.url } });
  assert.equal(code, 0);
  assert.match(stdout, /^provider {4}file at file:/);
  assert.match(stdout, /round trip {2}[\d.]+ ms/);
  assert.match(stdout, /2000 \+ 2000 < 5394 ms: holds, with 1394 ms to spare/);
});

Deno.test("elect check redacts the password of its provider's URL", async () => {
  const { code, stderr } = await elect(["check", "--provider", "redis://user:secret@127.0.0.1:1"]);
  assert.equal(code, 69);
  assert.doesNotMatch(stderr, /secret/);
});

Deno.test("elect providers lists every provider of the package, and those that --import brings", async () => {
  await using place = await temporary();
  const module = `${place.path}/third_party.ts`;
  const core = new URL("../../mod.ts", import.meta.url);
  await Deno.writeTextFile(
    module,
    `import { openProvider, registerProvider } from "${core}";
    registerProvider({ name: "third-party", protocols: ["third:"], open: () => openProvider("memory:third") });`,
  );
  const { code, stdout } = await elect(["providers", "--json", "--import", module]);
  assert.equal(code, 0);
  const listed = new Map(objects(stdout).map(({ name, capabilities }) => [name, capabilities]));
  for (const { name } of CARDS) {
    assert.ok(listed.get(name), `${name} and its capabilities among ${stdout}`);
  }
  assert.ok(listed.has("third-party"));
  const used = await elect(["--import", module, "--provider=third://x", "run", "a", "--", "echo", "led"]);
  assert.deepEqual(used, { code: 0, stdout: "led\n", stderr: "" });
});

Deno.test("elect bench measures each operation", async () => {
  await using place = await temporary();
  const { code, stdout } = await elect(["bench", "--rounds", "5", "--json"], { env: { ELECT_PROVIDER: place.url } });
  assert.equal(code, 0);
  const rows = objects(stdout);
  assert.deepEqual(rows.map(({ operation }) => operation), ["acquire won", "acquire lost", "heartbeat", "release"]);
  for (const { p50, p99 } of rows) assert.ok(Number(p50) > 0 && Number(p99) >= Number(p50));
});

Deno.test("elect keeps its leases in the user's state directory, when no provider is given", async () => {
  await using place = await temporary();
  const env = { XDG_STATE_HOME: place.path, HOME: place.path, LOCALAPPDATA: place.path, ELECT_PROVIDER: "" };
  assert.equal((await elect(["run", "a", "--", "true"], { env })).code, 0);
  const { stdout } = await elect(["check", "--json"], { env });
  assert.ok(String(objects(stdout)[0]?.["target"]).startsWith(`file://${place.path}/`));
});

Deno.test("elect groups shows the other groups, and exits 69, when the record of one cannot be read", async () => {
  await using place = await temporary();
  const env = { ELECT_PROVIDER: place.url };
  for (const group of ["a", "z"]) assert.equal((await elect(["run", group, "--", "true"], { env })).code, 0);
  await Deno.mkdir(`${place.path}/leases/inbox`);
  await Deno.writeTextFile(`${place.path}/leases/inbox/3`, "From: somebody");
  const { code, stdout, stderr } = await elect(["groups"], { env });
  assert.deepEqual([code, stdout], [69, "nobody leads a\nnobody leads z\n"]);
  assert.match(stderr, /^elect: inbox: .*inbox.3 is not a record of this group.*\n$/);
  const inJson = await elect(["groups", "--json"], { env });
  assert.deepEqual(objects(inJson.stdout).map(({ electionGroup }) => electionGroup), ["a", "z"]);
  assert.deepEqual(objects(inJson.stderr).map(({ electionGroup }) => electionGroup), ["inbox"]);
});

Deno.test("elect spells out the control characters of a record, whichever command shows it", async () => {
  await using place = await temporary();
  const env = { ELECT_PROVIDER: place.url };
  await using leader = start(["run", "a", "--id", "web-1", "--", "sleep", "60"], { env });
  await eventually(async () => (await elect(["leader", "a"], { env })).code === 0, "a leader");
  const path = `${place.path}/leases/a/1`;
  const record = (await Deno.readTextFile(path)).replace('"web-1"', JSON.stringify("web\x1b[31m"));
  // In place, so that its holder stays the one that beats.
  await Deno.writeTextFile(path, record);
  for (const args of [["leader", "a"], ["groups"], ["evict", "a", "--yes"]]) {
    const { code, stdout } = await elect(args, { env });
    assert.equal(code, 0);
    assert.match(stdout, /web\\u001b\[31m/, args.join(" "));
  }
  leader.kill("SIGTERM");
  await leader.finished();
});

/** What is logged, and what of it may be seen. */
const LOGGED: Record<string, unknown> = {
  token: 7n,
  url: new URL("redis://app:s3cret@localhost"),
  metadata: { say: "token=abc", list: ["password=s3cret and more"], 'k"': 'pwd="s3cret" more' },
  error: new Error('Cannot use "Server=h;Password=s3cret": no'),
  gone: undefined,
};

Deno.test("logTo() writes a warning that comes again once a minute, with a count, and each other one at once", () => {
  const clock = new VirtualClock();
  const said: string[] = [];
  const logger = logTo({ isTTY: false, write: (text) => said.push(text) > 0 }, "warn", false, clock);
  const warn = (error: string, electionGroup = "a") => logger.warn("a look failed", { electionGroup, error });
  for (let i = 0; i < 5; i++) warn("refused");
  warn("refused", "b");
  warn("denied");
  warn("refused");
  clock.jump(60_000);
  warn("refused");
  assert.deepEqual(said, [
    "elect: warn: a look failed electionGroup=a error=refused\n",
    "elect: warn: a look failed electionGroup=b error=refused\n",
    "elect: warn: a look failed electionGroup=a error=denied\n",
    "elect: warn: a look failed electionGroup=a error=refused again=5\n",
  ]);
  const all = logTo({ isTTY: false, write: (text) => said.push(text) > 0 }, "debug", false, clock);
  for (let i = 0; i < 3; i++) all.warn("a look failed", {});
  assert.equal(said.length, 7);
});

for (const json of [true, false]) {
  Deno.test(`logTo() hides secrets, and neither fencing tokens nor what ends a line${json ? " of JSON" : ""}`, () => {
    const said: string[] = [];
    const logger = logTo({ isTTY: false, write: (text) => said.push(text) > 0 }, "debug", json);
    logger.info('acquired under "token=abc"', { electionGroup: "a", ...LOGGED, reason: "released" });
    assert.equal(said.length, 1);
    const line = said.join("");
    assert.ok(line.endsWith("\n") && !line.includes("s3cret") && !line.includes("abc"), line);
    if (!json) {
      return assert.match(line, /^elect: info: acquired under .* electionGroup=a token=7 .* reason=released\n$/);
    }
    const { token, metadata, reason, level, url } = JSON.parse(line);
    assert.deepEqual([level, token, reason, url], ["info", "7", "released", "redis://app:***@localhost"]);
    assert.deepEqual(metadata.say, "token=***");
  });
}
