/**
 * The consequences of a cluster's servers for the durability of leases.
 *
 * @module
 */

import type { Inspection } from "../../src/provider.ts";
import { judgeServers } from "../kit/servers.ts";
import type { ConsulClient } from "./http.ts";

/** Asks for the version, which needs `agent:read`, and for the servers, which everybody may ask for. */
export async function inspectCluster(client: Pick<ConsulClient, "request">, signal: AbortSignal): Promise<Inspection> {
  const [self, peers] = await Promise.all([
    client.request({ path: "agent/self", signal }).then(({ body }) => JSON.parse(body), () => null),
    client.request({ path: "status/peers", signal }).then(({ body }) => JSON.parse(body)),
  ]);
  const version: unknown = self?.Config?.Version;
  return {
    version: typeof version === "string" ? `Consul ${version}` : null,
    findings: [judgeServers("servers", Array.isArray(peers) ? peers.length : 0)],
  };
}
