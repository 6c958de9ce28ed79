/** The ZooKeeper provider against a real server. */

import assert from "node:assert/strict";
import { randomUUID } from "node:crypto";
import { test } from "node:test";
import { zookeeperProvider } from "../../providers/zookeeper.ts";
import type { Clock } from "../../src/clock.ts";
import { conformanceCases } from "../../testing/conformance.ts";
import { backend } from "../servers/backend.ts";

const zookeeper = backend("zookeeper");

if (zookeeper !== null) {
  const open = ({ clock }: { clock?: Clock } = {}) => zookeeperProvider({ url: zookeeper.url, ...(clock && { clock }) });
  const target = { name: "zookeeper", open, faults: zookeeper.faults };
  for (const { name, run } of conformanceCases(target)) test(name, run);
}
