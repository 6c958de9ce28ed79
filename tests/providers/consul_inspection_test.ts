/** What the provider says of the server's settings. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { consulProvider } from "../../providers/consul.ts";
import { backend } from "../servers/backend.ts";
import { patience } from "../slowness.ts";

const server = backend("consul");
if (server !== null) {
  test("inspect() tells what the server's settings mean for leases", async () => {
    const provider = consulProvider({ url: server.url });
    try {
      assert.ok(provider.inspect);
      const { version, findings, clockOffsetMs } = await provider.inspect({
        signal: AbortSignal.timeout(patience(10_000)),
      });
      assert.match(version ?? "", /^Consul \d+/);
      assert.deepEqual(findings.map(({ about }) => about), ["servers"]);
      for (const { level, text, remedy } of findings) assert.ok(text !== "" && (level === "ok" || remedy), text);
      assert.deepEqual(findings.map(({ level }) => level), ["warning"], "the tests have one server");
      // It is on this host, and tells the time to the second; its answer takes a while.
      assert.ok(Math.abs(clockOffsetMs ?? NaN) <= 500 + patience(1_000), `${clockOffsetMs} ms`);
    } finally {
      await provider[Symbol.asyncDispose]();
    }
  });
}
