import assert from "node:assert/strict";
import { VERSION } from "../../cli/version.ts";
import { elect, temporary } from "./elect.ts";

const COMMANDS = ["run", "watch", "leader", "groups", "evict", "check", "demo", "bench", "providers"];

/** Bad input, the exit code, and what the one line must say: the rule and the value. */
const MISTAKES: readonly [string[], number, RegExp][] = [
  [[], 64, /without a command.*run, watch, leader/],
  [["reign"], 64, /"elect reign".*known are run/],
  [["--json"], 64, /without a command/],
  [["--json", "reign"], 64, /"elect reign".*known are run/],
  [["--jason", "leader", "a"], 64, /'--jason'/],
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
  for (const args of [["leader", "a"], ["groups"], ["check"], ["watch", "a"], ["evict", "a", "--yes"]]) {
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

Deno.test("elect --version prints the version of the package", async () => {
  const { version } = JSON.parse(await Deno.readTextFile(new URL("../../deno.json", import.meta.url)));
  assert.equal(VERSION, version);
  assert.deepEqual(await elect(["--version"]), { code: 0, stdout: `elect ${VERSION}\n`, stderr: "" });
});
