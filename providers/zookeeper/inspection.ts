/**
 * The meaning of an ensemble's members for the durability of leases.
 *
 * @module
 */

import type { Finding, Inspection } from "../../src/provider.ts";
import { judgeServers } from "../kit/servers.ts";
import type { ZooKeeperClient } from "./client.ts";
import { askVersion } from "./four_letters.ts";
import { getData } from "./protocol.ts";
import type { ZooKeeperTarget } from "./target.ts";

/** Where ZooKeeper 3.5 and later keep the list of their members. */
const CONFIG = "/zookeeper/config";

/** Reads the list of members, and a version. Nothing tells whether writes are flushed (`forceSync`). */
export async function inspectEnsemble(
  client: Pick<ZooKeeperClient, "call">,
  { servers, tls }: ZooKeeperTarget,
  signal: AbortSignal,
): Promise<Inspection> {
  const [config, version] = await Promise.all([
    client.call(getData(CONFIG), signal).then(({ data }) => new TextDecoder().decode(data), () => null),
    askVersion(servers, tls, signal),
  ]);
  return { version, findings: [membersOf(config)] };
}

function membersOf(config: string | null): Finding {
  const about = "ensemble";
  if (config === null) {
    const text = `the user may not read ${CONFIG}, so how many members there are is unknown`;
    return { about, level: "warning", text };
  }
  const voters = [...config.matchAll(/^server\.\d+=.*$/gm)].filter(([line]) => !/:observer\b/.test(line)).length;
  return judgeServers(about, voters);
}
