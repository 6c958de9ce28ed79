/**
 * The README's story of `elect run`, across processes, over Redis: with a server that restarts and a leader that is
 * killed.
 */

import { delay } from "@std/async";
import assert from "node:assert/strict";
import { backend } from "../servers/backend.ts";
import { startRedis } from "../servers/redis.ts";

/** One `elect run`, and what its child printed so far. */
interface Participant {
  readonly child: Deno.ChildProcess;
  text(): string;
}

function participate(url: string): Participant {
  const timing = ["--heartbeat-timeout", "4s", "--heartbeat-interval", "1s"];
  const command = ["sh", "-c", "echo leader $ELECT_TOKEN; exec sleep 1000"];
  const args = ["run", "-A", "cli.ts", "run", "nightly", "--provider", url, ...timing, "--", ...command];
  const child = new Deno.Command(Deno.execPath(), { args, stdin: "null", stdout: "piped", stderr: "null" }).spawn();
  let text = "";
  (async () => {
    for await (const part of child.stdout.pipeThrough(new TextDecoderStream())) text += part;
  })();
  return { child, text: () => text };
}

async function tokenOf({ text }: Participant): Promise<bigint> {
  for (const deadline = performance.now() + 30_000; !/leader \d+\n/.test(text());) {
    assert.ok(performance.now() < deadline, `no leader within 30 s: "${text()}"`);
    await delay(20);
  }
  return BigInt(/leader (\d+)/.exec(text())?.[1] ?? 0);
}

if (backend("redis") !== null) {
  Deno.test("elect run keeps leading over a restart of redis, and hands over when it is killed", async () => {
    const redis = await startRedis();
    const participants: Participant[] = [];
    try {
      const first = participate(redis.url);
      participants.push(first);
      const token = await tokenOf(first);
      const second = participate(redis.url);
      participants.push(second);
      await redis.kill();
      await redis.restart();
      // Two heartbeats later the lease would have been lost, had the restart cost it.
      await new Promise((resolve) => setTimeout(resolve, 5_000));
      assert.equal(first.text(), `leader ${token}\n`);
      assert.equal(second.text(), "", "a lease that outlives the restart must not be granted again");
      first.child.kill("SIGKILL");
      const next = await tokenOf(second);
      assert.ok(next > token, `${next} came after ${token}`);
      second.child.kill("SIGTERM");
    } finally {
      for (const { child } of participants) {
        try {
          child.kill("SIGTERM");
        } catch {
          // It has ended.
        }
        await child.status;
      }
      await redis.stop();
    }
  });
}
