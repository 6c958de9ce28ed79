/** A command that changes its user, which an `elect` that is not root cannot end. */

import assert from "node:assert/strict";
import { findProgram } from "../servers/process.ts";
import { Running, temporary } from "./elect.ts";

const NOBODY = 65534;
const ROOT = new URL("../../", import.meta.url);

Deno.test({
  name: "elect run says that it cannot end a command that changes its user, and the next one waits for its end",
  // It takes root to become somebody else, and to make a program that becomes root.
  ignore: Deno.uid() !== 0,
  async fn() {
    await using place = await temporary();
    const setpriv = await findProgram("setpriv");
    assert.ok(setpriv, "setpriv, of util-linux");
    // Whoever runs it becomes root by it.
    const rooted = `${place.path}/rooted`;
    await Deno.copyFile(setpriv, rooted);
    await Deno.chmod(rooted, 0o4755);
    const elect = await electOfNobody(place.path);
    const env = { ELECT_PROVIDER: `file://${place.path}/home/leases`, HOME: `${place.path}/home`, DENO_DIR: "" };
    const run = (...command: string[]) =>
      elect(["run", "g", "--heartbeat-timeout", "2s", "--", ...command], { ...env, DENO_DIR: `${env.HOME}/deno` });
    const stay = [
      "--reuid=0",
      "--clear-groups",
      "sh",
      "-c",
      'echo "up $$ $(id -u)"; while ! [ -e "$0" ]; do sleep 0.05; done',
    ];

    await using first = run(rooted, ...stay, `${place.path}/done`);
    await first.said(/changes its user/, "stderr");
    await first.said(/up \d+ 0\n/);
    await first.said(/user id 0 cannot be ended by this user/, "stderr");
    await using second = run("echo", "led");
    await second.said(/waits to lead/, "stderr");
    await using evict = elect(["evict", "g", "--yes"], env);
    assert.equal((await evict.finished()).code, 0);
    await first.said(/Cannot end the command/, "stderr");
    await second.said(/holds its command back: process \d+ of user id 0.* still runs/, "stderr");
    assert.equal(second.stdout, "");
    await Deno.writeTextFile(`${place.path}/done`, "");
    assert.equal((await first.finished()).code, 75);
    assert.deepEqual([(await second.finished()).code, second.stdout], [0, "led\n"]);

    // Hidden behind a shell, it is found when it runs.
    await Deno.remove(`${place.path}/done`);
    await using hidden = run("sh", "-c", '"$@"; exit 7', "sh", rooted, ...stay, `${place.path}/done`);
    await hidden.said(/user id 0 cannot be ended by this user/, "stderr");
    hidden.kill("SIGTERM");
    // The shell is ended, the other is not: the lease is kept for as long as that runs.
    await hidden.said(/keeps leading "g": process \d+ of user id 0/, "stderr");
    await using third = elect(["run", "g", "--no-wait", "--", "true"], env);
    assert.equal((await third.finished()).code, 1);
    await Deno.writeTextFile(`${place.path}/done`, "");
    assert.equal((await hidden.finished()).code, 143);
  },
});

/** Copies what `elect` needs to where a user without rights may read it; returns what starts it as that user. */
async function electOfNobody(directory: string) {
  await Deno.chmod(directory, 0o755);
  await Deno.mkdir(`${directory}/home`);
  await Deno.chown(`${directory}/home`, NOBODY, NOBODY);
  await Deno.copyFile(Deno.execPath(), `${directory}/deno`);
  for (const part of ["cli.ts", "mod.ts", "cli", "src", "providers"]) {
    await copy(new URL(part, ROOT), `${directory}/package/${part}`);
  }
  return (args: string[], env: Record<string, string>) => {
    // In a directory that this user may enter.
    const become = ["-C", directory, "setpriv", `--reuid=${NOBODY}`, `--regid=${NOBODY}`, "--clear-groups"];
    const deno = [`${directory}/deno`, "run", "--quiet", "--allow-all", "--no-lock", "--no-config", "--no-check"];
    return new Running([...become, ...deno, `${directory}/package/cli.ts`, ...args], { env }, "env");
  };
}

async function copy(from: URL, to: string): Promise<void> {
  const { isDirectory } = await Deno.stat(from);
  await Deno.mkdir(to.replace(/\/[^/]*$/, ""), { recursive: true });
  if (!isDirectory) return await Deno.copyFile(from, to);
  for await (const { name } of Deno.readDir(from)) await copy(new URL(`${from.href}/${name}`), `${to}/${name}`);
}
