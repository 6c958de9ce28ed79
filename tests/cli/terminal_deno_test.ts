/** The question of `elect evict`, on a real terminal. */

import assert from "node:assert/strict";
import { aptInstall, findProgram, run } from "../servers/process.ts";
import { commandLine, electOn, eventually, onEachRuntime, startOn, temporary } from "./elect.ts";

/** What is typed at the question, the exit code, and who leads afterwards. */
const ANSWERS: readonly [keys: string[], code: number, evicted: boolean][] = [
  [["C-c"], 130, false],
  [["C-d"], 130, false],
  [["n", "Enter"], 0, false],
  [["Enter"], 0, false],
  [["y", "e", "BSpace", "BSpace", "Enter"], 0, false],
  [["y", "Enter"], 0, true],
];

onEachRuntime("elect evict asks, and does nothing unless the answer is yes", async (runtime) => {
  await using place = await temporary();
  await using terminal = await openTerminal();
  await using leader = await startOn(["run", "t", "--", "sh", "-c", "echo up; sleep 100"], {
    env: { ELECT_PROVIDER: place.url },
    runtime,
  });
  await leader.said(/up/);
  const command = (await commandLine(runtime)).map((word) => `'${word}'`).join(" ");
  for (const [nth, [keys, code, evicted]] of ANSWERS.entries()) {
    // The exit code in quotes, so that the echo of the line is not taken for it.
    await terminal.type([`ELECT_PROVIDER='${place.url}' ${command} evict t; echo end''${nth}=$?`, "Enter"]);
    await terminal.shows(new RegExp(`(\\[y/N\\][^]*){${nth + 1}}`));
    await terminal.type(keys);
    const [, shown] = await terminal.shows(new RegExp(`end${nth}=(\\d+)`));
    assert.equal(Number(shown), code, `after ${keys}`);
    const { code: nobody } = await electOn(["leader", "t"], { env: { ELECT_PROVIDER: place.url }, runtime });
    assert.equal(nobody === 1, evicted, `after ${keys}`);
  }
});

interface Terminal extends AsyncDisposable {
  type(keys: readonly string[]): Promise<void>;
  shows(pattern: RegExp): Promise<RegExpMatchArray>;
}

/** Opens a terminal with a shell in it. */
async function openTerminal(): Promise<Terminal> {
  if (await findProgram("tmux") === null) await aptInstall("tmux");
  const name = `elect-test-${crypto.randomUUID()}`;
  const tmux = (...args: string[]) => run("tmux", ["-L", name, "-f", "/dev/null", ...args]);
  await tmux("new-session", "-d", "-x", "300", "-y", "200", "-s", "s", "env PS1='$ ' sh");
  const screen = () => tmux("capture-pane", "-p", "-t", "s");
  return {
    async type(keys) {
      await tmux("send-keys", "-t", "s", ...keys);
    },
    shows: (pattern) => eventually(async () => (await screen()).match(pattern), `${pattern} on the terminal`),
    [Symbol.asyncDispose]: async () => void await tmux("kill-server"),
  };
}
