/** The Redis provider against a real server. */

import { test } from "node:test";
import { redisProvider } from "../../providers/redis.ts";
import { conformanceCases } from "../../testing/conformance.ts";
import { backend } from "../servers/backend.ts";

const server = backend("redis");
if (server !== null) {
  const { url, faults } = server;
  for (const { name, run } of conformanceCases({ name: "redis", open: () => redisProvider({ url }), faults })) test(name, run);
}
