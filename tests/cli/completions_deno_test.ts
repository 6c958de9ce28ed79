/** What `elect completions` prints, in the shells that it is for. */

import assert from "node:assert/strict";
import { aptInstall, findProgram, run } from "../servers/process.ts";
import { elect, temporary } from "./elect.ts";

/** What stands on the line, and what the last word of it is completed to, among others. */
const LINES: readonly [words: string[], completed: string[]][] = [
  [["elect", "le"], ["leader"]],
  [["elect", "c"], ["check", "completions"]],
  [["elect", "run", "g", "--no"], ["--no-wait"]],
  [["elect", "run", "g", "--heart"], ["--heartbeat-interval", "--heartbeat-timeout"]],
  [["elect", "leader", "g", "--log-level", "d"], ["debug"]],
  [["elect", "evict", "--y"], ["--yes"]],
  [["elect", "leader", "g", "--y"], []],
  [["elect", "completions", "f"], ["fish"]],
];

Deno.test("elect completions bash completes commands, their options and values", async () => {
  const { stdout: script } = await elect(["completions", "bash"]);
  for (const [words, expected] of LINES) {
    const quoted = words.map((word) => `'${word}'`).join(" ");
    const ask = `COMP_WORDS=(${quoted}); COMP_CWORD=${words.length - 1}; _elect; printf '%s\\n' "\${COMPREPLY[@]}"`;
    const completed = (await run("bash", ["-c", `${script}\n${ask}`])).split("\n").filter((line) => line !== "");
    assert.deepEqual(completed.sort(), expected, words.join(" "));
  }
  const ask = `COMP_WORDS=(elect run g -- ech); COMP_CWORD=4; _elect; printf '%s\\n' "\${COMPREPLY[@]}"`;
  assert.ok((await run("bash", ["-c", `${script}\n${ask}`])).split("\n").includes("echo"));
});

Deno.test("elect completions fish completes commands, their options and values", async () => {
  await installed("fish");
  await using place = await temporary();
  await Deno.writeTextFile(`${place.path}/elect.fish`, (await elect(["completions", "fish"])).stdout);
  for (const [words, expected] of LINES) {
    const ask = `source ${place.path}/elect.fish; complete -C '${words.join(" ")}'`;
    const shown = await run("fish", ["--no-config", "-c", ask], { env: { HOME: place.path } });
    const completed = shown.split("\n").map((line) => line.split("\t")[0] ?? "").filter((line) => line !== "");
    assert.deepEqual(completed.sort(), expected, words.join(" "));
  }
});

Deno.test("elect completions zsh prints a script that zsh can load", async () => {
  await installed("zsh");
  await using place = await temporary();
  await Deno.writeTextFile(`${place.path}/_elect`, (await elect(["completions", "zsh"])).stdout);
  await run("zsh", ["-n", `${place.path}/_elect`]);
  const load =
    `autoload -Uz compinit; compinit -u -d ${place.path}/dump; source ${place.path}/_elect; print $_comps[elect]`;
  assert.equal(await run("zsh", ["-f", "-c", load]), "_elect\n");
});

async function installed(shell: string): Promise<void> {
  if (await findProgram(shell) === null) await aptInstall(shell);
}
