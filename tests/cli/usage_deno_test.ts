import assert from "node:assert/strict";
import { VERSION } from "../../cli/version.ts";
import { elect, temporary } from "./elect.ts";

const COMMANDS = [
  "run",
  "serve",
  "watch",
  "leader",
  "groups",
  "evict",
  "check",
  "demo",
  "bench",
  "providers",
  "completions",
  "manual",
];

/** Bad input, the exit code, and what the one line must say: the rule and the value. */
const MISTAKES: readonly [string[], number, RegExp][] = [
  [[], 64, /without a command.*run, serve, watch, leader/],
  [["reign"], 64, /"elect reign".*known are run/],
  [["--log-level", "none"], 64, /without a command/],
  [["--log-level", "none", "reign"], 64, /"elect reign".*known are run/],
  [["leadr", "a"], 64, /"elect leadr".*did you mean "elect leader"\?/],
  [["help", "rum"], 64, /"elect rum".*did you mean "elect run"\?/],
  [["--jason", "leader", "a"], 64, /'--jason'.*did you mean --json\?/],
  [["leader"], 64, /needs the name of an election group/],
  [["leader", "a/b"], 64, /electionGroup "a\/b".*\/\^\[A-Za-z0-9_\.-\]\{1,255\}\$\//],
  [["leader", "a\n"], 64, /electionGroup "a\\n".*must match/],
  [["leader", "a", "b"], 64, /argument "b".*takes 1/],
  [["leader", "a", "--colour"], 64, /'--colour'.*elect leader --help/],
  [["leader", "a", "--id", "x"], 64, /'--id'/],
  [["leader", "a", "--log-level", "loud"], 64, /--log-level "loud".*debug, info, warn, error, none/],
  [["leader", "a", "--provider", "gopher://u:secret@host"], 78, /"gopher:\/\/u:\*\*\*@host".*known are.*file:/],
  [["leader", "a", "--import", "./missing.ts"], 78, /import "\.\/missing\.ts"/],
  [["run", "a"], 64, /needs a command after --/],
  [["run", "a", "true"], 64, /argument "true".*after --/],
  [["run", "a", "--id", "a b", "--", "true"], 64, /participantId "a b".*must match/],
  [["run", "a", "--heartbeat-timeout", "5x", "--", "true"], 64, /--heartbeat-timeout "5x".*ms, s, m or h/],
  [["run", "a", "--heartbeat-timeout", "1s", "--heartbeat-interval", "2s", "--", "true"], 78, /2000 \+ 333 >= 1000/],
  [["check", "--heartbeat-timeout", "1s", "--heartbeat-interval", "2s"], 78, /2000 \+ 333 >= 1000/],
  [["run", "a", "--metadata", "k", "--", "true"], 64, /--metadata "k".*KEY=VALUE/],
  [["run", "a", "--metadata", `k=${"v".repeat(4_001)}`, "--", "true"], 64, /4001 characters.*at most 4000/],
  [["run", "a", ...Array.from({ length: 101 }, (_, i) => `--metadata=k${i}=v`), "--", "true"], 64, /101 entries.*100/],
  [["evict", "a"], 64, /evict the leader of "a".*--yes/],
  [["run", "a", "--hartbeat-timeout", "5s", "--", "true"], 64, /did you mean --heartbeat-timeout\?/],
  [["run", "a", "--wait", "5x", "--", "true"], 64, /--wait "5x".*ms, s, m or h/],
  [["run", "a", "--at-least", "soon", "--", "true"], 64, /--at-least "soon".*ms, s, m or h/],
  [["run", "a", "--wait", "1s", "--no-wait", "--", "true"], 64, /--no-wait with --wait/],
  [["run", "a", "--conflict-exit-code", "256", "--", "true"], 64, /--conflict-exit-code "256".*0 to 255/],
  [["run", "a", "--conflict-exit-code", "-1", "--", "true"], 64, /--conflict-exit-code/],
  [["completions"], 64, /needs a SHELL/],
  [["completions", "tcsh"], 64, /"tcsh".*(did you mean|known are)/],
  [["completions", "fis"], 64, /"fis".*did you mean fish/],
  [["bench", "--rounds", "0"], 64, /--rounds "0".*1 to 1000000/],
];

Deno.test("elect exits 64 or 78 with one line that says the rule and the value, when its input is bad", async () => {
  await using place = await temporary();
  for (const [args, code, pattern] of MISTAKES) {
    const result = await elect(args, { env: { ELECT_PROVIDER: place.url } });
    const said = `elect ${args.join(" ").slice(0, 100)}: ${result.stderr}`;
    assert.equal(result.code, code, said);
    assert.match(result.stderr, pattern);
    assert.equal(result.stderr.trimEnd().split("\n").length, 1, said);
    assert.equal(result.stdout, "");
  }
});

Deno.test("elect exits 69 with one line, when the backend cannot be used", async () => {
  await using place = await temporary();
  await Deno.writeTextFile(`${place.path}/leases`, "a file where a directory should be");
  const questions = [["leader", "a"], ["groups"], ["check"], ["watch", "a"], ["evict", "a", "--yes"]];
  // That somebody has to mend it is no reason to wait.
  const jobs = [[], ["--wait", "1h"], ["--no-wait"], ["--repeat"]].map((more) => ["run", "a", ...more, "--", "true"]);
  for (const args of [...questions, ...jobs]) {
    const { code, stderr } = await elect(args, { env: { ELECT_PROVIDER: place.url } });
    assert.equal(code, 69, `elect ${args.join(" ")}: ${stderr}`);
    assert.match(stderr, /^elect: Cannot .*\n$/);
  }
});

Deno.test("elect --help says what each command does, with an example", async () => {
  const { code, stdout } = await elect(["--help"]);
  assert.equal(code, 0);
  for (const command of COMMANDS) {
    assert.match(stdout, new RegExp(`^  ${command} `, "m"));
    const help = await elect([command, "--help"]);
    assert.equal(help.code, 0);
    assert.match(help.stdout, new RegExp(`^Usage: elect ${command} [^]*--json [^]*Example:\n  elect ${command}`));
  }
});

Deno.test("elect help COMMAND shows the help of that command, which names the units of every TIME", async () => {
  for (const command of COMMANDS) {
    const { code, stdout } = await elect(["help", command]);
    assert.equal(code, 0);
    assert.equal(stdout, (await elect([command, "--help"])).stdout);
    assert.equal(/^TIME is a number with ms, s, m or h/m.test(stdout), / TIME /.test(stdout));
  }
  assert.equal((await elect(["help"])).stdout, (await elect(["--help"])).stdout);
  assert.match((await elect(["help", "run"])).stdout, /--wait TIME [^]*--at-least TIME [^]*^TIME is a number/m);
});

Deno.test("elect --json says what went wrong in JSON, wherever the flag stands, but for a flag of the command", async () => {
  for (const args of [["--json", "reign"], ["leader", "a/b", "--json"], ["leader", "a", "--json", "--colour"]]) {
    const { code, stderr } = await elect(args);
    const { level, message, exitCode } = JSON.parse(stderr);
    assert.deepEqual([level, exitCode, code], ["error", 64, 64]);
    assert.match(message, /^Cannot /);
  }
  const { code, stderr } = await elect(["leader", "a", "--json", "--provider", "redis://u:secret@127.0.0.1:1"]);
  assert.deepEqual([code, JSON.parse(stderr).exitCode], [69, 69]);
  assert.doesNotMatch(stderr, /secret/);
  const { stderr: text } = await elect(["run", "a/b", "--", "echo", "--json"]);
  assert.match(text, /^elect: Cannot use electionGroup/);
});

/** Hosts that nobody answers at, and what the error names beside them. */
const UNREACHABLE: readonly [url: string, backend: RegExp, at: string][] = [
  ["redis://u:secret@127.0.0.1:1", /redis/, "redis://u:***@127.0.0.1:1"],
  ["valkey://127.0.0.1:1", /redis/, "redis://127.0.0.1:1"],
  ["postgres://u:secret@127.0.0.1:1/d", /postgres/, "postgres://u:***@127.0.0.1:1/d"],
  ["consul://127.0.0.1:2", /consul/, "consul://127.0.0.1:2"],
  ["zookeeper://127.0.0.1:1", /zookeeper/, "zookeeper://127.0.0.1:1"],
  ["mysql://u:secret@127.0.0.1:1/d", /mysql/, "mysql://u:***@127.0.0.1:1/d"],
  ["k8s+http://127.0.0.1:1/jobs", /kubernetes/, "k8s+http://127.0.0.1:1/jobs"],
  ["etcd://u:secret@127.0.0.1:1,127.0.0.1:2", /etcd/, "etcd://u:***@127.0.0.1:1,127.0.0.1:2"],
];

Deno.test("elect names the backend and the host that it cannot reach", async () => {
  for (const [url, backend, at] of UNREACHABLE) {
    const { code, stderr } = await elect(["leader", "a"], { env: { ELECT_PROVIDER: url } });
    assert.equal(code, 69, stderr);
    assert.match(stderr, backend);
    assert.ok(stderr.includes(at), stderr);
    assert.doesNotMatch(stderr, /secret/);
  }
  const { code, stderr } = await elect(["run", "a", "--wait", "300ms", "--", "true"], {
    env: { ELECT_PROVIDER: "redis://u:secret@127.0.0.1:1" },
  });
  assert.equal(code, 69, stderr);
  assert.match(stderr, /waits to lead "a": nobody is known to lead it at redis:\/\/u:\*\*\*@127\.0\.0\.1:1/);
});

Deno.test("elect --version prints the version of the package", async () => {
  const { version } = JSON.parse(await Deno.readTextFile(new URL("../../deno.json", import.meta.url)));
  assert.equal(VERSION, version);
  for (const flag of ["--version", "-v", "-V"]) {
    assert.deepEqual(await elect([flag]), { code: 0, stdout: `elect ${VERSION}\n`, stderr: "" });
  }
});
