/** Locks of files. */

import { writeFile } from "node:fs/promises";
import { fileURLToPath } from "node:url";
import lockfile from "proper-lockfile";
import type { Peer } from "./peer.ts";

/** When it asks again, in milliseconds: at first, and at most. */
const RETRIES = { minTimeout: 100, maxTimeout: 500 };

/**
 * Opens a lock of proper-lockfile, which asks again when it is told to. By its defaults it would do so after 1 s, then
 * 2 s, 4 s and so on, and whoever led before would be there again.
 */
export async function openLockfile(url: string, key: string): Promise<Peer> {
  const path = `${fileURLToPath(url).replace(/\/$/, "")}.${key}`;
  await writeFile(path, "");
  let release: () => Promise<void> = () => Promise.resolve();
  return {
    acquire: async () => release = await lockfile.lock(path, { retries: { forever: true, ...RETRIES } }),
    release: () => release(),
    close: () => Promise.resolve(),
  };
}
