/** Locks of files. */

import { writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import lockfile from "proper-lockfile";
import type { Peer } from "./peer.ts";

/** Opens a lock of proper-lockfile, which asks again after a second at first, if it is told to ask again at all. */
export async function openLockfile(url: string, key: string): Promise<Peer> {
  const path = `${fileURLToPath(url).replace(/\/$/, "")}.${key}`;
  await writeFile(path, "");
  let release: () => Promise<void> = () => Promise.resolve();
  return {
    acquire: async () => release = await lockfile.lock(path, { retries: { forever: true } }),
    release: () => release(),
    close: () => Promise.resolve(),
  };
}
