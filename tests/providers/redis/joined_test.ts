/** Heartbeats of the Redis provider that travel together: each is decided as if it had come alone. */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Provider } from "../../../src/provider.ts";
import { backend } from "../../servers/backend.ts";
import { soon, stage, win } from "./stage.ts";
import { until } from "../../until.ts";

const server = backend("redis");
if (server !== null) testServer(server.url);

function testServer(url: string): void {
  const { admin, open } = stage(url);

  /** Counts the scripts that clients call on keys of `prefix` while `work` runs. */
  async function countCalls(prefix: string, work: () => Promise<void>): Promise<number> {
    await admin.ping();
    const monitor = await admin.monitor();
    let [count, isOver] = [0, false];
    monitor.on("monitor", (_time: string, [command, ...args]: string[], source: string) => {
      if (args[0] === prefix) isOver = true;
      else if (source !== "lua" && command?.toLowerCase() === "evalsha" && args[2]?.startsWith(prefix)) count++;
    });
    await work();
    await admin.echo(prefix);
    await until("the end", () => isOver);
    monitor.disconnect();
    return count;
  }

  test("renew() sends ten commands for a thousand leases, when they are due together", async () => {
    const prefix = `joined-${crypto.randomUUID()}:`;
    const provider = open({ prefix });
    const leases = await Promise.all(Array.from({ length: 1_000 }, (_, i) => win(provider, `g${i}`)));
    const renew = async () => {
      const outcomes = await Promise.all(leases.map((lease) => provider.renew(lease, soon())));
      assert.ok(outcomes.every((outcome) => outcome === "renewed"));
    };
    // The server does not know the script before.
    await renew();
    assert.equal(await countCalls(prefix, renew), 10);
  });

  test("renew() gives each lease its own outcome, when they are due together", async () => {
    const prefix = `joined-${crypto.randomUUID()}:`;
    const provider = open({ prefix });
    const [kept, released, taken, other] = await Promise.all(["a", "b", "c", "d"].map((each) => win(provider, each)));
    // Not shorter: as long as the shortest lease may the server be silent, and the machine be busy.
    const expired = await win(provider, "e", { heartbeatTimeout: 1_000 });
    const short = await win(provider, "f", { heartbeatTimeout: 3_000 });
    assert.ok(kept && released && taken && other);
    await provider.release(released, soon());
    await provider.release(taken, soon());
    const successor = await win(provider, "c");
    await admin.del(`${prefix}{d}`);
    await admin.set(`${prefix}{d}`, "no lease");
    await until("expired", async () => await provider.read("e", soon()) === null);
    const [before] = await admin.hmget(`${prefix}{a}`, "beats");
    const gone = new AbortController();
    const results = Promise.allSettled([
      ...[kept, released, taken, other, expired, short].map((lease) => provider.renew(lease, soon())),
      provider.renew(kept, { ...soon(), metadata: { a: "b" } }),
      provider.renew(short, gone),
    ]);
    gone.abort(new Error("enough"));
    const told = (await results).map((each) => {
      if (each.status === "fulfilled") return each.value;
      return /is not a lease|enough/.exec(each.reason.message)?.[0] ?? each.reason.message;
    });
    const expected = ["renewed", "lost", "lost", "is not a lease", "lost", "renewed", "renewed", "enough"];
    assert.deepEqual(told, expected);
    assert.deepEqual(await admin.hmget(`${prefix}{a}`, "beats", "metadata"), [String(Number(before) + 2), '{"a":"b"}']);
    assert.equal((await provider.read("c", soon()))?.termId, successor.termId);
  });

  test("renew() fails alone, for a user who may not touch one of the groups that are due together", async () => {
    const prefix = `joined-${crypto.randomUUID()}:`;
    const [a, b] = await Promise.all(["a", "b"].map((each) => win(open({ prefix }), each)));
    assert.ok(a && b);
    const user = `u${crypto.randomUUID().slice(0, 8)}`;
    await admin.call("ACL", "SETUSER", user, "on", ">pw", `~${prefix}{a}*`, `&${prefix}*`, "+@all");
    try {
      const limited: Provider = open({ prefix, url: url.replace(/^redis:\/\/([^@]*@)?/, `redis://${user}:pw@`) });
      for (let i = 0; i < 2; i++) {
        const outcomes: Promise<string>[] = [a, b].map((lease) => limited.renew(lease, soon()));
        const settled: PromiseSettledResult<string>[] = await Promise.allSettled(outcomes);
        const [kept, refused] = settled;
        assert.equal(kept?.status === "fulfilled" && kept.value, "renewed");
        assert.ok(refused?.status === "rejected" && /NOPERM/.test(refused.reason.message));
      }
    } finally {
      await admin.call("ACL", "DELUSER", user);
    }
  });
}
