/** The etcd provider against a real server. */

import { test } from "node:test";
import { etcdProvider } from "../../providers/etcd.ts";
import { conformanceCases } from "../../testing/conformance.ts";
import { backend, detourTo } from "../servers/backend.ts";

const server = backend("etcd");
if (server !== null) {
  const { url, faults } = server;
  // One after the other, since they kill the server.
  for (
    const { name, run } of conformanceCases({
      name: "etcd",
      open: ({ clock } = {}) => etcdProvider({ url, clock }),
      faults,
      ...detourTo("etcd", (detour) => etcdProvider({ url: detour })),
    })
  ) {
    test(name, run);
  }
}
