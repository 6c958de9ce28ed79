/** A Redis whose wall clock can be set; its monotonic clock, and the clocks of everybody else, go on as they are. */

import { open } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { removeDirectory, run, temporaryDirectory } from "./process.ts";
import { startRedis } from "./redis.ts";
import type { TestServer } from "./server.ts";

/** A server with a clock of its own. */
export interface ClockedRedis extends TestServer {
  /** Sets its clock to `seconds` after the machine's; before it, where that is negative. */
  setClock(seconds: number): Promise<void>;
}

/** Starts one. libfaketime does not do: Redis' allocator asks for the time before that is ready. */
export async function startClockedRedis(): Promise<ClockedRedis> {
  const directory = await temporaryDirectory("redis-clock");
  const library = join(directory, "wallclock.so");
  const source = fileURLToPath(new URL("wallclock.c", import.meta.url));
  await run("cc", ["-shared", "-fPIC", "-O2", "-o", library, source]);
  const path = join(directory, "offset");
  const file = await open(path, "w+");
  const setClock = async (seconds: number) => {
    const bytes = new Uint8Array(8);
    new DataView(bytes.buffer).setBigInt64(0, BigInt(seconds), true);
    await file.write(bytes, 0, 8, 0);
  };
  await setClock(0);
  const server = await startRedis({ env: { LD_PRELOAD: library, WALLCLOCK_FILE: path } });
  return {
    ...server,
    setClock,
    async stop() {
      await server.stop();
      await file.close();
      await removeDirectory(directory);
    },
  };
}
