/** The fence in Redis, with real processes that are elected there, too. */

import { test } from "node:test";
import { fenceCases } from "../../fencing/cases.ts";
import { backend } from "../../servers/backend.ts";

const server = backend("redis");

if (server !== null) {
  const { url } = server;
  for (const { name, run } of fenceCases({ kind: "redis", url, provider: url, hasTable: false })) test(name, run);
}
