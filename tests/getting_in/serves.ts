/**
 * The run of `elect serve` as somebody has it who has just installed it.
 *
 * @module
 */

import assert from "node:assert/strict";
import { until } from "../until.ts";

/** Starts the command line `elect`, which must serve and lead; ends it, and expects a good end. */
export async function serves(
  elect: readonly string[],
  cwd: string,
  env: Readonly<Record<string, string>>,
): Promise<void> {
  const [program = "", ...args] = elect;
  const child = new Deno.Command(program, {
    args: [...args, "serve", "nightly", "--port", "0", "--json"],
    cwd,
    env: { NO_COLOR: "1", ...env },
    stdout: "piped",
    stderr: "piped",
  }).spawn();
  let said = "";
  const reading = Promise.all([child.stdout, child.stderr].map(async (stream) => {
    for await (const text of stream.pipeThrough(new TextDecoderStream())) said += text;
  }));
  let isOver = false;
  child.status.then(() => isOver = true);
  try {
    const url = await until(() => `an address in ${said}`, () => {
      assert.ok(!isOver, said);
      return /"at":"([^"]+)\/"/.exec(said)?.[1];
    }, 120_000);
    const status = async (path: string) => {
      const response = await fetch(url + path);
      return [response.status, await response.text()] as const;
    };
    await until("that it leads", async () => (await status("/leaderz"))[0] === 200);
    assert.match((await status("/metrics"))[1], /^multilock_election_is_leader\{group="nightly",.*\} 1$/m);
    assert.equal(JSON.parse((await status("/openapi.json"))[1]).openapi, "3.1.0");
    child.kill("SIGTERM");
    assert.equal((await child.status).code, 0, said);
  } finally {
    if (!isOver) child.kill("SIGKILL");
    await child.status;
    await reading;
  }
}
