/** The command line over a backend, across processes, with a restart of its server in between. */

import assert from "node:assert/strict";
import { elect, eventually, type Running, start } from "../cli/elect.ts";
import type { ServerKind } from "../servers/server.ts";

const TIMING = ["--heartbeat-timeout", "5s", "--heartbeat-interval", "500ms"];

function leaderOf(contenders: readonly Running[]): Promise<{ leader: Running; token: bigint }> {
  return eventually(() => {
    for (const leader of contenders) {
      const token = leader.stdout.match(/leader (\d+)/)?.[1];
      if (token !== undefined) return { leader, token: BigInt(token) };
    }
    return null;
  }, "a leader");
}

/** Tests it with the backend that people call `title`. */
export function testElectRun(title: string, kind: ServerKind): void {
  Deno.test(`elect run keeps and hands on leadership over ${title}, when the server is killed and restarted`, async () => {
    try {
      await kind.install();
    } catch (error) {
      console.error(`SKIPPED: ${title} cannot be had: ${error}`);
      return;
    }
    const server = await kind.start();
    const env = { ELECT_PROVIDER: server.url };
    const run = () =>
      start(["run", "nightly", ...TIMING, "--", "sh", "-c", 'echo "leader $ELECT_TOKEN"; sleep 1000'], { env });
    try {
      await using one = run();
      await using two = run();
      const first = await leaderOf([one, two]);
      const other = first.leader === one ? two : one;
      await server.kill();
      await server.restart();
      const seen = await elect(["leader", "nightly", "--json"], { env });
      assert.equal(JSON.parse(seen.stdout).token, String(first.token), "the term outlives the restart");
      assert.equal(other.stdout, "", "one leads");
      assert.match((await elect(["groups"], { env })).stdout, /nightly/);
      first.leader.kill("SIGKILL");
      const second = await leaderOf([other]);
      assert.ok(second.token > first.token, `token must grow: ${second.token} came after ${first.token}`);
      assert.equal((await elect(["evict", "nightly", "--yes"], { env })).code, 0);
      assert.equal((await other.finished()).code, 75);
      assert.equal((await elect(["leader", "nightly"], { env })).code, 1, "nobody leads");
      assert.equal((await elect(["check"], { env })).code, 0);
    } finally {
      await server.stop();
    }
  });
}
