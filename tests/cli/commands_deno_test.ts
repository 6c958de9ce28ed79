import assert from "node:assert/strict";
import { elect, start, temporary } from "./elect.ts";

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
  for (const name of ["memory", "file", "postgres", "sqlserver", "redis", "azure-blob", "consul", "zookeeper"]) {
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
