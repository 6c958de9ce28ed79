/** Curator's `LeaderLatch`, in a Java process, as the tests have it. */

import { compileCurator, installCurator, startCurator } from "../../tests/providers/zookeeper/curator.ts";
import type { Peer } from "./peer.ts";

/** Opens a latch. */
export async function openLatch(url: string, key: string): Promise<Peer> {
  await installCurator();
  const classes = await Deno.makeTempDir({ prefix: "elect-bench-curator-" });
  await compileCurator(classes);
  const curator = startCurator(classes, url);
  return {
    acquire: () => curator.lead(key, "bench"),
    release: () => curator.leave(),
    async close() {
      await curator.kill();
      await Deno.remove(classes, { recursive: true });
    },
  };
}
