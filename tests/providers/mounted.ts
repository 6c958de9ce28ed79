/** File systems that are small, or become read-only. */

import { spawnSync } from "node:child_process";
import { mkdir } from "node:fs/promises";
import process from "node:process";

/** Mounts a file system of its own for a test at `directory`, which is made, where this user may. */
export async function mounted(
  t: { skip(why: string): void },
  directory: string,
  options: string,
): Promise<{ directory: string; done(): void } | null> {
  await mkdir(directory);
  const mount = process.platform === "linux" && process.getuid?.() === 0
    ? spawnSync("mount", ["-t", "tmpfs", "-o", options, "tmpfs", directory])
    : null;
  if (mount?.status !== 0) {
    t.skip("only root on Linux may mount a file system");
    return null;
  }
  return { directory, done: () => void spawnSync("umount", ["-l", directory]) };
}
