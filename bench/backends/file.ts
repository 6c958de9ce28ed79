/** Files beside the bare calls of the file system: an exclusive create that waits for the disk, a touch, an unlink. */

import { mkdir, open as openFile, rm, unlink, utimes } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import { fileProvider } from "../../providers/file.ts";
import type { BenchBackend } from "../backend.ts";

/** Opens the provider on the directory of `url`, and keeps the bare file beside it. */
export async function open(url: string): Promise<BenchBackend> {
  const directory = fileURLToPath(url);
  await mkdir(directory, { recursive: true, mode: 0o700 });
  const provider = fileProvider({ directory });
  const path = `${directory.replace(/\/$/, "")}.lock`;
  return {
    provider,
    bare: {
      async acquireWon() {
        await using file = await openFile(path, "wx", 0o600);
        await file.write("term");
        await file.datasync();
      },
      acquireLost: () => openFile(path, "wx").catch((error: unknown) => error),
      heartbeat: () => {
        const now = new Date();
        return utimes(path, now, now);
      },
      release: () => unlink(path),
    },
    heartbeatTimeout: 15_000,
    async close() {
      await provider[Symbol.asyncDispose]();
      await rm(directory, { recursive: true, force: true });
      await rm(path, { force: true });
    },
  };
}
