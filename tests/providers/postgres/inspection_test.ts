/** What the provider says of the server's settings. */

import assert from "node:assert/strict";
import { test } from "node:test";
import { postgresProvider } from "../../../providers/postgres.ts";
import { backend } from "../../servers/backend.ts";
import { patience } from "../../slowness.ts";

const server = backend("postgres");
if (server !== null) {
  test("inspect() tells what the server's settings mean for leases", async () => {
    const provider = postgresProvider({ url: server.url });
    try {
      assert.ok(provider.inspect);
      const { version, findings } = await provider.inspect({ signal: AbortSignal.timeout(patience(10_000)) });
      assert.match(version ?? "", /^PostgreSQL \d+/);
      assert.deepEqual(findings.map(({ about }) => about), [
        "fsync",
        "full_page_writes",
        "synchronous_commit",
        "standbys",
      ]);
      for (const { level, text, remedy } of findings) assert.ok(text !== "" && (level === "ok" || remedy), text);
      assert.deepEqual(findings.slice(2).map(({ level }) => level), ["ok", "ok"]);
    } finally {
      await provider[Symbol.asyncDispose]();
    }
  });
}
