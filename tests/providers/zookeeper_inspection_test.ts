/** What the provider says of the server's settings. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { zookeeperProvider } from "../../providers/zookeeper.ts";
import { backend } from "../servers/backend.ts";
import { patience } from "../slowness.ts";

const server = backend("zookeeper");
if (server !== null) {
  test("inspect() tells what the server's settings mean for leases", async () => {
    const provider = zookeeperProvider({ url: server.url });
    try {
      assert.ok(provider.inspect);
      const { version, findings } = await provider.inspect({ signal: AbortSignal.timeout(patience(10_000)) });
      assert.match(version ?? "", /^3\.\d+\.\d+$/);
      assert.deepEqual(findings.map(({ about }) => about), ["ensemble"]);
      for (const { level, text, remedy } of findings) assert.ok(text !== "" && (level === "ok" || remedy), text);
      assert.deepEqual(findings.map(({ level }) => level), ["warning"], "the tests have one server");
    } finally {
      await provider[Symbol.asyncDispose]();
    }
  });
}
