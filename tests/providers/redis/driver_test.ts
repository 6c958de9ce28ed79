/** What the driver is told. Each of its defaults that is not overridden may write a lease late, twice or elsewhere. */

import assert from "node:assert/strict";
import { test } from "node:test";
import type { Redis } from "ioredis";
import { clientMaker } from "../../../providers/redis/driver.ts";

test("clientMaker() makes clients that queue, repeat and reconnect nothing, and send nothing by themselves", async () => {
  const socket = { family: 4, keepAlive: 1 };
  const make = clientMaker({ tls: null, socket });
  const { options, status } = await make({ host: "h", port: 1 }) as unknown as Redis;
  assert.equal(status, "wait");
  const { host, port, family, lazyConnect, enableReadyCheck, enableOfflineQueue, autoResendUnfulfilledCommands } =
    options;
  assert.deepEqual([host, port, family], ["h", 1, 4]);
  assert.deepEqual([lazyConnect, enableReadyCheck, enableOfflineQueue], [true, false, false]);
  assert.deepEqual([autoResendUnfulfilledCommands, options.autoResubscribe], [false, false]);
  assert.equal(options.maxRetriesPerRequest, 0);
  assert.equal(options.retryStrategy?.(1), null);
  assert.deepEqual([options.db, options.username, options.password], [0, null, null]);
  assert.deepEqual([options.protocol, options.disableClientInfo], [2, true]);
  assert.deepEqual([options.keyPrefix, options.readOnly, options.stringNumbers], ["", false, false]);
});
