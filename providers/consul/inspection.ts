/**
 * The consequences of a cluster's servers for the durability of leases.
 *
 * @module
 */

import type { Finding, Inspection } from "../../src/provider.ts";
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
    findings: [serversOf(Array.isArray(peers) ? peers.length : 0)],
  };
}

function serversOf(count: number): Finding {
  const about = "servers";
  if (count >= 3) return { about, level: "ok", text: `${count} servers: leases survive the loss of a minority` };
  const text = count <= 1
    ? "one server alone: nobody can lead while it is down, and its disk has all leases and tokens"
    : "two servers: the loss of either ends all elections";
  return { about, level: "warning", text, remedy: "three servers, or five" };
}
