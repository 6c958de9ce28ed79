/** A real terminal with a shell in it. */

import { aptInstall, findProgram, run } from "../servers/process.ts";
import { eventually } from "./elect.ts";

/** See the module. */
export interface Terminal extends AsyncDisposable {
  type(keys: readonly string[]): Promise<void>;
  shows(pattern: RegExp): Promise<RegExpMatchArray>;
}

/** Opens a terminal with a shell in it. */
export async function openTerminal(): Promise<Terminal> {
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
