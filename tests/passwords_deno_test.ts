/** No provider tells a password in the error of a URL that it cannot use, however the password was written. */

import assert from "node:assert/strict";
import { test } from "node:test";
import "../mod.ts";
import "../providers/azure_blob.ts";
import "../providers/consul.ts";
import "../providers/etcd.ts";
import "../providers/mysql.ts";
import "../providers/kubernetes.ts";
import "../providers/postgres.ts";
import "../providers/redis.ts";
import "../providers/sqlserver.ts";
import "../providers/zookeeper.ts";
import { openProvider, providers } from "../src/registry.ts";

/** As it should be, with what ends a part of a URL, with what is no escape, and in URLs that are none. */
const WRITTEN = [
  ...[
    "u:hunter@h:1/x",
    "u:hunter/hunter@h:1/x",
    "user:1234/hunter@h:1/x",
    "u:hunter?hunter@h:1/x",
    "u:hunter#hunter@h:1/x",
    "u:%hunter@h:1/x",
  ],
  ...["u:hunter@[h:1/x", ":hunter@h:99999/x", "u:hunter@", "u:hunter@h/x?unknown=1"],
  "h:1/x?password=hunter&accountKey=hunter&token=hunter&sig=hunter&unknown=1",
];

for (const scheme of [...providers().flatMap(({ protocols }) => protocols), "gopher:"]) {
  test(`openProvider() tells no password, when a URL of ${scheme} is not usable`, async () => {
    for (const rest of WRITTEN) {
      try {
        await using _provider = await openProvider(`${scheme}//${rest}`);
      } catch (error) {
        assert.ok(error instanceof Error && !error.message.includes("hunter"), `${rest}: ${error}`);
      }
    }
  });
}
