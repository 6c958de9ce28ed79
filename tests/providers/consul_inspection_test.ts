/** What the provider says of the server's settings. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { consulProvider } from "../../providers/consul.ts";
import { backend } from "../servers/backend.ts";
import { isOfThisHost, soon } from "./asking.ts";

const server = backend("consul");
if (server !== null) {
  test("inspect() tells what the server's settings mean for leases", async () => {
    const provider = consulProvider({ url: server.url });
    try {
      assert.ok(provider.inspect);
      const { version, findings, clockOffsetMs } = await provider.inspect(soon());
      assert.match(version ?? "", /^Consul \d+/);
      assert.deepEqual(findings.map(({ about }) => about), ["servers"]);
      for (const { level, text, remedy } of findings) assert.ok(text !== "" && (level === "ok" || remedy), text);
      assert.deepEqual(findings.map(({ level }) => level), ["warning"], "the tests have one server");
      isOfThisHost(clockOffsetMs);
    } finally {
      await provider[Symbol.asyncDispose]();
    }
  });
}
