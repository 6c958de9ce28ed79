/** A real Valkey for the tests of the Redis provider: Debian's backport, unpacked into a cache. */

import { mkdir, symlink } from "node:fs/promises";
import { join } from "node:path";
import { cacheDirectory, fillCache, unpackDebian } from "./debian.ts";
import { findProgram } from "./process.ts";
import { redisServer, startRedis } from "./redis.ts";
import type { ServerKind } from "./server.ts";

const NAME = "valkey-8";
const path = join(cacheDirectory(NAME), "bin");

/** Starts Valkey. On its path it is named as Redis is, so that tests which start servers of their own start it, too. */
export const valkeyServer: ServerKind = {
  name: "valkey",
  provider: "redis",
  path,
  async install() {
    // Its libraries come with Redis.
    await redisServer.install();
    if (await findProgram(join(path, "redis-server")) !== null) return;
    await fillCache(NAME, async (directory) => {
      await unpackDebian("bookworm-backports", ["valkey-server", "valkey-tools"], directory);
      await mkdir(join(directory, "bin"));
      for (const program of ["server", "cli"]) {
        await symlink(`../usr/bin/valkey-${program}`, join(directory, "bin", `redis-${program}`));
      }
    });
  },
  start: () => startRedis({ program: join(path, "redis-server") }),
};
