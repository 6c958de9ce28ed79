/** What ZooKeeper refuses for good ends the start of an election, instead of being waited for. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { elect } from "../../../src/elect.ts";
import { backend } from "../../servers/backend.ts";
import { startTlsZooKeeper } from "../../servers/zookeeper_tls.ts";
import "../../../providers/zookeeper.ts";
import { refused, refusedToAll, SECRET, TELLS_ALERTS } from "../refused.ts";

const server = backend("zookeeper");
if (server !== null) testServer(server.url);

function testServer(url: string): void {
  test("elect() rejects, when the nodes belong to somebody else", async () => {
    const root = url.replace(/\/elections$/, `/owned-${crypto.randomUUID()}`);
    const as = (user: string) => root.replace("//", `//${user}@`);
    const owner = await elect(as("me:mine"), { electionGroup: "g", logger: null });
    await owner.stop();
    await refusedToAll(as(`me:${SECRET}`), /not authorized/, { electionGroup: "g" });
    await refusedToAll(root, /not authorized/, { electionGroup: "g" });
  });

  test("elect() rejects, when the server grants no session as long as heartbeatTimeout needs", async () => {
    await refused(url, /the server grants 120000 ms: lower heartbeatTimeout/, { heartbeatTimeout: "5m" });
  });

  test("elect() rejects, when TLS is refused by either side", { timeout: 120_000 }, async () => {
    const tls = await startTlsZooKeeper();
    const { ca, cert, key } = tls.files;
    const at = (settings: Record<string, string>, port = tls.securePort) =>
      `zookeeper+tls://127.0.0.1:${port}/r?${new URLSearchParams(settings)}`;
    try {
      await refusedToAll(at({}), /certificate/);
      if (TELLS_ALERTS) await refusedToAll(at({ ca }), /certificate/i);
      await refusedToAll(at({ ca, cert, key, servername: "elsewhere.example" }), /elsewhere|altname/);
      await refusedToAll(at({ ca: "/does/not/exist.pem" }), /setting "ca"/);
      // One server that is only down may come back, and let us in.
      const signal = AbortSignal.timeout(60_000);
      const several = at({}).replace("/r?", `,127.0.0.1:1/r?`);
      const election = await elect(several, { electionGroup: "g", logger: null, signal });
      assert.match(String(election.status.lastError?.error), /certificate/);
      await election.stop();
    } finally {
      await tls.stop();
    }
  });
}
