/**
 * The consequences of a cluster's servers for the durability of leases.
 *
 * @module
 */

import type { Inspection } from "../../src/provider.ts";
import { systemClock } from "../../src/time/clock.ts";
import { offsetOf } from "../kit/http_date.ts";
import { judgeServers } from "../kit/servers.ts";
import type { ConsulClient } from "./http.ts";

/** Asks for the version, which needs `agent:read`, and for the servers, which everybody may ask for. */
export async function inspectCluster(client: Pick<ConsulClient, "request">, signal: AbortSignal): Promise<Inspection> {
  const self = await client.request({ path: "agent/self", signal }).then(({ body }) => JSON.parse(body), () => null);
  const sent = systemClock.wall();
  const { body, date } = await client.request({ path: "status/peers", signal });
  const clockOffsetMs = offsetOf(date, sent, systemClock.wall());
  const peers: unknown = JSON.parse(body);
  const version: unknown = self?.Config?.Version;
  return {
    version: typeof version === "string" ? `Consul ${version}` : null,
    findings: [judgeServers("servers", Array.isArray(peers) ? peers.length : 0)],
    // The times in records are those of participants.
    clockOffsetMs,
  };
}
